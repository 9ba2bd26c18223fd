"""Rows of one's own: arrays, tables and CSV files, with labels of any kind."""

import contextlib
import os
import pathlib
from typing import Any

import numpy as np
import scipy.sparse

from asyncopt.checks import InputError, parsed
from asyncopt.files.csv_rows import numbered_rows
from asyncopt.problems.data.dataset import Dataset, Matrix, split


def from_arrays(
    features: Any, labels: Any, *, name: str = "rows", test_fraction: float = 0.2, split_seed: int = 0
) -> Dataset:
    """Returns rows and their classes as a data set.

    Args:
      features: N rows of d numbers: a NumPy array, a pandas table, or sparse rows of SciPy.
      labels: N labels of any kind, whole numbers or texts. The classes are numbered in their order, from 0.
      name: the data set's name in titles and messages.
      test_fraction: fraction of the rows held out, in [0, 1).
      split_seed: seed of the choice of these rows.

    Raises:
      InputError: if a feature is no finite number, a label is missing, the numbers of rows differ, or there is one
        class only; the message names the row and the column.

    Examples:
      >>> import asyncopt
      >>> rows = asyncopt.problems.data.from_arrays([[0.0], [0.1], [0.9], [1.0]], ["no", "no", "yes", "yes"])
      >>> rows.num_classes
      2
    """
    matrix = _matrix(name, features)
    # A list with texts and NaN would become texts, "nan" among them.
    cells = np.array(labels, dtype=object) if isinstance(labels, list | tuple) else np.asarray(labels)
    if cells.ndim != 1 or len(cells) != matrix.shape[0]:
        raise InputError(f"{name}: labels has the shape {list(cells.shape)}, expected {matrix.shape[0]}, one a row")
    if cells.dtype.kind == "O":
        texts = [isinstance(cell, str) for cell in cells]
        if any(texts) and not all(texts):
            row = texts.index(False)
            raise InputError(f"{name}: label {row} is {cells[row]!r}, which is missing or no text as the others are")
        for row, cell in enumerate(cells):
            if not isinstance(cell, str | bool | int | float | np.generic):
                raise InputError(f"{name}: label {row} is {cell!r}, expected a whole number or a text")
        cells = np.array(cells.tolist())
    if cells.dtype.kind == "f" and not (np.isfinite(cells).all() and (cells == np.round(cells)).all()):
        row = int(np.argmin(np.isfinite(cells) & (cells == np.round(cells))))
        raise InputError(f"{name}: label {row} is {cells[row]}, expected a class: a whole number or a text")
    classes, numbered = np.unique(cells, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{name}: every label is {classes.tolist()}, expected at least two classes")
    return split(name, matrix, numbered.astype(np.int64), len(classes), test_fraction, split_seed)


def from_csv(
    path: str | os.PathLike[str], label: str | int, *, test_fraction: float = 0.2, split_seed: int = 0
) -> Dataset:
    """Reads rows and their classes from a CSV file with a header; all columns but one are features.

    Args:
      path: the file.
      label: the column with the labels: its name, or its number from 0.
      test_fraction: fraction of the rows held out, in [0, 1).
      split_seed: seed of the choice of these rows.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if a cell is no finite number, or a row has another number of cells; the message names file, row and
        column.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such CSV file")
    rows = list(numbered_rows(path))
    if len(rows) < 2:
        raise InputError(f"{path}: {len(rows)} rows, expected a header and one row at least")
    _, header = rows[0]
    if isinstance(label, str) and header.count(label) == 1:
        at = header.index(label)
    elif isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(header):
        at = label
    else:
        raise InputError(f"{path}: no column {label!r}, expected one of {header}, or its number from 0")
    if len(header) < 2:
        raise InputError(f"{path}: one column, expected features besides the label")
    columns = [column for column in range(len(header)) if column != at]
    features = np.empty((len(rows) - 1, len(columns)))
    labels = []
    for values, (number, cells) in zip(features, rows[1:], strict=True):
        if len(cells) != len(header):
            raise InputError(f"{path}, row {number}: {len(cells)} cells, expected {len(header)}, as in the header")
        labels.append(cells[at])
        if not labels[-1]:
            raise InputError(f"{path}, row {number}: no label in column {header[at]!r}")
        for place, column in enumerate(columns):
            try:
                values[place] = parsed(cells[column], float)
            except ValueError:
                named = f"{header[column]} is {cells[column]!r}"
                raise InputError(f"{path}, row {number}: {named}, expected a number") from None
    classes: list[Any] = labels
    with contextlib.suppress(ValueError):  # texts, then
        classes = [parsed(cell, float) for cell in labels]
    return from_arrays(features, classes, name=str(path), test_fraction=test_fraction, split_seed=split_seed)


def _matrix(name: str, features: Any) -> Matrix:
    """Returns rows as float64, dense or sparse, or says which cell is no number."""
    if scipy.sparse.issparse(features):
        return scipy.sparse.csr_array(features).astype(float)
    try:
        matrix = np.asarray(features, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: features are no numbers: {error}") from error
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise InputError(f"{name}: features has the shape {list(matrix.shape)}, expected N rows of d numbers")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(f"{name}: feature {column} of row {row} is {matrix[row, column]}, expected a finite number")
    return matrix
