"""Readers of trace files: ``.npz`` for whole traces, CSV for recorded delays."""

import itertools
import os
import pathlib
from typing import Any

from asyncopt.checks import InputError, parsed
from asyncopt.files import npz
from asyncopt.files.csv_rows import numbered_rows
from asyncopt.traces.trace import COSTS, FILE_KIND, Trace

_DELAY = "delay"
# Names of columns that other programs write beside delays.
_OTHER_COLUMNS = frozenset(
    {"arrival", "batch", "epoch", "iteration", "k", "rank", "read_version", "sample", "seed", "step", "time", "update",
     "version", "worker"}
)  # fmt: skip


def load(path: str | os.PathLike[str], column: str | int | None = None) -> Trace:
    """Reads a trace from ``.npz``, or recorded delays from a CSV.

    A CSV has one delay in each row, in the order of the updates. A first row without numbers holds the names of the
    columns. Of several columns, the one that ``column`` names counts, or else the one called "delay". If there is none,
    all are delays, such as the ages of several workers' gradients in one update, and the largest in each row counts.

    Args:
      path: the file.
      column: for a CSV, the name of the column to read, or its number from 0.

    Raises:
      FileNotFoundError: if there is no such file.
      InputError: if the file does not hold a trace, or a column's name says that it holds no delays, and ``column``
        is not given; the message names the file, and the row or field.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such trace file")
    if path.suffix == ".npz":
        if column is not None:
            raise InputError(f"{path}: column={column!r} is for CSV files, an .npz trace has none")
        return _load_npz(path)
    return _load_csv(path, column)


def _load_npz(path: pathlib.Path) -> Trace:
    fields = npz.read(path, FILE_KIND)
    num_workers = fields.pop("num_workers", None)
    expected = {"read_version", "read_end", "worker", "sample"}
    optional = {"time", "arrival", "block_version", "backward_version", "blocks", "step", "weight", "computed"}
    optional.update(COSTS)
    if num_workers is None or not expected <= fields.keys() <= expected | optional:
        raise InputError(
            f"{path}: fields {sorted(fields)}, expected {sorted(expected)}, num_workers, perhaps {sorted(optional)}"
        )
    if num_workers.shape != () or num_workers.dtype.kind not in "iu":
        raise InputError(f"{path}: num_workers is {num_workers!r}, expected one integer")
    kind = fields.pop("blocks", None)
    if kind is not None and (kind.shape != () or kind.dtype.kind != "U"):
        raise InputError(f"{path}: blocks is {kind!r}, expected one text")
    costs = {name: fields.pop(name) for name in COSTS if name in fields}
    for name, cost in costs.items():
        if cost.shape != () or cost.dtype.kind not in "iuf":
            raise InputError(f"{path}: {name} is {cost!r}, expected one number")
    scalars: dict[str, Any] = {name: cost.item() for name, cost in costs.items()}
    if kind is not None:
        scalars["blocks"] = kind.item()
    try:
        return Trace(**fields, **scalars, num_workers=int(num_workers))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _load_csv(path: pathlib.Path, column: str | int | None) -> Trace:
    rows = numbered_rows(path)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path}: empty, expected one delay in each row")
    header = None if _is_numeric(first[1]) else first[1]
    chosen = _column_number(path, header, len(first[1]), column)
    delays: list[int] = []
    for number, cells in rows if header else itertools.chain([first], rows):
        if len(cells) != len(first[1]):
            raise InputError(f"{path}, row {number}: {len(cells)} columns, expected {len(first[1])}")
        picked = cells if chosen is None else [cells[chosen]]
        delays.append(max(_delay(path, number, cell, len(delays)) for cell in picked))
    if not delays:
        raise InputError(f"{path}: a header and no rows, expected one delay in each row")
    return Trace.from_delays(delays)


def _is_numeric(cells: list[str]) -> bool:
    """Whether a first row holds numbers; a row with any number in it is data, if perhaps bad data."""
    for cell in cells:
        try:
            parsed(cell, float)
        except ValueError:
            continue
        return True
    return False


def _column_number(
    path: pathlib.Path, header: list[str] | None, num_columns: int, column: str | int | None
) -> int | None:
    if column is None:
        names = [name.lower() for name in header or []]
        if _DELAY in names:
            return names.index(_DELAY)
        other = sorted(_OTHER_COLUMNS & set(names))
        if other:
            raise InputError(f"{path}: column {other[0]!r} holds no delays, expected column=... with one of {header}")
        return None
    if header is not None and str(column) in header:
        return header.index(str(column))
    if str(column).isdecimal() and int(column) < num_columns:
        return int(column)
    names = f"{header} or " if header else ""
    raise InputError(f"{path}: no column {column!r}, expected {names}a number from 0 to {num_columns - 1}")


def _delay(path: pathlib.Path, row: int, cell: str, update: int) -> int:
    try:
        value = parsed(cell, float)
    except ValueError:
        raise InputError(f"{path}, row {row}: {cell!r} is not a number") from None
    if not value.is_integer() or not 0 <= value <= update:
        raise InputError(
            f"{path}, row {row}: delay {cell} of update {update}, expected a whole number from 0 to {update}"
        )
    return int(value)
