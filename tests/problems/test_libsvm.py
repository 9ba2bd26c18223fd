import bz2
import gzip

import numpy as np
import pytest
import scipy.sparse
import sklearn.datasets
from hypothesis import given
from hypothesis import strategies as st

from asyncopt import InputError
from asyncopt.problems import logistic
from asyncopt.problems.data import libsvm

TEXT = "+1 1:0.5 3:-2e-1 # a comment\n-1 2:1\n\n-1\n+1 3:4 4:0\n"


def write(path, text):
    path.write_text(text)
    return path


def test_reads_rows_and_classes(tmp_path):
    dataset = libsvm(write(tmp_path / "a.txt", TEXT), test_fraction=0.0)
    expected = [[0.5, 0, -0.2, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 4, 0]]
    assert scipy.sparse.issparse(dataset.features)
    np.testing.assert_array_equal(dataset.features.toarray(), expected)
    np.testing.assert_array_equal(dataset.labels, [1, 0, 0, 1])
    assert dataset.num_classes == 2
    dense = libsvm(tmp_path / "a.txt", num_features=6, dense=True, test_fraction=0.0)
    assert dense.features.shape == (4, 6)


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_reads_compressed_files_and_says_when_they_are_cut(suffix, compress, tmp_path):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(compress(TEXT.encode()))
    assert libsvm(path, test_fraction=0.0).features.shape == (4, 4)
    whole = path.read_bytes()
    for damaged in (whole[:-12], whole[: len(whole) // 2] + b":" + whole[len(whole) // 2 :]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read further"):
            libsvm(path)


@pytest.mark.parametrize("dense", [False, True])
def test_agrees_with_scikit_learns_reader(dense, tmp_path):
    features, labels = sklearn.datasets.load_breast_cancer(return_X_y=True)
    path = str(tmp_path / "cancer.txt")
    sklearn.datasets.dump_svmlight_file(features, labels, path, zero_based=False)
    ours = libsvm(path, dense=dense, test_fraction=0.0)
    theirs, their_labels = sklearn.datasets.load_svmlight_file(path, zero_based=False)
    np.testing.assert_array_equal(ours.features if dense else ours.features.toarray(), theirs.toarray())
    np.testing.assert_array_equal(ours.labels, their_labels)


def test_a_problem_is_made_of_it(tmp_path):
    features, labels = sklearn.datasets.load_digits(return_X_y=True)
    path = str(tmp_path / "digits.txt")
    sklearn.datasets.dump_svmlight_file(features / 16, labels, path, zero_based=False)
    # scikit-learn leaves out the columns that are zero everywhere at the end, not in between.
    from_file = logistic(libsvm(path, num_features=64, test_fraction=0.2))
    bundled = logistic("digits")
    assert from_file.optimum == pytest.approx(bundled.optimum, rel=1e-9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, expected one row a line"),
        ("# only a comment\n", "empty, expected one row a line"),
        ("+1 1:1\n-1 1:x\n", "line 2: '1:x' is not of the form index:value"),
        ("+1 1:1\n\n-1 5\n", "line 3: '5' is not of the form index:value"),
        ("+1 a:1\n", "line 1: 'a:1' is not of the form"),
        ("+1 1:1\n-1 0:1\n", "line 2: index 0 after 0, expected indices from 1"),
        ("+1 3:1 2:1\n", "line 1: index 2 after 3, expected indices from 1 that rise"),
        ("+1 2:1 2:1\n", "line 1: index 2 after 2"),
        ("+1 1:nan\n", "line 1: value 'nan' of index 1, expected a finite number"),
        ("+1 1_0:1\n", "line 1: '1_0:1' is not of the form"),
        ("+1 1:1_0\n", "line 1: '1:1_0' is not of the form"),
        ("+1 ٣:1\n", "line 1: '٣:1' is not of the form"),
        ("+1\x1e1:1\n", "line 1: label '.1.x1e1:1' is not a number"),
        ("+1\u00a01:1\n", "line 1: label '.1.xa01:1' is not a number"),
        ("+1 1:1 # a\r-1 2:1\r", r"line 1: a carriage return within the line, expected lines that end in"),
        ("yes 1:1\n", "line 1: label 'yes' is not a number"),
        ("0.5 1:1\n", "line 1: label '0.5', expected a whole number"),
        ("nan 1:1\n", "line 1: label 'nan', expected a whole number"),
        ("+1 1:1\n+1 2:1\n", "every label is 1, expected at least two classes"),
        ("+1 99999999999:1\n", "line 1: index 99999999999"),
    ],
)
def test_bad_file_names_file_and_line(text, message, tmp_path):
    path = write(tmp_path / "bad.txt", text)
    with pytest.raises(InputError, match=message) as raised:
        libsvm(path)
    assert str(path) in str(raised.value)


def test_one_large_index_makes_no_large_matrix(tmp_path):
    path = write(tmp_path / "a.txt", "+1 2147483647:1\n-1 1:1\n")
    assert libsvm(path, test_fraction=0.0).features.shape == (2, 2147483647)
    with pytest.raises(InputError, match=r"a\.txt: 2 dense rows of 2147483647 numbers, expected dense=False"):
        libsvm(path, dense=True)
    with pytest.raises(InputError, match="num_features is 2147483648, expected an integer of at most 2147483647"):
        libsvm(path, num_features=2**31)


def test_a_long_line_is_refused_in_a_short_message(tmp_path, monkeypatch):
    """Of the message, 700 characters at the start are kept and 300 at the end."""
    path = tmp_path / "rows.svm.gz"
    path.write_bytes(gzip.compress(b"+1 1:1\n" + b"+" * 10**6))
    with pytest.raises(InputError, match=r"line 2: label '\++ \.\.\. \+*' is not a number$") as raised:
        libsvm(path)
    assert len(str(raised.value)) == 700 + len(" ... ") + 300
    monkeypatch.setitem(libsvm.__globals__, "_LINE_LIMIT", 1000)
    with pytest.raises(InputError, match=r"rows\.svm\.gz, line 2: the line has 1,000 bytes or more, expected a row"):
        libsvm(path)


@given(st.binary(max_size=60))
def test_random_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "bytes.txt"
    path.write_bytes(content)
    try:
        libsvm(path, num_features=10)
    except InputError as error:
        assert str(path) in str(error) or "num_features" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_features": 2}, "index 4 found, expected at most num_features = 2"),
        ({"test_fraction": 1.0}, "test_fraction is 1.0, expected a finite number >= 0 and < 1"),
        ({"test_fraction": 0.99}, "leaves none of 4 rows"),
        ({"split_seed": -1}, "split_seed is -1"),
    ],
)
def test_refuses(arguments, message, tmp_path):
    with pytest.raises(InputError, match=message):
        libsvm(write(tmp_path / "a.txt", TEXT), **arguments)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such LIBSVM file"):
        libsvm(tmp_path / "none.txt")


def test_held_out_rows_are_disjoint_and_decided_by_the_seed(tmp_path):
    text = "".join(f"{k % 2} 1:{k}\n" for k in range(50))
    first = libsvm(write(tmp_path / "a.txt", text), dense=True, test_fraction=0.3)
    again = libsvm(tmp_path / "a.txt", dense=True, test_fraction=0.3)
    other = libsvm(tmp_path / "a.txt", dense=True, test_fraction=0.3, split_seed=1)
    everything = np.concatenate([first.features, first.test_features]).ravel()
    np.testing.assert_array_equal(np.sort(everything), np.arange(50))
    assert len(first.test_labels) == 15
    np.testing.assert_array_equal(first.features, again.features)
    assert not np.array_equal(first.features, other.features)
