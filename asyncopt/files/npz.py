"""Arrays in an ``.npz`` file: written whole or not at all, read without unpickling."""

import math
import os
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from asyncopt.checks import InputError
from asyncopt.files import atomic

_ZIP64 = b"\x01\x00"  # marks sizes of more than 4 GiB
_CHUNK = 2**20
_MOST_COMPRESSED = 1100  # bytes that zip can make of one, and a little more
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


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

    An array takes memory only if the file is large enough to hold it, compressed as far as zip can.

    Raises:
      InputError: if the file is damaged, or holds pickled objects.
    """
    try:
        with zipfile.ZipFile(path) as file:
            members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
            if len(members) != len(file.infolist()):
                raise ValueError("it has two fields of one name")
            # NumPy writes neither; a comment of a wrong length hides the fields after it.
            if any(info.comment or info.extra[:2] not in (b"", _ZIP64) for info in members.values()):
                raise ValueError("its list of fields has a comment or an extension")
            if sum(info.compress_size for info in members.values()) > path.stat().st_size:
                raise ValueError("its fields are larger than the file")
            return {name: _array(file, info) for name, info in members.items()}
    except Exception as error:  # a damaged file makes zipfile, its decompressors and NumPy raise a dozen kinds
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: not a readable .npz without pickled objects ({said})") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Reads a ``.npy`` file. NumPy's own reader would first take the memory that the header promises."""
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"version {version} of the array format, expected one of {sorted(_HEADERS)}")
        shape, by_columns, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError("it holds pickled objects")
        promised, found = math.prod(shape) * dtype.itemsize, info.file_size - file.tell()
        if promised != found or info.file_size > _MOST_COMPRESSED * info.compress_size:
            raise ValueError(f"an array of {promised} bytes is promised, {found} are there, compressed")
        if dtype.itemsize == 0 and 0 not in shape:
            raise ValueError(f"{math.prod(shape)} numbers of no bytes")
        array = np.empty(shape, dtype, order="F" if by_columns else "C")
        content, read = array.reshape(-1, order="A").view(np.uint8), 0
        while chunk := file.read(_CHUNK):  # to the end, where the checksum is compared
            content[read : read + len(chunk)] = np.frombuffer(chunk, np.uint8)
            read += len(chunk)
        if read != promised:
            raise ValueError(f"an array of {promised} bytes is promised, {read} are there")
        return array
