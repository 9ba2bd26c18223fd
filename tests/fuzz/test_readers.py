"""Every reader on damaged files: it returns what is in them, or says in a line which file is wrong."""

import bz2
import csv
import dataclasses
import gzip
import pathlib
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncopt import InputError, traces
from asyncopt.files import records
from asyncopt.problems import data
from asyncopt.problems.data import cifar, cinic, idx, imagenet
from asyncopt.runtime import recording
from tests.fuzz import examples
from tests.problems.test_color_images import png
from tests.run.test_verify import record_into

GENERATOR = np.random.default_rng(0)
TRACE = traces.cluster(20, 3)
# What readers take for something special: separators, signs, numbers that are none, starts of other formats.
TOKENS = [
    b"\n", b"\r", b",", b":", b" ", b"#", b'"', b"-", b"+1", b"_", b".", b"nan", b"inf", b"1e999", b"0x1", b"\x00",
    b"\xff", b"\xef\xbb\xbf", "²".encode(), "٣".encode(), b"99999999999999999999", b"PK\x03\x04", b"\x1f\x8b", b"BZh",
    b"!!python", b"&a", b"*a", b"${oc.env:HOME}", b"{", b"}", b"[", b"]", b"null", b"true", b"NUMPY", b"descr",
]  # fmt: skip


@dataclasses.dataclass
class Format:
    """A kind of file: how one is written, how it is read, and what else says what is in it."""

    name: str
    write: Callable[[pathlib.Path], Any]
    read: Callable[[pathlib.Path], Any]
    same: Callable[[pathlib.Path, Any], bool]


def _equal(found, expected):
    return found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in expected)


def _fields(trace):
    return {name: value for name, value in vars(trace).items() if value is not None}


def _delays(path, found):
    """Whether NumPy's parser finds these delays, the largest of each row."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [cells for cells in csv.reader(file) if any(cell.strip() for cell in cells)]
    try:
        numbers = np.loadtxt([",".join(cells) for cells in rows], delimiter=",", ndmin=2, comments=None)
    except ValueError:  # the first row has names, then
        numbers = np.loadtxt([",".join(cells) for cells in rows[1:]], delimiter=",", ndmin=2, comments=None)
    return _equal(_fields(found), _fields(traces.Trace.from_delays(numbers.max(axis=1).astype(int))))


def _rows(path, found):
    """Whether scikit-learn's parser finds the same rows and classes."""
    opener = {".gz": gzip.open, ".bz2": bz2.open}.get(path.suffix, open)
    with opener(path, "rb") as file:
        features, labels = sklearn.datasets.load_svmlight_file(file, zero_based=False)
    return np.array_equal(features.toarray(), found.features.toarray()) and np.array_equal(
        np.unique(labels, return_inverse=True)[1], found.labels
    )


def _table(path, found):
    """Whether pandas' parser finds the same cells; classes may be written as 1 or 1.0."""
    frame = pd.read_csv(path, encoding="utf-8-sig", dtype=str, keep_default_na=False, index_col=False)
    cells = frame.map(str.strip)
    cells = cells[(cells != "").any(axis=1)]
    try:
        labels = cells.iloc[:, -1].astype(float)
    except ValueError:
        labels = cells.iloc[:, -1]
    return np.array_equal(cells.iloc[:, :-1].astype(float), found.features) and np.array_equal(
        np.unique(labels, return_inverse=True)[1], found.labels
    )


