"""Sorts runs into training curves: one for each combination of the settings that differ."""

import difflib
import functools
import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Real

from asyncopt.analysis import settings
from asyncopt.analysis.curves import Curves
from asyncopt.checks import InputError, check_distinct
from asyncopt.files import records
from asyncopt.files.common_axis import common_points, last_by
from asyncopt.files.records import Record

# What can be compared by name: the sections of the configuration that differ with it.
NAMED = {
    "optimizer": ("optimizer",),
    "handling": ("handling",),
    "trace": ("trace", "policy", "clock"),
    "method": ("optimizer", "handling", "work", "trace", "policy", "runtime"),
}
# Settings that may differ between the runs of a curve. A trace drawn anew counts as another seed; the factor of a step
# size is seen in the step size.
_SEEDS = ("seeds", "trace.seed", "progress", "plot", "step_factor")
# What is drawn unless something else is asked for: the first of these that was measured.
_QUANTITIES = ("test_accuracy", "gap", "test_loss", "objective")

_NOT_MEASURED = ("seed", "step")  # columns that name a row
_FEWEST_STEPS = 3  # of a curve of runs with different ones


def collect(
    runs: Iterable[tuple[str, Record]],
    by: str | Sequence[str],
    quantity: str | None = None,
    also: Sequence[str] = (),
    axis: str = "step",
) -> Curves:
    """Returns the curves of runs that differ in a few settings and in seeds only.

    Args:
      runs: name and record of each run, at least one.
      by: the settings that differ, each a key of the configuration or of `NAMED`.
      quantity: a column of ``metrics.parquet``; default: held-out accuracy, or the gap, held-out loss or
        objective.
      also: settings that follow from those, and so differ as well.
      axis: "step", updates; "time", seconds; or "computed", gradients. Against the last two, runs may have different
        numbers of updates; each counts with its last measurement, until the first of them ends.

    A run without labels, of an earlier version, is left out with a warning that names it. Runs that are not all
    evaluated at the same steps keep those that they share, with a warning. Raises an InputError if no run is left, or
    if the runs differ otherwise, lack a setting or the quantity, or share no seed or too few steps.
    """
    keys = (by,) if isinstance(by, str) else tuple(by)
    _check(keys)
    read: list[_Run] = []
    for name, record in _labelled(runs):
        quantity = quantity or next((each for each in _QUANTITIES if each in record.metrics), _QUANTITIES[-1])
        read.append(_run(name, record, keys, quantity, also, axis))
        _check_alike(read[-1], read[0], keys, axis)
    if not read or quantity is None:
        raise InputError("no run is left for a curve, expected at least one of this version")
    tables = [run.table for run in read]
    shared = _shared_steps(tables) if axis == "step" else _shared_points(tables)
    by_combination: dict[tuple[Any, ...], dict[int, Float[np.ndarray, " E"]]] = {}
    for combination, run in zip(_in_words(keys, [run.values for run in read]), read, strict=True):
        rows = dict(zip(run.table.index, _by(run.table, shared), strict=True))
        known = by_combination.setdefault(combination, {})
        _check_seeds(run.name, known, rows)
        known.update(rows)
    combinations = sorted(by_combination, key=lambda combination: [*map(_place, combination)])
    seeds = sorted(set.intersection(*map(set, by_combination.values())))
    if not seeds:
        raise InputError(f"no seed has been run with every value of {', '.join(keys)}")
    curves = [np.stack([by_combination[combination][seed] for seed in seeds]) for combination in combinations]
    methods = {run.labels["method"] for run in read}
    name = "; ".join([read[0].labels["problem"], *(methods if len(methods) == 1 else [])])
    return Curves(name, keys, quantity, combinations, shared, curves, axis)


class _Run(NamedTuple):
    name: str
    values: list[Any]  # of each key
    common: settings.Flat  # the other settings
    table: pd.DataFrame  # the quantity, a row for each seed and a column for each evaluation, named by the axis
    labels: Mapping[str, Any]


def _run(name: str, record: Record, keys: Sequence[str], quantity: str, also: Sequence[str], axis: str) -> _Run:
    config = records.flat(record.config)
    values = [_value(name, record, config, key, keys) for key in keys]
    measured = sorted(column for column in record.metrics if column not in _NOT_MEASURED)
    if quantity not in measured:
        raise InputError(f"{name}: metrics.parquet has no {quantity}, expected one of {measured}")
    apart = [
        *keys,
        *also,
        *itertools.chain(*(NAMED.get(key, ()) for key in keys)),
        *_linked(record, config, keys),
        *_SEEDS,
    ]
    common = {key: value for key, value in config.items() if not _is_in(key, apart)}
    return _Run(name, values, common, _table(name, record, quantity, axis), record.labels)


def _table(name: str, record: Record, quantity: str, axis: str) -> pd.DataFrame:
    """Returns the quantity, a row for each seed and a column for each evaluation; of several at one x, the last."""
    table = record.metrics.pivot(index="seed", columns="step", values=quantity)
    if axis == "step":
        return table
    if axis not in record.metrics or record.metrics[axis].isna().any():
        raise InputError(f"{name}: it has no {axis}, expected runs on a clock, or the axis step")
    table.columns = record.metrics.groupby("step")[axis].first().reindex(table.columns)
    return table.loc[:, ~table.columns.duplicated(keep="last")]


