"""The LIBSVM text format: one row a line, ``label index:value index:value ...``."""

import bz2
import gzip
import os
import pathlib
import zlib

import numpy as np
import scipy.sparse

from asyncopt.checks import InputError, check_flag, check_integer, is_plausible_size, parsed
from asyncopt.problems.data.dataset import Dataset, split

_OPENERS = {".gz": gzip.open, ".bz2": bz2.open}
_MAX_INDEX = 2**31 - 1
# A line has fewer bytes than this. A compressed file of a few kilobytes can contain one of gigabytes.
_LINE_LIMIT = 2**27


def libsvm(
    path: str | os.PathLike[str],
    num_features: int | None = None,
    dense: bool = False,
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Reads a LIBSVM file, plain or compressed (``.gz``, ``.bz2``), as sparse rows.

    Indices count from 1 and rise along a line. Labels are whole numbers, and the classes are numbered in their
    order: -1, +1 become 0, 1. A comment starts with ``#``. A line ends with a line feed, and has less than 128 MiB.

    Args:
      path: the file.
      num_features: d. Default: the largest index in the file.
      dense: whether to return a dense matrix, which suits rows with few zeros.
      test_fraction: fraction of the rows held out, in [0, 1).
      split_seed: seed of the choice of these rows.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if a line is not of this form; the message names file and line.
    """
    check_flag("dense", dense)
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such LIBSVM file")
    raw_labels, indices, values, row_ends = _read_rows(path)
    if not raw_labels:
        raise InputError(f"{path}: empty, expected one row a line")
    classes, labels = np.unique(np.array(raw_labels, dtype=np.int64), return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{path}: every label is {classes[0]}, expected at least two classes")
    columns = np.array(indices, dtype=np.int64) - 1
    largest = int(columns.max(initial=-1)) + 1
    if num_features is None:
        num_features = max(largest, 1)
    num_features = check_integer("num_features", num_features, at_least=1, at_most=_MAX_INDEX)
    if largest > num_features:
        raise InputError(f"{path}: index {largest} found, expected at most num_features = {num_features}")
    features = scipy.sparse.csr_array(
        (np.array(values, dtype=float), columns, np.array([0, *row_ends], dtype=np.int64)),
        shape=(len(labels), num_features),
    )
    # One large index makes a large matrix.
    if dense and not is_plausible_size(8 * len(labels) * num_features, path.stat().st_size):
        raise InputError(f"{path}: {len(labels)} dense rows of {num_features} numbers, expected dense=False")
    matrix = features.toarray() if dense else features
    return split(path.name, matrix, labels, len(classes), test_fraction, split_seed)


def _read_rows(path: pathlib.Path) -> tuple[list[int], list[int], list[float], list[int]]:
    """Returns labels, the indices and values of all rows, end to end, and where each row ends."""
    labels: list[int] = []
    indices: list[int] = []
    values: list[float] = []
    row_ends: list[int] = []
    number = 0
    try:
        with _OPENERS.get(path.suffix, open)(path, "rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LINE_LIMIT), b""), start=1):  # noqa: B007
                if len(line) == _LINE_LIMIT:
                    raise InputError(f"the line has {_LINE_LIMIT:,} bytes or more, expected a row")
                if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r"):
                    raise InputError("a carriage return within the line, expected lines that end in \\n or \\r\\n")
                # Bytes are split at ASCII's blanks alone; text would also be split at other blanks of Unicode.
                cells = [cell.decode() for cell in line.partition(b"#")[0].split()]
                if cells:
                    labels.append(_label(cells[0]))
                    _append_pairs(cells[1:], indices, values)
                    row_ends.append(len(indices))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, line {number}: not a text file: {error}") from error
    except InputError as error:
        raise InputError(f"{path}, line {number}: {error}") from error
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}, after line {number}: cannot be read further: {error}") from error
    return labels, indices, values, row_ends


def _label(cell: str) -> int:
    try:
        value = parsed(cell, float)
    except ValueError:
        raise InputError(f"label {cell!r} is not a number") from None
    if not value.is_integer() or abs(value) > _MAX_INDEX:
        raise InputError(f"label {cell!r}, expected a whole number, the class")
    return int(value)


def _append_pairs(cells: list[str], indices: list[int], values: list[float]) -> None:
    previous = 0
    for cell in cells:
        index_text, _, value_text = cell.partition(":")
        try:
            index, value = parsed(index_text, int), parsed(value_text, float)
        except ValueError:
            raise InputError(f"{cell!r} is not of the form index:value") from None
        if not previous < index <= _MAX_INDEX:
            raise InputError(f"index {index} after {previous}, expected indices from 1 that rise along the line")
        if not np.isfinite(value):
            raise InputError(f"value {value_text!r} of index {index}, expected a finite number")
        previous = index
        indices.append(index)
        values.append(value)
