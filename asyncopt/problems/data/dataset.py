"""Data sets in memory: rows with classes, and rows with real targets."""

import dataclasses

import numpy as np
import scipy.sparse

from asyncopt.checks import InputError, check_integer, check_number, check_seed, check_text
from asyncopt.shown import Shown

Matrix = np.ndarray | scipy.sparse.csr_array


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset(Shown):
    """Rows and their classes, some of them held out to measure accuracy.

    Args:
      name: the data set's name in titles and messages.
      features: float64[N, d], dense or in compressed sparse rows.
      labels: int64[N], classes 0..num_classes - 1.
      num_classes: at least 2.
      test_features: float64[M, d], rows held out; M may be 0.
      test_labels: int64[M], their classes.
      num_workers: p, the workers with data of their own: worker w has rows w N/p to (w + 1) N/p - 1, see
        `asyncopt.problems.data.partition`. 1: all workers draw from all rows.

    Raises:
      InputError: if features are not finite, labels are not classes, or their numbers of rows differ.
    """

    name: str
    features: Matrix
    labels: np.ndarray
    num_classes: int
    test_features: Matrix
    test_labels: np.ndarray
    num_workers: int = 1

    def _facts(self) -> list[str]:
        rows, columns = self.features.shape
        facts = [repr(self.name), f"{rows:,} rows of {columns:,} features", f"{self.num_classes} classes"]
        return facts + ([f"{len(self.test_labels):,} held out"] if len(self.test_labels) else [])

    def __post_init__(self):
        check_text("name", self.name)
        check_integer(f"{self.name}: num_classes", self.num_classes, at_least=2)
        for part in ("", "test_"):
            features, labels = getattr(self, f"{part}features"), np.asarray(getattr(self, f"{part}labels"))
            _check_rows(self.name, f"{part}features", features, len(labels))
            _check_classes(f"{self.name}: {part}labels", labels, self.num_classes)
        width, of_tests = self.features.shape[1], self.test_features.shape[1]
        if width != of_tests:
            raise InputError(f"{self.name}: test_features has {of_tests} columns, expected {width}, as features")
        check_shares(self.name, len(self.labels), self.num_workers)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class RegressionData(Shown):
    """Rows and their targets.

    Args:
      name: the data set's name in titles and messages.
      features: float64[N, d].
      targets: float64[N], a real number for each row.

    Raises:
      InputError: if a number is not finite, or the numbers of rows differ.
    """

    name: str
    features: np.ndarray
    targets: np.ndarray

    def _facts(self) -> list[str]:
        rows, columns = self.features.shape
        return [repr(self.name), f"{rows:,} rows of {columns:,} features"]

    def __post_init__(self):
        check_text("name", self.name)
        _check_rows(self.name, "features", self.features, len(self.targets))
        if not np.isfinite(self.targets).all():
            raise InputError(f"{self.name}: targets has a value that is not finite, expected numbers")


def _check_rows(name: str, field: str, features: Matrix, num_rows: int) -> None:
    if np.ndim(features) != 2 or features.shape[0] != num_rows:
        raise InputError(f"{name}: {field} has shape {np.shape(features)}, expected two axes and {num_rows} rows")
    values = features.data if scipy.sparse.issparse(features) else np.asarray(features)
    if not np.isfinite(values).all():
        raise InputError(f"{name}: {field} has a value that is not finite, expected numbers")


def _check_classes(name: str, labels: np.ndarray, num_classes: int) -> None:
    wanted = f"expected integers from 0 to {num_classes - 1}, one for each row"
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(f"{name} has shape {labels.shape} and dtype {labels.dtype}, {wanted}")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise InputError(f"{name} has {wrong[0]}, {wanted}")


def check_shares(name: str, num_rows: int, num_workers: int) -> None:
    """Refuses a number of workers that does not divide the number of rows."""
    if num_rows % check_integer(f"{name}: num_workers", num_workers, at_least=1):
        raise InputError(f"{name}: {num_rows} rows for {num_workers} workers, expected as many for each")


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
    order = np.random.default_rng(check_seed("split_seed", seed)).permutation(num_rows)
    test, train = np.sort(order[:num_test]), np.sort(order[num_test:])
    return Dataset(name, features[train], labels[train], num_classes, features[test], labels[test])


def with_intercept(features: Matrix) -> Matrix:
    """Returns the features with a column of ones after them."""
    ones = np.ones((features.shape[0], 1))
    if isinstance(features, np.ndarray):
        return np.hstack([features, ones])
    return scipy.sparse.csr_array(scipy.sparse.hstack([features, ones], format="csr"))
