"""A data set is checked when it is made: labels that are no classes would train to something else without a word."""

import numpy as np
import pytest
import scipy.sparse
import sklearn.datasets

import asyncopt
from asyncopt import InputError
from asyncopt.problems.data import Dataset, RegressionData, by_name

ROWS, LABELS = np.eye(4, 3), np.array([0, 1, 1, 0])


def made(**changed):
    fields = {
        "features": ROWS,
        "labels": LABELS,
        "num_classes": 2,
        "test_features": ROWS[:0],
        "test_labels": LABELS[:0],
    }
    return Dataset("mine", **(fields | changed))


@pytest.mark.parametrize("features", [ROWS, scipy.sparse.csr_array(ROWS)])
def test_a_whole_one(features):
    assert asyncopt.problems.logistic(made(features=features)).num_rows == 4


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": 2 * LABELS - 1}, "mine: labels has -1, expected integers from 0 to 1, one for each row"),
        ({"labels": LABELS + 1}, "mine: labels has 2, expected integers from 0 to 1"),
        ({"labels": LABELS.astype(float)}, r"mine: labels has shape \(4,\) and dtype float64, expected integers"),
        ({"labels": LABELS[:, None]}, r"mine: labels has shape \(4, 1\)"),
        ({"labels": LABELS[:3]}, r"mine: features has shape \(4, 3\), expected two axes and 3 rows"),
        ({"features": ROWS[0]}, r"mine: features has shape \(3,\), expected two axes"),
        ({"features": np.full((4, 3), np.nan)}, "mine: features has a value that is not finite"),
        (
            {"features": scipy.sparse.csr_array(np.where(ROWS > 0, np.inf, 0))},
            "mine: features has a value that is not finite",
        ),
        ({"num_classes": 1}, "mine: num_classes is 1, expected an integer of at least 2"),
        ({"test_features": ROWS[:1, :2], "test_labels": [0]}, "mine: test_features has 2 columns, expected 3"),
        ({"test_features": ROWS[:1], "test_labels": [5]}, "mine: test_labels has 5, expected integers from 0 to 1"),
    ],
)
def test_refuses(changed, message):
    with pytest.raises(InputError, match=message):
        made(**changed)


@pytest.mark.parametrize(
    ("features", "targets", "message"),
    [
        (ROWS, np.ones(3), r"mine: features has shape \(4, 3\), expected two axes and 3 rows"),
        (ROWS, np.array([1, 2, np.nan, 3]), "mine: targets has a value that is not finite"),
        (ROWS * np.nan, np.ones(4), "mine: features has a value that is not finite"),
    ],
)
def test_refuses_targets(features, targets, message):
    with pytest.raises(InputError, match=message):
        RegressionData("mine", features, targets)


@pytest.mark.parametrize(("name", "load"), [("digits", "load_digits"), ("breast_cancer", "load_breast_cancer")])
def test_bundled_rows_are_those_that_scikit_learn_reads(name, load):
    """The files are read without it, since its import takes longer than a short run."""
    rows, labels = getattr(sklearn.datasets, load)(return_X_y=True)
    scaled = rows / 16.0 if name == "digits" else (rows - rows.mean(axis=0)) / rows.std(axis=0)
    ours = by_name(name)
    together = np.vstack([ours.features, ours.test_features])
    order, their_order = np.lexsort(together.T), np.lexsort(scaled.T)
    np.testing.assert_array_equal(together[order], scaled[their_order])
    np.testing.assert_array_equal(np.r_[ours.labels, ours.test_labels][order], labels[their_order])
