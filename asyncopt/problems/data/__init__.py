"""Data sets: `digits`, `breast_cancer` and `diabetes` come with scikit-learn, and `libsvm` reads a file.

Rows of one's own: `from_arrays` and `from_csv`. Rows drawn at random: `normal_rows`.

Sparse rows: `rcv1` reads the paper's file, and `rcv1_like` generates rows like it.

`partition` divides rows or images among workers.

Images: `digits_images` comes with scikit-learn, too; `fashion_mnist`, `mnist`, `cifar10`, `cinic10` and `imagenet32`
read published files.

Text: `text` reads a file, or the documentation of Python that comes with it.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from asyncopt.checks import InputError
from asyncopt.problems.data.bundled import breast_cancer, diabetes, digits, digits_images
from asyncopt.problems.data.cifar import cifar10
from asyncopt.problems.data.cinic import cinic10
from asyncopt.problems.data.dataset import Dataset, Matrix, RegressionData, split, with_intercept
from asyncopt.problems.data.generated import normal_rows
from asyncopt.problems.data.idx import fashion_mnist, mnist
from asyncopt.problems.data.imagenet import imagenet32
from asyncopt.problems.data.images import ImageData
from asyncopt.problems.data.libsvm import libsvm
from asyncopt.problems.data.partition import partition
from asyncopt.problems.data.reuters import rcv1, rcv1_like
from asyncopt.problems.data.tables import from_arrays, from_csv
from asyncopt.problems.data.text import Text, text

_T = TypeVar("_T")
_CLASSIFICATION = {"breast_cancer": breast_cancer, "digits": digits}
_REGRESSION = {"diabetes": diabetes}


def by_name(name: str) -> Dataset:
    """Returns a bundled data set with its default split.

    Raises:
      InputError: for an unknown name.
    """
    return _bundled(_CLASSIFICATION, name, "a Dataset")


def regression_by_name(name: str) -> RegressionData:
    """Returns a bundled set of regression data.

    Raises:
      InputError: for an unknown name.
    """
    return _bundled(_REGRESSION, name, "RegressionData")


def _bundled(known: Mapping[str, Callable[[], _T]], name: str, otherwise: str) -> _T:
    if name not in known:
        raise InputError(f"data is {name!r}, expected one of {sorted(known)} or {otherwise}")
    return known[name]()


__all__ = [
    "Dataset", "ImageData", "Matrix", "RegressionData", "Text", "breast_cancer", "by_name", "cifar10", "cinic10",
    "diabetes", "digits", "digits_images", "fashion_mnist", "from_arrays", "from_csv", "imagenet32", "libsvm", "mnist",
    "normal_rows", "partition", "rcv1", "rcv1_like", "regression_by_name", "split", "text", "with_intercept",
]  # fmt: skip
