"""Curves of many runs, from one table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from asyncopt.checks import InputError
from asyncopt.drawing import style, words

_MOST_CURVES = 24  # more cannot be told apart


@style.drawing
def plot_runs(frame: pd.DataFrame, by: str | Sequence[str], quantity: str | None = None) -> Figure:
    """Draws a curve for each value of a setting: medians over runs and seeds, with bands from smallest to largest.

    Args:
      frame: the table of `asyncopt.load_runs` or `asyncopt.sweep`.
      by: the column, or columns, whose values are told apart: "optimizer.learning_rate", say.
      quantity: the column to draw against updates. Default: "gap", or "objective" where F* is unknown.

    Returns:
      A matplotlib figure. Both axes are logarithmic where the quantity is positive, unless it is an accuracy. What is
      not finite, of runs that diverged, is left out; the legend says how many runs that were.

    Raises:
      InputError: if there is no such column, no row, or more curves than can be told apart.
    """
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"frame is {frame!r}, expected a table: asyncopt.load_runs(...), or to_frame() of a result")
    quantity = quantity or ("gap" if "gap" in frame else "objective")
    columns = [by] if isinstance(by, str) else list(by or [])
    for column in [*columns, quantity, "step", "seed"]:
        if column not in frame:
            raise InputError(f"the table has no column {column!r}, expected one of {sorted(map(str, frame.columns))}")
    if not columns or frame.empty:
        raise InputError(f"the table has {len(frame)} rows and by is {by!r}, expected a row and a column at least")
    groups = list(frame.groupby(columns, dropna=False))
    if len(groups) > _MOST_CURVES:
        raise InputError(
            f"by={by!r} has {len(groups)} values, expected at most {_MOST_CURVES}: choose rows of the table"
        )
    figure, axes = style.subplots((7.5, 4.6))
    finite = frame[(frame["step"] > 0) & np.isfinite(frame[quantity])]
    for index, (values, rows) in enumerate(groups):
        drawn = rows.loc[rows.index.isin(finite.index)].groupby("step")[quantity]
        estimates = np.stack([drawn.median(), drawn.min(), drawn.max()], axis=-1)
        look = {"color": style.shades(len(groups))[index], "linestyle": style.line(index)}
        look |= {"marker": style.dots(len(estimates)), "label": _in_words(values) + _lost(rows, quantity)}
        style.band(axes, drawn.median().index, estimates, **look)
    if finite.empty:
        axes.text(0.5, 0.5, "diverged before the first evaluation", ha="center", transform=axes.transAxes)
    elif (finite[quantity] > 0).all() and not quantity.endswith("accuracy"):
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="updates $k$", ylabel=words.label(quantity))
    names = ", ".join(map(words.label, columns))
    axes.legend(title=names, fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.set_title(words.seeds(frame["seed"].nunique(), "bands from smallest to largest"), fontsize="medium")
    return figure


def _in_words(values: Sequence[Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, int | float) else str(value) for value in values)


def _lost(rows: pd.DataFrame, quantity: str) -> str:
    """Returns how many runs are not finite at their last evaluation, for the legend; nothing if all are."""
    ends = rows[rows["step"] == rows["step"].max()][quantity]
    lost = int(np.sum(~np.isfinite(ends)))
    return f" ({lost} of {len(ends)} diverged)" if lost else ""
