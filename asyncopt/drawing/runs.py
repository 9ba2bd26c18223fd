"""Curves of many runs, from one table."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from asyncopt.checks import InputError, check_distinct
from asyncopt.drawing import style, words
from asyncopt.files.common_axis import common_points, last_by


class Result(Protocol):
    """What `asyncopt.replay` returns; figures need its table alone."""

    def to_frame(self) -> pd.DataFrame:
        """Returns a row for each seed and evaluation."""
        ...


MOST_CURVES = 24  # more cannot be told apart
# The x axes, in words.
AXES = {
    "step": "updates $k$",
    "time": "seconds on the trace's clock",
    "computed": "gradients taken up by the server, used or not",
}


@style.drawing
def plot_runs(
    frame: pd.DataFrame | Mapping[str, Result],
    by: str | Sequence[str] | None = None,
    quantity: str | None = None,
    axis: str = "step",
) -> Figure:
    """Draws a curve for each value of a setting: medians over runs and seeds, with bands from smallest to largest.

    Args:
      frame: the table of `asyncopt.load_runs` or `asyncopt.sweep`; or results of `asyncopt.replay` by name.
      by: the column, or columns, whose values are told apart: "optimizer.learning_rate", say. Results by name need
        none: there is a curve for each name.
      quantity: the column to draw. Default: "gap", or "objective" where F* is unknown.
      axis: what it is drawn against: "step", updates; "time", the seconds of the trace's clock; or "computed", all
        gradients that a server took up. Of the last two, curves end where the first of their runs ends, and a run
        counts with its last measurement.

    Returns:
      A matplotlib figure. Both axes are logarithmic where the quantity is positive, unless it is an accuracy. What is
      not finite, of runs that diverged, is left out; the legend says how many runs that were.

    Raises:
      InputError: if there is no such column, no row, or more curves than can be told apart.
    """
    if isinstance(frame, Mapping):
        return plot_runs(_one_table(frame), by or "run", quantity, axis)
    columns: list[Any] = list(by or []) if by is None or isinstance(by, list | tuple) else [by]
    quantity = _checked(frame, columns, quantity)
    if axis not in AXES or axis not in frame:
        raise InputError(f"axis is {axis!r}, expected one of {[name for name in AXES if name in frame]}")
    if frame[axis].isna().any():
        raise InputError(f"some runs have no {axis}, expected a table of runs that have: choose rows of it")
    if not columns:
        raise InputError(f"by is {by!r}, expected a column at least")
    check_distinct("by", columns)
    groups = [*iter(frame.groupby(columns, dropna=False))]  # in pandas 2.2, its len() fails where a value is missing
    if len(groups) > MOST_CURVES:
        raise InputError(
            f"by={by!r} has {len(groups)} values, expected at most {MOST_CURVES}: choose rows of the table"
        )
    figure, axes = style.subplots((7.5, 4.6))
    finite = _finite_later(frame, quantity)
    labels = _labels([values for values, _ in groups])
    for index, ((_, rows), label) in enumerate(zip(groups, labels, strict=True)):
        shown = _finite_later(rows, quantity)
        drawn = (shown if axis == "step" else _at_one_x(shown, axis, quantity)).groupby(axis)[quantity]
        estimates = np.stack([drawn.median(), drawn.min(), drawn.max()], axis=-1)
        look = {"color": style.shades(len(groups))[index], "linestyle": style.line(index)}
        look |= {"marker": style.dots(len(estimates)), "label": label + _lost(rows, quantity)}
        style.band(axes, drawn.median().index, estimates, **look)
    if finite.empty:
        axes.text(0.5, 0.5, "no finite value after the start", ha="center", transform=axes.transAxes)
    elif (finite[quantity] > 0).all() and not quantity.endswith("accuracy"):
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel=AXES[axis], ylabel=_name(quantity))
    names = ", ".join(map(_name, columns))
    axes.legend(title=names, fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.set_title(words.seeds(frame["seed"].nunique(), "bands from smallest to largest"), fontsize="medium")
    return figure


@style.drawing
def plot_heatmap(frame: pd.DataFrame, x: str, y: str, quantity: str | None = None) -> Figure:
    """Draws what a quantity is at the end of the runs, for each pair of two settings: the median over runs and seeds.

    Args:
      frame: the table of `asyncopt.load_runs` or `asyncopt.sweep`.
      x: the column whose values are along the x axis: "optimizer.learning_rate", say.
      y: the column whose values are along the y axis.
      quantity: the column that colours show. Default: "gap", or "objective" where F* is unknown.

    Returns:
      A matplotlib figure. The number is in each cell. Colours are logarithmic where the quantity is positive, unless it
      is an accuracy. A cell says how many of its runs diverged, and is empty if there is no run.

    Raises:
      InputError: if there is no such column, no row, or runs differ in length.
    """
    quantity = _checked(frame, [x, y], quantity)
    if len({x, y, quantity}) < 3:
        raise InputError(f"x is {x!r}, y {y!r} and quantity {quantity!r}, expected three columns")
    ticks = {}
    for column in (x, y):
        places, ticks[column] = _places(frame[column])
        frame = frame.assign(**{column: places})
    lengths = sorted(_last_steps(frame).unique().tolist())
    if len(lengths) > 1:
        raise InputError(f"the runs have {lengths} updates, expected one number: choose rows of the table")
    ends = frame[frame["step"] == lengths[0]]
    median = ends.pivot_table(quantity, y, x, "median", dropna=False, observed=True)
    finite = ends[np.isfinite(ends[quantity])]
    number = ends.groupby([y, x]).size()
    lost = number.sub(finite.groupby([y, x]).size(), fill_value=0)
    number, lost = (counts.unstack().reindex_like(median) for counts in (number, lost))
    shown = median.where(np.isfinite(median))
    positive = bool((finite[quantity] > 0).all()) and not quantity.endswith("accuracy") and not finite.empty
    figure, axes = style.subplots((1.9 + 1.0 * len(shown.columns), 1.5 + 0.55 * len(shown)))
    norm = LogNorm() if positive else None
    drawn = axes.pcolormesh(np.ma.masked_invalid(shown.to_numpy(float)), cmap=style.SHADES, norm=norm)
    for row, column in np.ndindex(median.shape):
        value, missing = median.iloc[row, column], lost.iloc[row, column]
        text = [_short(value)] if np.isfinite(value) else []
        text += [f"{missing:.0f} of {number.iloc[row, column]:.0f} diverged"] if missing > 0 else []
        light = np.isfinite(value) and drawn.norm(value) < style.DARK_BELOW
        axes.text(
            column + 0.5, row + 0.5, "\n".join(text), ha="center", va="center", color="white" if light else "black"
        )
    axes.set_xticks(np.arange(len(shown.columns)) + 0.5, ticks[x])
    axes.set_yticks(np.arange(len(shown)) + 0.5, ticks[y])
    axes.grid(visible=False)
    axes.set(xlabel=_name(x), ylabel=_name(y))
    figure.colorbar(drawn, label=_name(quantity))
    seeds = words.seeds(frame["seed"].nunique(), "medians")
    axes.set_title(f"after {lengths[0]:,} updates, {seeds}", fontsize="medium")
    return figure


def _short(value: float) -> str:
    """Returns two digits of a number, or three where two would need an exponent."""
    return f"{value:.3g}" if 100 <= abs(value) < 1000 else f"{value:.2g}"


def _one_table(results: Mapping[str, Result]) -> pd.DataFrame:
    """Returns the tables of results in one, whose column "run" has their names."""
    if not results:
        raise InputError("there are no results, expected one at least")
    for name, result in results.items():
        if not hasattr(result, "to_frame"):
            raise InputError(f"the result {name!r} is {result!r}, expected what asyncopt.replay returns")
    return pd.concat([result.to_frame().assign(run=name) for name, result in results.items()], ignore_index=True)


def _checked(frame: pd.DataFrame, columns: Sequence[str], quantity: str | None) -> str:
    """Returns the quantity that is drawn, of a table that has it, these columns and a row."""
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame is {frame!r}, expected a table: asyncopt.load_runs(...), or to_frame() of a result")
    quantity = quantity or ("gap" if "gap" in frame else "objective")
    for column in [*columns, quantity, "step", "seed"]:
        if not isinstance(column, str) or column not in frame:
            raise InputError(f"the table has no column {column!r}, expected one of {sorted(map(str, frame.columns))}")
    for column in (*columns, quantity, "run", "seed", *AXES):
        if (number := list(frame.columns).count(column)) > 1:
            raise InputError(f"the table has {number} columns {column!r}, expected one")
    for column in columns:
        _check_values(frame[column])
    if not pd.api.types.is_numeric_dtype(frame[quantity]):
        raise InputError(f"the column {quantity!r} has the dtype {frame[quantity].dtype}, expected numbers")
    if frame.empty:
        raise InputError("the table has no rows, expected a run at least")
    return quantity


def _check_values(column: pd.Series) -> None:
    """Refuses a column of lists, dicts or arrays: no runs can be put together by them."""
    for value in column:
        try:
            hash(value)
        except TypeError:
            wanted = "expected numbers or texts"
            raise InputError(f"the column {column.name!r} has the value {value!r}, {wanted}") from None


def _name(column: str) -> str:
    return style.text(words.label(column))


def _labels(keys: Sequence[tuple[Any, ...]]) -> list[str]:
    """Returns the label of each combination of values."""
    return [*map(style.text, words.combinations(keys))]


def _places(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Returns the place of each value on an axis, from 0 in the order of the values, and the label of each place."""
    places, values = pd.factorize(column, sort=True)
    missing = places < 0  # of runs that do not have the setting: the last place
    labels = words.values([*values, *([None] if missing.any() else [])])
    return np.where(missing, len(values), places), [*map(style.text, labels)]


