"""Images in memory, as bytes; a mini-batch is normalised and augmented when it is drawn."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from asyncopt.checks import InputError, check_text
from asyncopt.problems.data.dataset import check_shares
from asyncopt.shown import Shown


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ImageData(Shown):
    """Images and their classes, some of them held out to measure accuracy.

    Args:
      name: the data set's name in titles and messages.
      images: uint8[N, H, W, C], N at least 1.
      labels: int64[N], classes 0..num_classes - 1.
      num_classes: at least 2.
      test_images: uint8[M, H, W, C], images held out; M may be 0.
      test_labels: int64[M], their classes.
      mean: float[C], each channel's mean, subtracted from pixels scaled to [0, 1].
      deviation: float[C], each channel's standard deviation, by which the difference is divided.
      num_workers: p, the workers with data of their own: worker w has images w N/p to (w + 1) N/p - 1. 1: all workers
        draw from all images.

    Raises:
      InputError: if an array has another shape or dtype, or a label is out of range; the message names both.
    """

    name: str
    images: UInt8[np.ndarray, "N H W C"]
    labels: Int[np.ndarray, " N"]
    num_classes: int
    test_images: UInt8[np.ndarray, "M H W C"]
    test_labels: Int[np.ndarray, " M"]
    mean: Float[np.ndarray, " C"]
    deviation: Float[np.ndarray, " C"]
    num_workers: int = 1

    def _facts(self) -> list[str]:
        shape = " × ".join(map(str, self.images.shape[1:]))
        facts = [repr(self.name), f"{len(self.images):,} images of {shape}", f"{self.num_classes} classes"]
        return facts + ([f"{len(self.test_labels):,} held out"] if len(self.test_labels) else [])

    def __post_init__(self):
        check_text("name", self.name)
        parts = (("", self.images, self.labels), ("test_", self.test_images, self.test_labels))
        for part, images, labels in parts:
            if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1:] != self.images.shape[1:]:
                raise InputError(
                    f"{self.name}: {part}images is {images.dtype}{list(images.shape)}, expected uint8 with axes for "
                    "image, row, column and colour, the same for training and test"
                )
            if labels.shape != images.shape[:1]:
                raise InputError(f"{self.name}: {len(images)} {part}images, but {len(labels)} {part}labels")
            check_labels(f"{self.name}: {part}labels", labels, self.num_classes)
        if not len(self.images):
            raise InputError(f"{self.name}: no images, expected at least one to train on")
        check_shares(self.name, len(self.images), self.num_workers)


def join(
    name: str,
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
    num_classes: int,
    mean: Sequence[float],
    deviation: Sequence[float],
) -> ImageData:
    """Returns the images and labels of several parts as one set; the last part is held out."""
    *training, (test_images, test_labels) = parts
    images, labels = (np.concatenate(arrays) for arrays in zip(*training, strict=True))
    channels = np.array(mean), np.array(deviation)
    return ImageData(name, images, labels, num_classes, test_images, test_labels, *channels)


def check_labels(name: str, labels: Int[np.ndarray, " N"], num_classes: int) -> None:
    """Refuses labels outside 0..num_classes - 1.

    Raises:
      InputError: if there is such a label; the message starts with ``name``.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise InputError(f"{name}: label {labels[wrong[0]]} of image {wrong[0]}, expected 0 to {num_classes - 1}")
