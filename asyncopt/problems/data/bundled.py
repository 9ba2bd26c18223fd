"""Real data sets that come with scikit-learn, without a download."""

import importlib.util
import pathlib

import numpy as np

from asyncopt.checks import InputError
from asyncopt.problems.data.dataset import Dataset, RegressionData, split
from asyncopt.problems.data.images import ImageData


def digits(test_fraction: float = 0.2, split_seed: int = 0) -> Dataset:
    """1,797 images of handwritten digits, 8 × 8 pixels scaled to [0, 1], 10 classes.

    Args:
      test_fraction: fraction of the rows held out, in [0, 1).
      split_seed: seed of the choice of these rows.

    References:
      Alpaydin and Kaynak, `Optical recognition of handwritten digits <https://doi.org/10.24432/C50P49>`_, 1998.
    """
    rows = np.loadtxt(_file("digits.csv.gz"), delimiter=",")
    return split("digits", rows[:, :-1] / 16.0, rows[:, -1].astype(int), 10, test_fraction, split_seed)


def digits_images(test_fraction: float = 0.2, split_seed: int = 0) -> ImageData:
    """The images of `digits` for networks: 8 × 8 pixels, as bytes.

    Args:
      test_fraction: fraction of the images held out, in [0, 1).
      split_seed: seed of the choice of these images, the same as in `digits`.
    """
    rows = digits(test_fraction, split_seed)

    def pixels(features):
        return np.round(features * 255).astype(np.uint8).reshape(-1, 8, 8, 1)

    return ImageData(
        name="digits_images",
        images=pixels(rows.features),
        labels=rows.labels,
        num_classes=10,
        test_images=pixels(rows.test_features),
        test_labels=rows.test_labels,
        mean=np.array([0.3053]),  # over all pixels
        deviation=np.array([0.3760]),
    )


def breast_cancer(test_fraction: float = 0.2, split_seed: int = 0) -> Dataset:
    """569 tumours, 30 measurements each, standardised over all rows; class 1 is benign.

    Args:
      test_fraction: fraction of the rows held out, in [0, 1).
      split_seed: seed of the choice of these rows.

    References:
      Wolberg et al., `Breast cancer Wisconsin (diagnostic) <https://doi.org/10.24432/C5DW2B>`_, 1995.
    """
    rows = np.loadtxt(_file("breast_cancer.csv"), delimiter=",", skiprows=1)
    return split("breast_cancer", _standardised(rows[:, :-1]), rows[:, -1].astype(int), 2, test_fraction, split_seed)


def diabetes() -> RegressionData:
    """442 patients, 10 measurements each, and the progression of the disease a year later; all standardised.

    References:
      Efron, Hastie, Johnstone and Tibshirani, `Least angle regression
      <https://doi.org/10.1214/009053604000000067>`_, 2004.
    """
    import sklearn.datasets  # it scales these rows, which takes more than to read a file

    measurements, progression = sklearn.datasets.load_diabetes(return_X_y=True)
    return RegressionData("diabetes", _standardised(measurements), _standardised(progression))


def _standardised(columns: np.ndarray) -> np.ndarray:
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def _file(name: str) -> pathlib.Path:
    """Returns one of scikit-learn's data files. To import scikit-learn for it would take longer than a short run."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise InputError(f"{name} comes with scikit-learn, which is not installed: pip install scikit-learn")
    return pathlib.Path(spec.origin).parent / "datasets" / "data" / name
