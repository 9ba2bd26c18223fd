"""The IDX format of MNIST and its successors, plain or gzipped."""

import gzip
import os
import pathlib
import struct
import zlib

import numpy as np
from jaxtyping import UInt8

from asyncopt.checks import InputError
from asyncopt.problems.data.images import ImageData, check_labels
from asyncopt.problems.data.source import find

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08


def fashion_mnist(root: str | os.PathLike[str] | None = None) -> ImageData:
    """70,000 grey images of clothes, 28 × 28 pixels, 10 classes; 10,000 of them are held out.

    Args:
      root: folder with the four IDX files, or with a folder ``fashion-mnist`` of them. Default: the environment
        variable ASYNCOPT_DATA, then where Debian's package dataset-fashion-mnist puts them.

    Raises:
      InputError: if a file is missing or damaged; the message names it.

    References:
      Xiao, Rasul and Vollgraf, `Fashion-MNIST <https://arxiv.org/abs/1708.07747>`_, 2017.
    """
    hint = (
        "Debian has them in the package dataset-fashion-mnist; elsewhere, see github.com/zalandoresearch/fashion-mnist"
    )
    return _mnist_like("fashion-mnist", root, hint, "/usr/share/datasets/fashion-mnist")


def mnist(root: str | os.PathLike[str] | None = None) -> ImageData:
    """70,000 grey images of handwritten digits, 28 × 28 pixels; 10,000 of them are held out.

    Args:
      root: folder with the four IDX files, or with a folder ``mnist`` of them. Default: the environment variable
        ASYNCOPT_DATA.

    Raises:
      InputError: if a file is missing or damaged; the message names it.

    References:
      LeCun et al., `Gradient-based learning applied to document recognition
      <https://doi.org/10.1109/5.726791>`_, 1998.
    """
    return _mnist_like("mnist", root, "The four files train- and t10k- are distributed by yann.lecun.com/exdb/mnist")


def _mnist_like(name: str, root: str | os.PathLike[str] | None, hint: str, *usual: str) -> ImageData:
    arrays = []
    for part in ("train", "t10k"):
        for content, dimensions in (("images-idx3", 3), ("labels-idx1", 1)):
            stem = f"{part}-{content}-ubyte"
            path = find(root, name, (f"{stem}.gz", stem), hint, usual)
            arrays.append(read_idx(path, dimensions))
            if dimensions == 1:
                check_labels(str(path), arrays[-1], 10)
                if len(arrays[-1]) != len(arrays[-2]):
                    raise InputError(f"{path}: {len(arrays[-1])} labels, but there are {len(arrays[-2])} images")
    images, labels, test_images, test_labels = arrays
    return ImageData(
        name=name,
        images=images[..., None],
        labels=labels.astype(np.int64),
        num_classes=10,
        test_images=test_images[..., None],
        test_labels=test_labels.astype(np.int64),
        # MNIST's own, which the paper's code uses for both.
        mean=np.array([0.1307]),
        deviation=np.array([0.3081]),
    )


def read_idx(path: str | os.PathLike[str], dimensions: int) -> UInt8[np.ndarray, "..."]:
    """Reads a file of unsigned bytes in the IDX format, gzipped or not (its first bytes tell).

    Args:
      path: the file.
      dimensions: how many it must have.

    Raises:
      InputError: if it is not exactly such a file: wrong magic number, a length of zero, too short, too long, or a
        gzip stream cut short; the message names file and field.
      OSError: if it cannot be read.
    """
    path = pathlib.Path(path)
    content = path.read_bytes()
    if content.startswith(_GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{path}: damaged gzip file: {error}") from error
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise InputError(f"{path}: {len(content)} bytes, expected a header of {header} at least")
    zeros, kind, found = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind != _UNSIGNED_BYTE:
        raise InputError(f"{path}: magic number {content[:4].hex()}, expected 00000803 or 00000801, unsigned bytes")
    if found != dimensions:
        raise InputError(f"{path}: {found} dimensions, expected {dimensions}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if 0 in shape:
        raise InputError(f"{path}: dimensions {list(shape)}, expected at least 1 each")
    wanted = int(np.prod(shape, dtype=object))
    if len(content) - header != wanted:
        raise InputError(f"{path}: {len(content) - header} bytes of data, expected {wanted} for {list(shape)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
