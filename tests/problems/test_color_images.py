"""CINIC-10, ImageNet at 32 × 32 and downloads: right on good files, a clear error that names the file on bad ones."""

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import pathlib
import tarfile
import threading
import tracemalloc

import numpy as np
import PIL.Image
import pytest

from asyncopt import InputError
from asyncopt.problems import data
from asyncopt.problems.data import cifar, cinic, idx, imagenet
from asyncopt.problems.data.download import Published
from tests.problems.test_image_files import write_cifar, write_mnist

GENERATOR = np.random.default_rng(0)


def png(pixels):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, format="png")
    return file.getvalue()


def write_cinic(folder):
    pixels = {}
    for part in ("train", "test"):
        for name in cinic.CLASSES:
            (folder / part / name).mkdir(parents=True)
            for number in range(2):
                image = GENERATOR.integers(0, 256, (32, 32, 3)).astype(np.uint8)
                (folder / part / name / f"{number}.png").write_bytes(png(image))
                pixels[part, name, number] = image
    return pixels


@pytest.mark.parametrize("below", [".", "CINIC-10"])
def test_cinic10(tmp_path, monkeypatch, below):
    pixels = write_cinic(tmp_path / below)
    monkeypatch.setenv("ASYNCOPT_DATA", str(tmp_path))
    read = data.cinic10()
    np.testing.assert_array_equal(read.labels, np.repeat(np.arange(10), 2))
    np.testing.assert_array_equal(read.images[7], pixels["train", "cat", 1])
    np.testing.assert_array_equal(read.test_images[18], pixels["test", "truck", 0])


GOOD = png(np.zeros((32, 32, 3), np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable PNG image"),
        (b"GIF89a" + GOOD, "not a readable PNG image"),
        (GOOD[:40], "not a readable PNG image"),
        (GOOD[:-25] + b"\xff" * 25, "not a readable PNG image"),
        (png(np.zeros((16, 32, 3), np.uint8)), "32 × 16 pixels, expected 32 × 32"),
    ],
)
def test_a_damaged_png_is_named(tmp_path, content, message):
    write_cinic(tmp_path)
    path = tmp_path / "test" / "dog" / "1.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path}: {message}"):
        data.cinic10(tmp_path)


def test_a_png_takes_no_memory_for_bytes_that_it_does_not_have(tmp_path):
    """Its pixels are all there, but the length of their chunk says 2**27 bytes more."""
    path, content = tmp_path / "image.png", bytearray(GOOD)
    content[GOOD.index(b"IDAT") - 4] = 8
    path.write_bytes(content)
    tracemalloc.start()
    assert not cinic._read_png(path).any()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20


def test_no_cut_png_gives_a_wrong_array(tmp_path):
    """Whatever is missing at the end: the image, or an error; never other pixels."""
    pixels = GENERATOR.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    content, path = png(pixels), tmp_path / "image.png"
    refused = 0
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        try:
            np.testing.assert_array_equal(cinic._read_png(path), pixels)
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right
            refused += 1
    assert refused > len(content) / 7 - 5  # all but cuts in the end marker


def test_folders_of_other_classes(tmp_path):
    write_cinic(tmp_path)
    (tmp_path / "train" / "boat").mkdir()
    with pytest.raises(InputError, match=f"{tmp_path / 'train'}: has the folders .*'boat'.*, expected"):
        data.cinic10(tmp_path)
    (tmp_path / "train" / "boat").rmdir()
    for path in (tmp_path / "train" / "ship").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"ship: no PNG files"):
        data.cinic10(tmp_path)
    with pytest.raises(InputError, match=r"train: no such file .*cinic-10"):
        data.cinic10(tmp_path / "nowhere")


def write_imagenet(folder):
    folder.mkdir()
    written = {}
    for name in (*imagenet._TRAINING_FILES, "val_data.npz"):
        written[name] = {
            "data": GENERATOR.integers(0, 256, (3, 3072)).astype(np.uint8),
            "labels": GENERATOR.integers(1, 1001, 3),
            "mean": np.zeros(3072),
        }
        np.savez(folder / name, **written[name])
    return written


def test_imagenet32(tmp_path):
    written = write_imagenet(tmp_path / "imagenet32")
    read = data.imagenet32(tmp_path)
    assert read.images.shape == (30, 32, 32, 3)
    np.testing.assert_array_equal(read.labels[3:6], written["train_data_batch_2.npz"]["labels"] - 1)
    assert read.images[4, 1, 2, 0] == written["train_data_batch_2.npz"]["data"][1, 34]
    assert read.test_images[2, 0, 5, 1] == written["val_data.npz"]["data"][2, 1024 + 5]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": np.array([1, 0, 5])}, "label -1 of image 1, expected 0 to 999"),
        ({"labels": np.array([1, 1001, 5])}, "label 1000 of image 1, expected 0 to 999"),
        ({"labels": np.array([1, 2])}, r"labels is int64\[2\], expected one integer for each of 3"),
        ({"labels": np.array([1.0, 2.0, 3.0])}, "labels is float64"),
        ({"data": np.zeros((3, 3071), np.uint8)}, r"data is uint8\[3, 3071\], expected uint8\[N, 3072\]"),
        ({"data": np.zeros((3, 3072))}, r"data is float64"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": np.zeros(0, int)}, r"data is uint8\[0, 3072\]"),
        ({"data": None}, r"has the arrays \['labels', 'mean'\], expected data and labels"),
        ({"data": np.array([{}, {}, {}], object)}, "not a readable .npz without pickled objects"),
    ],
)
def test_a_wrong_array_is_named(tmp_path, fields, message):
    written = write_imagenet(tmp_path / "imagenet32")["val_data.npz"] | fields
    path = tmp_path / "imagenet32" / "val_data.npz"
    np.savez(path, **{name: value for name, value in written.items() if value is not None})
    with pytest.raises(InputError, match=f"{path}: .*{message}"):
        data.imagenet32(tmp_path)


