"""Arrays in an ``.npz`` file: written whole or not at all, read without unpickling."""

import os
import pathlib
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from asyncopt.checks import InputError
from asyncopt.files import atomic


def write(
    path: str | os.PathLike[str], kind: str, fields: Mapping[str, np.ndarray | int], *, compressed: bool = True
) -> None:
    """Writes ``fields`` to a file, whole or not at all.

    Args:
      path: a file name that ends in ``.npz``.
      kind: what the file holds; `read` asks for the same.
      fields: the arrays.
      compressed: makes the file smaller, but is slow for hundreds of megabytes.

    Raises:
      InputError: if the name ends otherwise.
      OSError: if the file cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix != ".npz":
        raise InputError(f"{path}: expected a file name that ends in .npz")
    save = np.savez_compressed if compressed else np.savez
    atomic.write(path, lambda partial: save(partial, allow_pickle=False, kind=kind, **fields))


def read(path: pathlib.Path, kind: str) -> dict[str, np.ndarray]:
    """Returns the fields of a file that `write` made.

    Raises:
      InputError: if the file is damaged, holds pickled objects, or is of another kind.
    """
    fields = read_any(path)
    actual_kind = fields.pop("kind", None)
    if actual_kind is None or str(actual_kind) != kind:
        raise InputError(f"{path}: not of kind {kind!r}, found the fields {sorted(fields)}")
    return fields


def read_any(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the fields of any ``.npz`` file.

    Raises:
      InputError: if the file is damaged, or holds pickled objects.
    """
    try:
        # Opened here, because NumPy leaves the file open when it cannot parse it.
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, TypeError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        # TypeError: a bare .npy under this name has no fields to open.
        raise InputError(f"{path}: not a readable .npz without pickled objects ({error})") from error
