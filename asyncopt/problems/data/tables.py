"""Rows of one's own: arrays, tables and CSV files, with labels of any kind."""

import itertools
import numbers
import os
import pathlib
from collections.abc import Collection
from typing import Any

import numpy as np
import scipy.sparse

from asyncopt.checks import InputError, check_flag, check_text, parsed
from asyncopt.files.csv_rows import numbered_rows
from asyncopt.problems.data.dataset import Dataset, Matrix, split

_EXACT = 2.0**53


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
    check_text("name", name)
    if np.ma.is_masked(features) or np.ma.is_masked(labels):
        raise InputError(f"{name}: some values are masked, expected all features and labels")
    rows_of = [getattr(table, "index", None) for table in (features, labels)]
    one, other = (list(rows) if isinstance(rows, Collection) else [] for rows in rows_of)
    if one != other and set(one) == set(other):
        raise InputError(f"{name}: features and labels have the same index in another order, expected one order")
    matrix = _matrix(name, features)
    # A list with texts and NaN would become texts, "nan" among them.
    cells = np.array(labels, dtype=object) if isinstance(labels, list | tuple) else np.asarray(labels)
    if cells.ndim != 1 or len(cells) != matrix.shape[0]:
        raise InputError(f"{name}: labels has the shape {list(cells.shape)}, expected {matrix.shape[0]}, one a row")
    if cells.dtype.kind not in "biufUSO":
        raise InputError(f"{name}: labels have the dtype {cells.dtype}, expected whole numbers or texts")
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
    if cells.dtype.kind == "f" and (np.abs(cells) >= _EXACT).any():  # whole numbers beyond it are one float
        row = int(np.argmax(np.abs(cells) >= _EXACT))
        raise InputError(f"{name}: label {row} is {cells[row]:.0f}, a float, expected one below 2^53, or texts")
    classes, numbered = np.unique(cells, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{name}: every label is {classes.tolist()}, expected at least two classes")
    return split(name, matrix, numbered.astype(np.int64), len(classes), test_fraction, split_seed)


def from_csv(
    path: str | os.PathLike[str],
    label: str | int,
    *,
    header: bool = True,
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Reads rows and their classes from a CSV file; all columns but one are features.

    Args:
      path: the file.
      label: the column with the labels: its name, or its number from 0.
      header: whether the first row has the names of the columns.
      test_fraction: fraction of the rows held out, in [0, 1).
      split_seed: seed of the choice of these rows.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if a cell is no finite number, a row has another number of cells, some labels are numbers and others
        texts, or the first row is no header; the message names file, row and column.
    """
    check_flag("header", header)
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such CSV file")
    rows = list(numbered_rows(path))
    if len(rows) < 1 + header:
        raise InputError(f"{path}: {len(rows)} rows, expected {'a header and ' if header else ''}one row at least")
    names = rows.pop(0)[1] if header else [f"column {column}" for column in range(len(rows[0][1]))]
    at = _column(path, label, names)
    columns = [column for column in range(len(names)) if column != at]
    if header and _are_values([names[column] for column in columns]):
        raise InputError(f"{path}: the first row is {names}, expected the names of the columns, or header=False")
    features, labels = np.empty((len(rows), len(columns))), []
    for values, (number, cells) in zip(features, rows, strict=True):
        if len(cells) != len(names):
            raise InputError(f"{path}, row {number}: {len(cells)} cells, expected {len(names)}, as in the first row")
        labels.append(cells[at])
        if not labels[-1]:
            raise InputError(f"{path}, row {number}: no label in {names[at]!r}")
        for place, column in enumerate(columns):
            value = _number(cells[column])
            if value is None:
                named = f"{names[column]} is {cells[column]!r}"
                raise InputError(f"{path}, row {number}: {named}, expected a number")
            values[place] = value
    parsed_labels = [_number(cell) for cell in labels]
    are_numbers = [value is not None for value in parsed_labels]
    if any(are_numbers) and not all(are_numbers):
        odd = are_numbers.index(sum(are_numbers) * 2 < len(are_numbers))
        raise InputError(
            f"{path}, row {rows[odd][0]}: the label is {labels[odd]!r}, expected either numbers or texts in all rows"
        )
    classes: list[Any] = labels
    if all(are_numbers):
        are_whole = all(cell.lstrip("+-").isdigit() for cell in labels)
        classes = [int(cell) for cell in labels] if are_whole else parsed_labels
    return from_arrays(features, classes, name=str(path), test_fraction=test_fraction, split_seed=split_seed)


def _column(path: pathlib.Path, label: str | int, names: list[str]) -> int:
    """Returns the number of the column with the labels."""
    if len(names) < 2:
        raise InputError(f"{path}: one column, expected features besides the label, with commas between them")
    if isinstance(label, str) and names.count(label) > 1:
        raise InputError(
            f"{path}: {names.count(label)} columns are named {label!r}, expected one, or its number from 0"
        )
    if isinstance(label, str) and label in names:
        return names.index(label)
    if isinstance(label, int | np.integer) and not isinstance(label, bool) and 0 <= label < len(names):
        return int(label)
    raise InputError(f"{path}: no column {label!r}, expected one of {names}, or its number from 0")


def _are_values(names: list[str]) -> bool:
    """Whether these are numbers of a row in place of names; pandas itself names columns 0, 1, 2, ..."""
    values = [value for name in names if (value := _number(name)) is not None]
    if len(values) < len(names):
        return False
    return len(values) < 2 or any(after - before not in (1, 2) for before, after in itertools.pairwise(values))


def _number(cell: str) -> float | None:
    """Returns the number in a cell, or None if it has none."""
    try:
        return parsed(cell, float)
    except ValueError:
        return None


def _matrix(name: str, features: Any) -> Matrix:
    """Returns rows as float64, dense or sparse, or says which cell is no number."""
    if scipy.sparse.issparse(features):
        rows = scipy.sparse.csr_array(features)
        if 0 in rows.shape:
            raise InputError(f"{name}: features has the shape {list(rows.shape)}, expected N rows of d numbers")
        if rows.dtype.kind not in "biuf":
            raise InputError(f"{name}: features have the dtype {rows.dtype}, expected numbers")
        if not np.isfinite(rows.data).all():
            raise InputError(f"{name}: a feature is {rows.data[~np.isfinite(rows.data)][0]}, expected finite numbers")
        return rows.astype(float)
    try:
        given = np.asarray(features)
    except ValueError as error:
        raise InputError(f"{name}: features are no rows of one length: {error}") from error
    if given.dtype.kind not in "biuf":  # texts, complex numbers, dates, or objects of several types
        for cell in np.asarray(features, dtype=object).flat:
            if not isinstance(cell, numbers.Real | np.bool_):
                raise InputError(f"{name}: a feature is {cell!r}, expected numbers")
    try:
        matrix = given.astype(float)
    except OverflowError as error:
        raise InputError(f"{name}: a feature is too large: {error}") from error
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise InputError(f"{name}: features has the shape {list(matrix.shape)}, expected N rows of d numbers")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(f"{name}: feature {column} of row {row} is {matrix[row, column]}, expected a finite number")
    return matrix
