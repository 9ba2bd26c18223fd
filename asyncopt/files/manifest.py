"""The SHA-256 of each file of a run folder, in the format of the program ``sha256sum``."""

import hashlib
import pathlib
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from asyncopt.checks import InputError
from asyncopt.files import atomic

NAME = "SHA256SUMS"
_LINE = re.compile(r"(?P<sum>[0-9a-f]{64})  (?P<name>[\w.-]+)")


def write(folder: pathlib.Path, names: Iterable[str], more: Mapping[str, bytes] = MappingProxyType({})) -> None:
    """Writes the list of files, as ``sha256sum NAMES > SHA256SUMS`` would.

    Args:
      folder: the folder with the files.
      names: files that are there.
      more: contents of files that are to be written, by name.

    Raises:
      OSError: if a file cannot be read, or the list cannot be written.
    """
    sums = {name: _sum((folder / name).read_bytes()) for name in names}
    sums |= {name: _sum(content) for name, content in more.items()}
    lines = [f"{value}  {name}\n" for name, value in sums.items()]
    atomic.write(folder / NAME, lambda path: path.write_text("".join(lines)))


def read(folder: pathlib.Path) -> dict[str, str] | None:
    """Returns the SHA-256 of each file, by name; None if the folder has no list, as runs of earlier versions.

    Raises:
      InputError: if the list is damaged.
      OSError: if it cannot be read.
    """
    path = folder / NAME
    if not path.is_file():
        if path.exists():  # a pipe would never end, nor would a device
            raise InputError(f"{path}: not a file, expected a list of checksums")
        return None
    lines = path.read_bytes().decode("ascii", "replace").split("\n")
    matches = [_LINE.fullmatch(line) for line in lines[:-1]]
    sums = {match["name"]: match["sum"] for match in matches if match}
    if lines[-1] or len(sums) != len(lines) - 1:
        raise InputError(f"{path}: damaged, expected lines with a SHA-256 and a file's name, as sha256sum writes them")
    return sums


def contents(folder: pathlib.Path, name: str, sums: dict[str, str] | None) -> bytes:
    """Returns the bytes of a file of the folder.

    Raises:
      InputError: if they are not those that the list has.
      OSError: if the file cannot be read.
    """
    content = (folder / name).read_bytes()
    if sums is not None and sums.get(name) != _sum(content):
        raise InputError(f"{folder / name}: not the file whose SHA-256 is in {NAME}; one of the two has been changed")
    return content


def changed(folder: pathlib.Path, sums: Mapping[str, str]) -> list[str]:
    """Returns the names of the listed files that are missing, or have been changed since the list was written.

    Raises:
      OSError: if a file cannot be read.
    """
    paths = {name: folder / name for name in sums}
    return [name for name, path in paths.items() if not path.is_file() or _sum(path.read_bytes()) != sums[name]]


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
