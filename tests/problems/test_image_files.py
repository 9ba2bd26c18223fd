"""Loaders of images: right on good files, and on damaged ones a clear error that names the file."""

import dataclasses
import gzip
import pathlib
import struct

import numpy as np
import pytest

import asyncopt
from asyncopt.problems import data

DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")
GENERATOR = np.random.default_rng(0)


def idx(array, kind=0x08):
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(folder, compress=lambda content: content, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "train-images-idx3-ubyte": GENERATOR.integers(0, 256, (7, 28, 28)),
        "train-labels-idx1-ubyte": GENERATOR.integers(0, 10, 7),
        "t10k-images-idx3-ubyte": GENERATOR.integers(0, 256, (3, 28, 28)),
        "t10k-labels-idx1-ubyte": GENERATOR.integers(0, 10, 3),
    }
    for name, array in arrays.items():
        (folder / f"{name}{suffix}").write_bytes(compress(idx(array)))
    return arrays


@pytest.mark.parametrize(("compress", "suffix"), [(lambda x: x, ""), (gzip.compress, ".gz"), (gzip.compress, "")])
@pytest.mark.parametrize("below", [".", "mnist"])
def test_mnist_plain_and_gzipped(tmp_path, monkeypatch, compress, suffix, below):
    arrays = write_mnist(tmp_path / below, compress, suffix)
    monkeypatch.setenv("ASYNCOPT_DATA", str(tmp_path))
    read = data.mnist()
    np.testing.assert_array_equal(read.images[..., 0], arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(read.labels, arrays["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(read.test_images[..., 0], arrays["t10k-images-idx3-ubyte"])
    np.testing.assert_array_equal(read.test_labels, arrays["t10k-labels-idx1-ubyte"])


IMAGES = idx(np.zeros((2, 3, 4)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes, expected a header of 16"),
        (IMAGES[:15], "15 bytes, expected a header"),
        (IMAGES[:-1], "23 bytes of data, expected 24"),
        (IMAGES + b"\0", "25 bytes of data, expected 24"),
        (idx(np.zeros((2, 3, 4)), kind=0x0D), "magic number 00000d03"),
        (b"\1\0\x08\x03" + IMAGES[4:], "magic number 01000803"),
        (idx(np.zeros((2, 3, 4, 1))), "4 dimensions, expected 3"),
        (idx(np.zeros((0, 3, 4))), r"dimensions \[0, 3, 4\], expected at least 1"),
        (IMAGES[:4] + b"\xff" * 12 + IMAGES[16:], "24 bytes of data, expected 792281"),
        (gzip.compress(IMAGES, mtime=0)[:-9], "damaged gzip file"),
        (gzip.compress(IMAGES, mtime=0)[:12] + b"\xff" * 20, "damaged gzip file"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, message):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(asyncopt.InputError, match=f"{path}: .*{message}"):
        data.idx.read_idx(path, 3)


def test_no_cut_and_no_flipped_bit_gives_a_wrong_array(tmp_path):
    path = tmp_path / "images"
    content = gzip.compress(idx(GENERATOR.integers(0, 256, (4, 5, 6))), mtime=0)
    for end in range(len(content)):
        path.write_bytes(content[:end])
        with pytest.raises(asyncopt.InputError, match=str(path)):
            data.idx.read_idx(path, 3)
    path.write_bytes(content)
    expected = data.idx.read_idx(path, 3)
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        try:  # a flag or a time in gzip's header says nothing of the data
            np.testing.assert_array_equal(data.idx.read_idx(path, 3), expected)
        except asyncopt.InputError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.array([0] * 6 + [10]), "label 10 of image 6, expected 0 to 9"),
        ("t10k-labels-idx1-ubyte", np.array([0, 1]), "2 labels, but there are 3 images"),
        ("t10k-images-idx3-ubyte", np.zeros((3, 14, 14)), r"test_images is uint8\[3, 14, 14, 1\]"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path, name, array, message):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(idx(array))
    with pytest.raises(asyncopt.InputError, match=message):
        data.mnist(tmp_path)


def test_a_missing_file_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.delenv("ASYNCOPT_DATA", raising=False)
    with pytest.raises(asyncopt.InputError, match=f"looked in {tmp_path}.*dataset-fashion-mnist"):
        data.fashion_mnist(tmp_path)
    with pytest.raises(asyncopt.InputError, match=r"no folder, since none is named.*ASYNCOPT_DATA"):
        data.mnist()
    with pytest.raises(asyncopt.InputError, match=r"data_batch_1.bin: no such file.*cifar-10-binary.tar.gz"):
        data.cifar10(tmp_path)


def write_cifar(folder):
    folder.mkdir()
    records = GENERATOR.integers(0, 256, (12, 3073))
    records[:, 0] %= 10
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(
            records[2 * number - 2 : 2 * number].astype(np.uint8).tobytes()
        )
    (folder / "test_batch.bin").write_bytes(records[10:].astype(np.uint8).tobytes())
    return records


def test_cifar10(tmp_path):
    records = write_cifar(tmp_path / "cifar-10-batches-bin")
    read = data.cifar10(tmp_path)
    np.testing.assert_array_equal(read.labels, records[:10, 0])
    np.testing.assert_array_equal(read.test_labels, records[10:, 0])
    assert read.images.shape == (10, 32, 32, 3)
    # red of row 1, column 2; green after 1,024 pixels of red
    assert read.images[4, 1, 2, 0] == records[4, 1 + 34]
    assert read.test_images[1, 0, 5, 1] == records[11, 1 + 1024 + 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes, expected a multiple of 3073"),
        (b"\0" * 3072, "3072 bytes, expected"),
        (b"\x0a" + b"\0" * 3072, "label 10 of image 0, expected 0 to 9"),
    ],
)
def test_a_damaged_cifar_file_is_named(tmp_path, content, message):
    folder = tmp_path / "cifar-10-batches-bin"
    write_cifar(folder)
    (folder / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(asyncopt.InputError, match=f"data_batch_3.bin: {message}"):
        data.cifar10(tmp_path)


def test_digits_are_the_same_as_rows_and_as_images():
    rows, images = data.digits(), data.digits_images()
    np.testing.assert_array_equal(rows.labels, images.labels)
    np.testing.assert_allclose(images.images.reshape(-1, 64) / 255, rows.features, atol=0.002)


@pytest.mark.optimised  # 500 updates of convolutions take longer than XLA's optimisations of them
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_a_quick_training_on_the_real_images(monkeypatch):
    """Slow: a network is compiled and trained."""
    monkeypatch.delenv("ASYNCOPT_DATA", raising=False)
    images = data.fashion_mnist()
    assert images.images.shape == (60_000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(images.labels), 6_000)
    np.testing.assert_array_equal(np.bincount(images.test_labels), 1_000)
    some = dataclasses.replace(images, test_images=images.test_images[:2000], test_labels=images.test_labels[:2000])
    problem = asyncopt.problems.lenet5(some, objective_images=500)
    result = asyncopt.replay(
        problem, asyncopt.apam(1e-3, bias_correction=True), asyncopt.traces.uniform(500, 20), eval_every=500,
        record_bounds=False,
    )  # fmt: skip
    assert result.metrics["test_accuracy"][0] < 0.2
    assert result.metrics["test_accuracy"][-1] > 0.6
