"""Arrays in an ``.npz`` file: written whole or not at all, read without unpickling."""

import io
import math
import os
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from asyncopt.checks import InputError
from asyncopt.files import atomic

_ZIP64 = b"\x01\x00"  # marks sizes of more than 4 GiB
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

    Memory is taken for what the file holds, not for what a header in it promises.

    Raises:
      InputError: if the file is damaged, or holds pickled objects.
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
            if len(set(names)) != len(names):
                raise ValueError("it has two fields of one name")
            # NumPy writes neither; a comment of a wrong length hides the fields after it.
            if any(info.comment or info.extra[:2] not in (b"", _ZIP64) for info in file.infolist()):
                raise ValueError("its list of fields has a comment or an extension")
            return {name.removesuffix(".npy"): _array(file.read(name)) for name in names}
    except Exception as error:  # a damaged file makes zipfile, its decompressors and NumPy raise a dozen kinds
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: not a readable .npz without pickled objects ({said})") from error


def _array(content: bytes) -> np.ndarray:
    """Returns the array of a ``.npy`` file. NumPy's own reader would first take the memory that the header promises."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of the array format, expected one of {sorted(_HEADERS)}")
    shape, by_columns, dtype = _HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("it holds pickled objects")
    promised, found = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if promised != found:
        raise ValueError(f"an array of {promised} bytes is promised, {found} are there")
    if 0 in shape:
        return np.empty(shape, dtype)
    array = np.frombuffer(content, dtype, math.prod(shape), file.tell())
    return array.reshape(shape, order="F" if by_columns else "C").copy(order="K")
