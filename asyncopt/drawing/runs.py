"""Curves of many runs, from one table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from asyncopt.checks import InputError
from asyncopt.drawing import style, words

_MOST_CURVES = 24  # more cannot be told apart


@style.drawing
def plot_runs(frame: pd.DataFrame, by: str | Sequence[str], quantity: str = "gap") -> Figure:
    """Draws a curve for each value of a setting: medians over runs and seeds, with bands from smallest to largest.

    Args:
      frame: the table of `asyncopt.load_runs` or `asyncopt.sweep`.
      by: the column, or columns, whose values are told apart: "optimizer.learning_rate", say.
      quantity: the column to draw against updates; infinities, of runs that diverged, are left out.

    Returns:
      A matplotlib figure. Both axes are logarithmic where the quantity is positive, unless it is an accuracy.

    Raises:
      InputError: if there is no such column, no row, or more curves than can be told apart.
    """
    columns = [by] if isinstance(by, str) else list(by)
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
    is_accuracy, positive = quantity.endswith("accuracy"), True
    for index, (values, rows) in enumerate(groups):
        drawn = rows[(rows["step"] > 0) & np.isfinite(rows[quantity])].groupby("step")[quantity]
        estimates = np.stack([drawn.median(), drawn.min(), drawn.max()], axis=-1)
        positive &= bool((estimates > 0).all())
        label = ", ".join(f"{value:g}" if isinstance(value, int | float) else str(value) for value in values)
        look = {"color": style.shades(len(groups))[index], "linestyle": style.line(index), "label": label}
        style.band(axes, drawn.median().index, estimates, marker=style.dots(len(estimates)), **look)
    if positive and not is_accuracy:
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="updates $k$", ylabel=words.label(quantity))
    names = ", ".join(map(words.label, columns))
    axes.legend(title=names, fontsize="small", loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.set_title(words.seeds(frame["seed"].nunique(), "bands from smallest to largest"), fontsize="medium")
    return figure
