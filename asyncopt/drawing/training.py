"""The training curve of a run."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.drawing import style, words

# Values above this many times the start are not drawn.
_DIVERGING = 1e6


@style.drawing
def curve(metrics: pd.DataFrame, title: str, method: str = "", num_diverged: int = 0) -> Figure:
    """Returns the gap (or F, where F* is unknown) against updates, for the iterate and for the average.

    Lines are medians over seeds, bands reach from the smallest to the largest. The dotted line has slope k^-1/2.

    Args:
      metrics: one row for each seed and evaluation, with seed, step, gap or objective, and perhaps their averages.
      title: what was run, for the first line of the title.
      method: the name of the optimizer, which has a colour; empty: not known.
      num_diverged: how many of the seeds diverged, for the title.
    """
    known = "gap" in metrics
    quantity = "gap" if known else "objective"
    figure, axes = style.subplots((7, 4.4))
    iterate = _band(axes, metrics, quantity, method, "-", "iterate $x_k$")
    average = pd.Series(dtype=float)
    if f"average_{quantity}" in metrics:
        average = _band(axes, metrics, f"average_{quantity}", method, "--", "average $\\bar x_k$")
    if known and len(average) > 1:
        steps = average.index.to_numpy(float)
        through = (steps[0], average.iloc[0])
        style.power_law(axes, steps, -0.5, through, label="slope of the bounds, $k^{-1/2}$")
    if len(iterate) or len(average):
        axes.set(xscale="log", yscale="log")
    else:
        axes.text(0.5, 0.5, "diverged before the first evaluation", ha="center", transform=axes.transAxes)
    axes.set(xlabel="updates $k$", ylabel="gap $F(x) - F^*$" if known else "objective $F(x)$")
    axes.set_axisbelow("line")
    axes.legend()
    seeds = words.seeds(metrics["seed"].nunique(), "bands from smallest to largest")
    seeds += f", {num_diverged} diverged" if num_diverged else ""
    axes.set_title(f"{title}\n{seeds}", fontsize="medium")
    return figure


def _band(axes: Axes, metrics: pd.DataFrame, column: str, method: str, line: str, what: str) -> pd.Series:
    """Draws the median over seeds and a band from the smallest to the largest, and returns the median."""
    start = metrics.loc[metrics["step"] == 0, column.removeprefix("average_")].median()
    metrics = metrics[metrics["step"] > 0]
    # A logarithmic axis cannot show a gap lost in rounding. A diverging run would flatten all others.
    limit = _DIVERGING * abs(start)
    by_step = metrics[column].where(metrics[column] > 0).clip(upper=limit).groupby(metrics["step"])
    median = by_step.median()
    median = median[median < limit]
    estimates = np.stack([median, by_step.min().loc[median.index], by_step.max().loc[median.index]], axis=-1)
    label = f"{method}, {what}" if method else what
    look = {"color": style.colour(method), "linestyle": line, "label": label, "marker": style.dots(len(median))}
    style.band(axes, median.index, estimates, alpha=0.15, **look)
    return median