def test_a_cut_npz_is_named(tmp_path):
    path = tmp_path / "val_data.npz"
    np.savez_compressed(path, data=GENERATOR.integers(0, 256, (2, 3072)).astype(np.uint8), labels=np.array([1, 2]))
    content = path.read_bytes()
    for end in range(0, len(content), 101):
        path.write_bytes(content[:end])
        with pytest.raises(InputError, match=str(path)):
            imagenet._read(path)


@pytest.fixture
def mirror(tmp_path):
    """Serves a folder to this machine alone; yields the folder and its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_missing_files_are_fetched(mirror, tmp_path, monkeypatch):
    folder, address = mirror
    arrays = write_mnist(folder, gzip.compress, ".gz")
    checksums = {name: md5(folder / f"{name}.gz") for name in arrays}
    monkeypatch.setattr(idx, "_MNIST_MD5", checksums)
    read = data.mnist(tmp_path / "data", address)
    np.testing.assert_array_equal(read.labels, arrays["train-labels-idx1-ubyte"])
    assert sorted(path.name for path in (tmp_path / "data" / "mnist").iterdir()) == sorted(f"{n}.gz" for n in arrays)
    (folder / "train-images-idx3-ubyte.gz").unlink()
    data.mnist(tmp_path / "data", address)  # nothing is fetched again


def test_archives_are_unpacked(mirror, tmp_path, monkeypatch):
    folder, address = mirror
    records = write_cifar(tmp_path / "cifar-10-batches-bin")
    write_cinic(tmp_path / "cinic")
    for module, names in ((cifar, ["cifar-10-batches-bin"]), (cinic, ["train", "test"])):
        path = folder / module._PUBLISHED.name
        with tarfile.open(path, "w:gz") as archive:
            for name in names:
                archive.add(next(tmp_path.glob(f"{name}"), tmp_path / "cinic" / name), name)
        monkeypatch.setattr(module, "_PUBLISHED", Published(path.name, md5(path)))
    np.testing.assert_array_equal(data.cifar10(tmp_path / "data", address).labels, records[:10, 0])
    assert len(data.cinic10(tmp_path / "data", address).images) == 20
    left = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert left == ["CINIC-10", "cifar-10-batches-bin"]


def test_another_file_than_was_published_is_not_used(mirror, tmp_path):
    folder, address = mirror
    write_mnist(folder, gzip.compress, ".gz")
    with pytest.raises(InputError, match=f"{address}/train-images-idx3-ubyte.gz: cannot be fetched: .*hash"):
        data.mnist(tmp_path / "data", f"{address}/")
    assert not list((tmp_path / "data" / "mnist").iterdir())


def test_an_archive_cannot_write_elsewhere(mirror, tmp_path, monkeypatch):
    folder, address = mirror
    path = folder / cifar._PUBLISHED.name
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())
    monkeypatch.setattr(cifar, "_PUBLISHED", dataclasses.replace(cifar._PUBLISHED, md5=md5(path)))
    with pytest.raises(InputError, match=r"cifar-10-binary.tar.gz: cannot be fetched: .*outside"):
        data.cifar10(tmp_path / "data", address)
    assert not list(pathlib.Path(tmp_path).rglob("escaped"))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9/train-images-idx3-ubyte.gz: cannot be fetched"),
        ("ftp://somewhere", "mirror is 'ftp://somewhere', expected an address that starts with http"),
    ],
)
def test_a_mirror_that_cannot_be_used(tmp_path, address, message):
    with pytest.raises(InputError, match=message):
        data.mnist(tmp_path, address)


def test_a_mirror_without_a_folder(monkeypatch):
    monkeypatch.delenv("ASYNCOPT_DATA", raising=False)
    with pytest.raises(InputError, match=r"no folder to fetch to; set data.root"):
        data.mnist(mirror="http://127.0.0.1:9")


def test_grey_of_16_bits_is_refused(tmp_path):
    (tmp_path / "0.png").write_bytes(png(np.full((32, 32), 40_000, np.uint16)))
    with pytest.raises(InputError, match=r"0\.png: grey of 16 bits a pixel, expected 8 bits"):
        cinic._read_png(tmp_path / "0.png")
