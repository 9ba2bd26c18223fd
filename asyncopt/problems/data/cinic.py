"""CINIC-10: folders of PNG images, one folder a class."""

import io
import os
import pathlib

import numpy as np
from jaxtyping import Int, UInt8

from asyncopt.checks import InputError
from asyncopt.problems.data.download import Published
from asyncopt.problems.data.images import ImageData, join
from asyncopt.problems.data.source import find

_FOLDER = "CINIC-10"
_PUBLISHED = Published("CINIC-10.tar.gz", "6ee4d0c996905fe93221de577967a372")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SIZE = (32, 32)


def cinic10(root: str | os.PathLike[str] | None = None, mirror: str | None = None) -> ImageData:
    """90,000 colour images to train on, 32 × 32 pixels, 10 classes, and as many held out.

    The third part, for validation, is not used. Images are in the order of the classes, then of their files' names.

    Args:
      root: folder with ``train`` and ``test``, each with ten folders of PNG files, or with a folder ``CINIC-10`` that
        holds these two. Default: the environment variable ASYNCOPT_DATA.
      mirror: address of a folder with CINIC-10.tar.gz, from which missing images are fetched and unpacked (into
        ``CINIC-10``); None to fetch nothing.

    Raises:
      InputError: if a folder or file is missing or damaged; the message names it.

    References:
      Darlow, Crowley, Antoniou and Storkey, `CINIC-10 is not ImageNet or CIFAR-10
      <https://arxiv.org/abs/1810.03505>`_, 2018.
    """
    hint = "It is in CINIC-10.tar.gz, see github.com/BayesWatch/cinic-10"
    parts = [
        _read(find(root, _FOLDER, (part,), hint, mirror=mirror, published=_PUBLISHED)) for part in ("train", "test")
    ]
    # Mean and deviation are as its authors publish them.
    mean, deviation = (0.47889522, 0.47227842, 0.43047404), (0.24205776, 0.23828046, 0.25874835)
    return join("cinic10", parts, len(CLASSES), mean, deviation)


def _read(folder: pathlib.Path) -> tuple[UInt8[np.ndarray, "N 32 32 3"], Int[np.ndarray, " N"]]:
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with one folder a class")
    class_folders = sorted(path.name for path in folder.iterdir() if path.is_dir())
    if class_folders != list(CLASSES):
        raise InputError(f"{folder}: has the folders {class_folders}, expected {list(CLASSES)}")
    images, labels = [], []
    for label, name in enumerate(CLASSES):
        paths = sorted((folder / name).glob("*.png"))
        if not paths:
            raise InputError(f"{folder / name}: no PNG files, expected at least one")
        images += [_read_png(path) for path in paths]
        labels += [label] * len(paths)
    return np.stack(images), np.array(labels)


def _read_png(path: pathlib.Path) -> UInt8[np.ndarray, "32 32 3"]:
    import PIL.Image  # other data need no Pillow

    try:
        # One format only: a file from outside should not reach the decoders of the others. Pillow reads from memory:
        # from an open file it would ask for as many bytes as a chunk claims to have, and Python would allocate them.
        with PIL.Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"]) as image:
            if image.size != _SIZE:
                raise InputError(f"{path}: {image.size[0]} × {image.size[1]} pixels, expected 32 × 32")
            if image.mode.startswith("I"):  # Pillow would make 255 of all greater numbers
                raise InputError(f"{path}: grey of 16 bits a pixel, expected 8 bits")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a readable PNG image: {error}") from error
