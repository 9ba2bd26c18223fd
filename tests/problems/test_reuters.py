"""The paper's text data: the published file where it is, and generated rows like it."""

import bz2

import numpy as np
import pytest

import asyncopt
from asyncopt.problems import data
from asyncopt.problems.data.reuters import NUM_FEATURES


def test_generated_rows_have_the_shape_and_the_statistics():
    made = data.rcv1_like(num_rows=4_000)
    words = np.diff(made.features.indptr)
    assert made.features.shape == (4_000, 47_236)
    assert words.mean() == pytest.approx(74, abs=3)  # the published file has about 74 values a row
    assert np.sqrt(made.features.multiply(made.features).sum(axis=1)) == pytest.approx(np.ones(4_000))
    assert (made.features.data > 0).all()
    assert made.labels.mean() == pytest.approx(0.52, abs=1e-3)
    # Zipf's law, by which the frequency of a word falls about as one over its rank.
    frequency = np.sort(np.bincount(made.features.indices, minlength=NUM_FEATURES))[::-1]
    slope = np.polyfit(np.log(np.arange(300, 3_000)), np.log(frequency[300:3_000]), 1)[0]
    assert -1.5 < slope < -0.75


def test_a_linear_classifier_learns_what_a_shuffled_label_does_not_teach():
    from sklearn.linear_model import LogisticRegression

    made = data.rcv1_like(num_rows=4_000, test_fraction=0.25)
    fitted = LogisticRegression(C=100.0).fit(made.features, made.labels)
    assert fitted.score(made.test_features, made.test_labels) > 0.85
    shuffled = np.random.default_rng(0).permutation(made.labels)
    control = LogisticRegression(C=100.0).fit(made.features, shuffled)
    assert control.score(made.test_features, made.test_labels) < 0.6


def test_the_seed_decides():
    one, same, other = (data.rcv1_like(num_rows=50, seed=seed) for seed in (0, 0, 1))
    assert (one.features != same.features).nnz == 0
    assert (one.features != other.features).nnz > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"num_rows": 1}, "num_rows is 1"), ({"seed": -1}, "seed is -1"), ({"test_fraction": 1.0}, "test_fraction is 1")],
)
def test_bad_settings(settings, message):
    with pytest.raises(asyncopt.InputError, match=message):
        data.rcv1_like(**{"num_rows": 10, **settings})


def test_the_published_file_is_found_and_read(tmp_path, monkeypatch):
    (tmp_path / "rcv1").mkdir()
    path = tmp_path / "rcv1" / "rcv1_train.binary.bz2"
    path.write_bytes(bz2.compress(b"-1 3:0.5 47236:0.5\n+1 7:1.0\n"))
    monkeypatch.setenv("ASYNCOPT_DATA", str(tmp_path))
    read = data.rcv1()
    assert read.features.shape == (2, 47_236)
    assert read.labels.tolist() == [0, 1]


def test_a_missing_file_says_what_there_is_instead(tmp_path):
    with pytest.raises(asyncopt.InputError, match=r"rcv1_train.binary: no such file .*data=rcv1_like generates"):
        data.rcv1(root=tmp_path)