def _write_rows(path):
    text = b"# rows\n+1 1:0.5 3:-2 7:1e-3\n-1 2:4\n+1\n-1 1:1 2:2 3:3 # all\n"
    path.write_bytes({".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)(text))


def _read_rows(path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(data.libsvm.__globals__, "_LINE_LIMIT", 2**14)  # a damaged compressed file may have longer lines
        return data.libsvm(path, test_fraction=0.0)


PIXELS = GENERATOR.integers(0, 256, (2, 3, 3), np.uint8)
IDX = struct.pack(">HBBIII", 0, 8, 3, *PIXELS.shape) + PIXELS.tobytes()
CIFAR = np.c_[[[3], [9]], GENERATOR.integers(0, 256, (2, 3072))].astype(np.uint8).tobytes()
IMAGE = GENERATOR.integers(0, 256, (32, 32, 3), np.uint8)
IMAGENET = {"data": GENERATOR.integers(0, 256, (2, 3072), np.uint8), "labels": np.array([1, 1000])}


def _as_images(content):
    bytes_of = np.frombuffer(content, np.uint8).reshape(-1, 3073)
    return bytes_of[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), bytes_of[:, 0]


def _both_equal(found, expected):
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def _whole_idx(path, found):
    content = path.read_bytes()
    content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
    return found.tobytes() == content[16:] and found.shape == struct.unpack(">III", content[4:16])


FORMATS = [
    Format("x.npz", TRACE.save, traces.load, lambda _, found: _equal(_fields(found), _fields(TRACE))),
    Format("x.csv", lambda path: path.write_text("delay\n" + "0\n1\n2\n0\n3\n5\n"), traces.load, _delays),
    Format("ages.csv", lambda path: path.write_text("0,0\n1,0\n0,2\n3,1\n"), traces.load, _delays),
    Format("x.svm", _write_rows, _read_rows, _rows),
    Format("x.svm.gz", _write_rows, _read_rows, _rows),
    Format("x.svm.bz2", _write_rows, _read_rows, _rows),
    Format(
        "rows.csv",
        lambda path: path.write_text("a,b,kind\n1,2.5,yes\n-3,4,no\n5e-1,6,yes\n"),
        lambda path: data.from_csv(path, 2, test_fraction=0.0),
        _table,
    ),
    Format("idx3", lambda path: path.write_bytes(IDX), lambda path: idx.read_idx(path, 3), _whole_idx),
    Format(
        "idx3.gz", lambda path: path.write_bytes(gzip.compress(IDX)), lambda path: idx.read_idx(path, 3), _whole_idx
    ),
    Format(
        "data_batch_1.bin",
        lambda path: path.write_bytes(CIFAR),
        cifar._read,
        lambda path, found: _both_equal(found, _as_images(path.read_bytes())),
    ),
    Format(
        "0.png",
        lambda path: path.write_bytes(png(IMAGE)),
        cinic._read_png,
        lambda _, found: np.array_equal(found, IMAGE),
    ),
    Format(
        "train_data_batch_1.npz",
        lambda path: np.savez(path, **IMAGENET),
        imagenet._read,
        lambda _, found: (
            np.array_equal(found[1], IMAGENET["labels"] - 1)
            and np.array_equal(found[0].transpose(0, 3, 1, 2).reshape(2, -1), IMAGENET["data"])
        ),
    ),
]

edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.integers(0, 9), st.sampled_from(TOKENS) | st.binary(max_size=9)
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


def damaged(content, changes):
    """Replaces a few bytes in a few places by others; a place is a share of the length."""
    for share, removed, inserted in changes:
        at = int(share * (len(content) + 1))
        content = content[:at] + inserted + content[at + removed :]
    return content


def check_refused(error, path):
    """The message must name the file, in at most three lines."""
    said = str(error)
    assert str(path) in said
    assert said.count("\n") < 3
    assert len(said) < 2000


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=edits)
def test_a_damaged_file(kind, tmp_path, changes):
    path = tmp_path / kind.name
    kind.write(path)
    check_read(kind, path, damaged(path.read_bytes(), changes))


def check_read(kind, path, content):
    """Checks that a reader returns what is in the file, or refuses it, and takes little memory."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        found = kind.read(path)
    except InputError as error:
        check_refused(error, path)
    else:
        assert kind.same(path, found)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 10 * len(content) + 2_000_000  # what the readers themselves need


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The folder of a recorded run, and its files."""
    folder = record_into(tmp_path_factory.mktemp("recorded"))
    return folder, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def read_damaged(whole_run, name, changes, read):
    """Returns what a reader of the folder finds with one of its files damaged, or None if it refuses and names it."""
    folder, files = whole_run
    path = folder / name
    try:
        path.write_bytes(damaged(files[name], changes))
        return read(folder)
    except InputError as error:
        check_refused(error, path if name in (recording.TRACE, recording.RECORDING) else folder)
    finally:
        path.write_bytes(files[name])
    return None


@pytest.mark.parametrize("name", [records.CONFIG, records.METRICS, records.SUMMARY, "SHA256SUMS"])
@settings(max_examples=examples(40), deadline=None)
@given(changes=edits)
def test_a_damaged_run(name, whole_run, changes):
    found = read_damaged(whole_run, name, changes, records.load_run)
    if found is not None:
        whole = records.load_run(whole_run[0])
        assert found.config == whole.config
        assert found.summary == whole.summary
        assert found.metrics.equals(whole.metrics)


@pytest.mark.parametrize("name", [recording.TRACE, recording.RECORDING])
@settings(max_examples=examples(40), deadline=None)
@given(changes=edits)
def test_a_damaged_recording(name, whole_run, changes):
    found = read_damaged(whole_run, name, changes, recording.load)
    if found is not None:
        whole = recording.load(whole_run[0])
        assert _equal(_fields(found.trace), _fields(whole.trace))
        assert _both_equal([found.digests, *found.leaves], [whole.digests, *whole.leaves])
