"""The training curve of a run."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.files.records import Record
from asyncopt.report import style, words

# Values above this many times the start are not drawn.
_DIVERGING = 1e6


@style.drawing
def curve(record: Record) -> Figure:
    """Returns the gap (or F, where F* is unknown) against updates, for the iterate and for the average.

    Lines are medians over seeds, bands reach from the smallest to the largest. The dotted line has slope k^-1/2.
    """
    labels, trace = record.labels, record.summary["trace"]
    known = "gap" in record.metrics
    quantity = "gap" if known else "objective"
    figure, axes = style.subplots((7, 4.4))
    iterate = _band(axes, record, quantity, "-", "iterate $x_k$")
    average = pd.Series(dtype=float)
    if f"average_{quantity}" in record.metrics:
        average = _band(axes, record, f"average_{quantity}", "--", "average $\\bar x_k$")
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
    diverged = sum(k >= 0 for k in record.summary["diverged_at"].values())
    seeds = words.seeds(record.metrics["seed"].nunique(), "bands from smallest to largest") + (
        f", {diverged} diverged" if diverged else ""
    )
    delays = f"delay {trace['mean_delay']:.3g} on average, {trace['max_delay']:,} at most"
    axes.set_title(f"{labels['problem']}: {delays}\n{seeds}", fontsize="medium")
    return figure


def _band(axes: Axes, record: Record, column: str, line: str, what: str) -> pd.Series:
    """Draws the median over seeds and a band from the smallest to the largest, and returns the median."""
    method, metrics = record.labels["method"], record.metrics[record.metrics["step"] > 0]
    start = record.metrics.loc[record.metrics["step"] == 0, column.removeprefix("average_")].median()
    # A logarithmic axis cannot show a gap lost in rounding. A diverging run would flatten all others.
    limit = _DIVERGING * abs(start)
    by_step = metrics[column].where(metrics[column] > 0).clip(upper=limit).groupby(metrics["step"])
    median = by_step.median()
    median = median[median < limit]
    estimates = np.stack([median, by_step.min().loc[median.index], by_step.max().loc[median.index]], axis=-1)
    look = {"color": style.colour(method), "linestyle": line, "label": f"{method}, {what}"}
    style.band(axes, median.index, estimates, alpha=0.15, **look)
    return median
