"""ImageNet at 32 × 32 pixels, as NumPy arrays."""

import os
import pathlib

import numpy as np
from jaxtyping import Int, UInt8

from asyncopt.checks import InputError
from asyncopt.files import npz
from asyncopt.problems.data.images import ImageData, check_labels, join
from asyncopt.problems.data.source import find

_FOLDER = "imagenet32"
_TRAINING_FILES = tuple(f"train_data_batch_{number}.npz" for number in range(1, 11))
_NUM_CLASSES = 1000
_PIXELS = 3 * 32 * 32


def imagenet32(root: str | os.PathLike[str] | None = None) -> ImageData:
    """1,281,167 colour images to train on, 32 × 32 pixels, 1,000 classes, and 50,000 held out: 3.9 GB in memory.

    The files are the ``.npz`` version of the downsampled ImageNet: arrays ``data``, uint8[N, 3072], red, green and blue
    row by row, and ``labels``, from 1 to 1000. The version for Python is pickled, and not read here.

    Args:
      root: folder with ``train_data_batch_1.npz`` to ``_10.npz`` and ``val_data.npz``, or with a folder
        ``imagenet32`` that holds them. Default: the environment variable ASYNCOPT_DATA.

    Raises:
      InputError: if a file is missing or damaged; the message names it.

    References:
      Chrabaszcz, Loshchilov and Hutter, `A downsampled variant of ImageNet as an alternative to the CIFAR datasets
      <https://arxiv.org/abs/1707.08819>`_, 2017.
    """
    hint = "It is in the npz version of Imagenet32, from image-net.org/download-images after registration"
    parts = [_read(find(root, _FOLDER, (name,), hint)) for name in (*_TRAINING_FILES, "val_data.npz")]
    return join("imagenet32", parts, _NUM_CLASSES, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _read(path: pathlib.Path) -> tuple[UInt8[np.ndarray, "N 32 32 3"], Int[np.ndarray, " N"]]:
    fields = npz.read_any(path)
    if not {"data", "labels"} <= fields.keys():
        raise InputError(f"{path}: has the arrays {sorted(fields)}, expected data and labels")
    pixels, labels = fields["data"], fields["labels"]
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS or not len(pixels):
        raise InputError(
            f"{path}: data is {pixels.dtype}{list(pixels.shape)}, expected uint8[N, {_PIXELS}], N at least 1"
        )
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        described = f"{labels.dtype}{list(labels.shape)}"
        raise InputError(f"{path}: labels is {described}, expected one integer for each of {len(pixels)} images")
    labels = labels.astype(np.int64) - 1
    check_labels(f"{path}: labels less one", labels, _NUM_CLASSES)
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
