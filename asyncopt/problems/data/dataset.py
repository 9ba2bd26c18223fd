"""Data sets in memory: rows with classes, and rows with real targets."""

import dataclasses

import numpy as np
import scipy.sparse

from asyncopt.checks import InputError, check_integer, check_number

Matrix = np.ndarray | scipy.sparse.csr_array


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Rows and their classes, some of them held out to measure accuracy.

    Args:
      name: the data set's name in titles and messages.
      features: float64[N, d], dense or in compressed sparse rows.
      labels: int64[N], classes 0..num_classes - 1.
      num_classes: at least 2.
      test_features: float64[M, d], rows held out; M may be 0.
      test_labels: int64[M], their classes.
    """

    name: str
    features: Matrix
    labels: np.ndarray
    num_classes: int
    test_features: Matrix
    test_labels: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class RegressionData:
    """Rows and their targets.

    Args:
      name: the data set's name in titles and messages.
      features: float64[N, d].
      targets: float64[N], a real number for each row.
    """

    name: str
    features: np.ndarray
    targets: np.ndarray


def split(
    name: str, features: Matrix, labels: np.ndarray, num_classes: int, test_fraction: float, seed: int
) -> Dataset:
    """Returns a data set with a random ``test_fraction`` of the rows held out.

    Args:
      name: the data set's name in titles and messages.
      features: float64[N, d].
      labels: int64[N], classes 0..num_classes - 1.
      num_classes: at least 2.
      test_fraction: fraction of the rows held out, in [0, 1), rounded to whole rows.
      seed: seed of the choice of these rows, at least 0.

    Raises:
      InputError: if the fraction is out of range, or leaves no row to train on.
    """
    test_fraction = check_number("test_fraction", test_fraction, at_least=0, below=1)
    num_rows = len(labels)
    num_test = round(test_fraction * num_rows)
    if num_test == num_rows:
        raise InputError(f"test_fraction is {test_fraction}, which leaves none of {num_rows} rows to train on")
    order = np.random.default_rng(check_integer("split_seed", seed, at_least=0)).permutation(num_rows)
    test, train = np.sort(order[:num_test]), np.sort(order[num_test:])
    return Dataset(name, features[train], labels[train], num_classes, features[test], labels[test])


def with_intercept(features: Matrix) -> Matrix:
    """Returns the features with a column of ones after them."""
    ones = np.ones((features.shape[0], 1))
    if isinstance(features, np.ndarray):
        return np.hstack([features, ones])
    return scipy.sparse.csr_array(scipy.sparse.hstack([features, ones], format="csr"))
