"""CIFAR-10 in its binary version: 3,073 bytes an image, the class and then red, green and blue, row by row."""

import os
import pathlib

import numpy as np

from asyncopt.checks import InputError
from asyncopt.problems.data.download import Published
from asyncopt.problems.data.images import ImageData, check_labels, join
from asyncopt.problems.data.source import find

_SHAPE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32
_FOLDER = "cifar-10-batches-bin"
_PUBLISHED = Published("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")
_TRAINING_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))


def cifar10(root: str | os.PathLike[str] | None = None, mirror: str | None = None) -> ImageData:
    """60,000 colour images, 32 × 32 pixels, 10 classes; 10,000 of them are held out.

    Args:
      root: folder with the six files of the binary version, or with a folder ``cifar-10-batches-bin`` that holds them.
        Default: the environment variable ASYNCOPT_DATA.
      mirror: address of a folder with cifar-10-binary.tar.gz, from which a missing file is fetched and unpacked; None
        to fetch nothing.

    Raises:
      InputError: if a file is missing or damaged; the message names it.

    References:
      Krizhevsky, `Learning multiple layers of features from tiny images
      <https://www.cs.toronto.edu/~kriz/cifar.html>`_, 2009.
    """
    hint = "It is in the binary version of CIFAR-10, cifar-10-binary.tar.gz, from www.cs.toronto.edu/~kriz/cifar.html"
    if mirror is not None:
        find(root, "", (_FOLDER, _TRAINING_FILES[0]), hint, mirror=mirror, published=_PUBLISHED)
    parts = [_read(find(root, _FOLDER, (name,), hint)) for name in (*_TRAINING_FILES, "test_batch.bin")]
    return join("cifar10", parts, 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))


def _read(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8[N, 32, 32, 3] and int64[N]."""
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(content) or len(content) % _RECORD:
        raise InputError(f"{path}: {len(content)} bytes, expected a multiple of {_RECORD}, one record an image")
    records = content.reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    check_labels(str(path), labels, 10)
    return records[:, 1:].reshape(-1, *_SHAPE).transpose(0, 2, 3, 1), labels
