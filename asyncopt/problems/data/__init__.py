"""Data sets: `digits` and `breast_cancer` come with scikit-learn, `libsvm` reads a file."""

from asyncopt.checks import InputError
from asyncopt.problems.data.bundled import breast_cancer, digits
from asyncopt.problems.data.dataset import Dataset, Matrix, split
from asyncopt.problems.data.libsvm import libsvm

_BY_NAME = {"breast_cancer": breast_cancer, "digits": digits}


def by_name(name: str) -> Dataset:
    """Returns a bundled data set with its default split.

    Raises:
      InputError: for an unknown name.
    """
    if name not in _BY_NAME:
        raise InputError(f"data is {name!r}, expected one of {sorted(_BY_NAME)} or a Dataset")
    return _BY_NAME[name]()


__all__ = ["Dataset", "Matrix", "breast_cancer", "by_name", "digits", "libsvm", "split"]