def _linked(record: Record, config: settings.Flat, keys: Sequence[str]) -> list[str]:
    """Returns ``staleness`` and the settings of the trace that follow from it, if one of them is drawn."""
    names = ["staleness", *(f"trace.{name}" for name in record.summary.get("staleness", {}).get("settings", []))]
    drawn = [key for key in keys if key in names and config.get(key) is not None]
    return names if drawn else []


def _check_seeds(name: str, known: Mapping[int, np.ndarray], rows: Mapping[int, np.ndarray]) -> None:
    """Refuses a seed that has been run with other results, on another trace for example."""
    for seed in known.keys() & rows.keys():
        if not np.array_equal(known[seed], rows[seed], equal_nan=True):
            raise InputError(
                f"{name}: seed {seed} has been run before with other results, expected other seeds for each "
                "trace.seed, or --by trace.seed"
            )


def _check_alike(run: _Run, first: _Run, keys: Sequence[str], axis: str) -> None:
    differing = [*settings.differences(run.common, first.common)]
    if axis == "step" and run.table.columns.max() != first.table.columns.max():
        differing.append("the number of updates")
    if differing:
        wanted = f"expected {', '.join(keys)} and seeds only"
        raise InputError(f"{run.name}: differs from {first.name} in {differing[0]}, {wanted}")


def _check(keys: Sequence[str]) -> None:
    """Refuses no key, a key twice, and two names of which one includes the other."""
    if not keys:
        raise InputError("by is empty, expected a setting at least")
    check_distinct("by", keys)
    for key in keys:
        if "," in key:
            raise InputError(f"by is {key}, expected one key; several are --by {key.replace(',', ' --by ')}")
    for one, other in itertools.permutations([key for key in keys if key in NAMED], 2):
        if set(NAMED[one]) < set(NAMED[other]):
            raise InputError(f"by has {other} and {one}, expected one of them: a {other} includes its {one}")


def _shared_steps(tables: Sequence[pd.DataFrame]) -> Int[np.ndarray, " E"]:
    """Returns the steps at which all runs are evaluated; warns if there are others."""
    shared = functools.reduce(np.intersect1d, [table.columns.to_numpy() for table in tables])
    most = max(len(table.columns) for table in tables)
    if len(shared) < most:
        said = f"the runs are evaluated at different steps, and share {len(shared)} of up to {most}"
        if len(shared) < _FEWEST_STEPS:
            raise InputError(f"{said}, expected {_FEWEST_STEPS}; with eval_every=percent they share all")
        warnings.warn(f"{said}, which are drawn; with eval_every=percent they share all", stacklevel=3)
    return shared


def _shared_points(tables: Sequence[pd.DataFrame]) -> Float[np.ndarray, " E"]:
    """Returns `common_points` of runs, which have to overlap."""
    points, end = (
        common_points([table.columns.to_numpy() for table in tables]),
        min(table.columns[-1] for table in tables),
    )
    if points[0] > end:
        raise InputError(f"one run ends at {end:g} before another begins at {points[0]:g}, expected runs that overlap")
    return points


def _by(table: pd.DataFrame, points: Real[np.ndarray, " E"]) -> Float[np.ndarray, "S E"]:
    """Returns each seed's last measurement by each value of x."""
    return table.to_numpy(float)[:, last_by(table.columns.to_numpy(), points)]


def _labelled(runs: Iterable[tuple[str, Record]]) -> Iterator[tuple[str, Record]]:
    """Yields the runs that have labels, and warns of each of the others."""
    for run, record in runs:
        try:
            _ = record.labels
        except InputError as error:
            warnings.warn(f"left out: {run}: {error}", stacklevel=3)
        else:
            yield run, record


def _value(run: str, record: Record, config: settings.Flat, key: str, keys: Sequence[str]) -> Any:
    """Returns the value of a setting; of a name, the run's label and the settings that it stands for."""
    if key in NAMED:
        parts = {
            name: value for name, value in config.items() if _is_in(name, NAMED[key]) and name not in (*keys, *_SEEDS)
        }
        return record.labels[key], parts
    if key not in config:
        near = difflib.get_close_matches(key, [*config, *NAMED], 1) or [name for name in config if _is_in(name, [key])]
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"{run}: config.yaml has no {key}, expected one of its keys or {', '.join(NAMED)}{hint}")
    return config[key]


def _in_words(keys: Sequence[str], values: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Returns the values of each run, with a word for each optimizer, method, ..., that tells it from the others."""
    columns = []
    for key, column in zip(keys, zip(*values, strict=True), strict=True):
        names = settings.names(column) if key in NAMED else {}
        columns.append([names[settings.key(value[1])] if key in NAMED else value for value in column])
    return list(zip(*columns, strict=True))


def _is_in(key: str, names: Sequence[str]) -> bool:
    """Whether a dotted key is one of these names, or below one."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _place(value: Any) -> tuple[int, Any]:
    """Returns what sorts values of several types: first what is none, then numbers, then texts."""
    return (0, 0) if value is None else (2, value) if isinstance(value, str) else (1, value)