def _finite_later(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Returns the rows after the start where the quantity is finite."""
    return rows[(rows["step"] > 0) & np.isfinite(rows[quantity])]


def _at_one_x(rows: pd.DataFrame, axis: str, quantity: str) -> pd.DataFrame:
    """Returns the last measurement of each run by each of some values of x, the same for all runs."""
    runs = [run.sort_values(axis) for _, run in rows.groupby(_keys(rows))]
    if not runs:
        return rows
    points = common_points([run[axis].to_numpy() for run in runs])
    parts = [run[quantity].to_numpy()[last_by(run[axis].to_numpy(), points)] for run in runs]
    return pd.DataFrame({axis: np.tile(points, len(runs)), quantity: np.concatenate(parts)})


def _lost(rows: pd.DataFrame, quantity: str) -> str:
    """Returns how many runs are not finite at their last evaluation, for the legend; nothing if all are."""
    ends = rows[rows["step"] == _last_steps(rows)][quantity]
    lost = int(np.sum(~np.isfinite(ends)))
    return f" ({lost} of {len(ends)} diverged)" if lost else ""


def _last_steps(rows: pd.DataFrame) -> pd.Series:
    """Returns the last step of its run for each row."""
    return rows.groupby(_keys(rows))["step"].transform("max")


def _keys(rows: pd.DataFrame) -> list[str]:
    """Returns the columns that tell runs apart."""
    return [key for key in ("run", "seed") if key in rows]
