"""The IDX format of MNIST and its successors, plain or gzipped."""

import gzip
import os
import pathlib
import struct
import zlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from asyncopt.checks import InputError
from asyncopt.problems.data.download import Published
from asyncopt.problems.data.images import ImageData, check_labels
from asyncopt.problems.data.source import find

_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
# Checksums as the files' authors published them.
_FASHION_MNIST_MD5 = {
    "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
}
_MNIST_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}


def fashion_mnist(root: str | os.PathLike[str] | None = None, mirror: str | None = None) -> ImageData:
    """70,000 grey images of clothes, 28 × 28 pixels, 10 classes; 10,000 of them are held out.

    Args:
      root: folder with the four IDX files, or with a folder ``fashion-mnist`` that holds them. Default: the environment
        variable ASYNCOPT_DATA, then the folder of Debian's package dataset-fashion-mnist.
      mirror: address of a folder with the published files, from which missing ones are fetched; None to fetch nothing.

    Raises:
      InputError: if a file is missing or damaged; the message names it.

    References:
      Xiao, Rasul and Vollgraf, `Fashion-MNIST <https://arxiv.org/abs/1708.07747>`_, 2017.
    """
    hint = (
        "Debian has them in the package dataset-fashion-mnist; elsewhere, see github.com/zalandoresearch/fashion-mnist"
    )
    usual = "/usr/share/datasets/fashion-mnist"
    return _mnist_like("fashion_mnist", root, mirror, _FASHION_MNIST_MD5, hint, usual)


def mnist(root: str | os.PathLike[str] | None = None, mirror: str | None = None) -> ImageData:
    """70,000 grey images of handwritten digits, 28 × 28 pixels; 10,000 of them are held out.

    Args:
      root: folder with the four IDX files, or with a folder ``mnist`` that holds them. Default: the environment
        variable ASYNCOPT_DATA.
      mirror: address of a folder with the published files, from which missing ones are fetched; None to fetch nothing.

    Raises:
      InputError: if a file is missing or damaged; the message names it.

    References:
      LeCun et al., `Gradient-based learning applied to document recognition
      <https://doi.org/10.1109/5.726791>`_, 1998.
    """
    hint = "The four files train- and t10k- are distributed by yann.lecun.com/exdb/mnist"
    return _mnist_like("mnist", root, mirror, _MNIST_MD5, hint)


def _mnist_like(
    name: str,
    root: str | os.PathLike[str] | None,
    mirror: str | None,
    checksums: Mapping[str, str],
    hint: str,
    *usual: str,
) -> ImageData:
    arrays = []
    for part in ("train", "t10k"):
        for content, dimensions in (("images-idx3", 3), ("labels-idx1", 1)):
            stem = f"{part}-{content}-ubyte"
            published = Published(f"{stem}.gz", checksums[stem])
            path = find(root, name.replace("_", "-"), (f"{stem}.gz", stem), hint, usual, mirror, published)
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
        # MNIST's own numbers, which the paper's code uses for both sets.
        mean=np.array([0.1307]),
        deviation=np.array([0.3081]),
    )


def read_idx(path: str | os.PathLike[str], dimensions: int) -> UInt8[np.ndarray, "..."]:
    """Reads a file of unsigned bytes in the IDX format, gzipped or not (its first bytes tell).

    Args:
      path: the file.
      dimensions: the number of dimensions that it must have.

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
    zeros, kind, num_dimensions = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind != _UNSIGNED_BYTE:
        raise InputError(f"{path}: magic number {content[:4].hex()}, expected 00000803 or 00000801, unsigned bytes")
    if num_dimensions != dimensions:
        raise InputError(f"{path}: {num_dimensions} dimensions, expected {dimensions}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if 0 in shape:
        raise InputError(f"{path}: dimensions {list(shape)}, expected at least 1 each")
    wanted = int(np.prod(shape, dtype=object))
    if len(content) - header != wanted:
        raise InputError(f"{path}: {len(content) - header} bytes of data, expected {wanted} for {list(shape)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
