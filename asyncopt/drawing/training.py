"""The training curve of a run."""

from collections.abc import Iterable

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
    columns = [name for name in (quantity, f"average_{quantity}") if name in metrics]
    drawn = {name: _by_step(metrics, name) for name in columns}
    logarithmic = _is_logarithmic(drawn.values(), known)
    labels = ("iterate $x_k$", "average $\\bar x_k$")
    for (name, values), line, label in zip(drawn.items(), ("-", "--"), labels, strict=False):
        values = drawn[name] = values[values > 0] if logarithmic else values
        _band(axes, values, method, line, label)
    if logarithmic and "average_gap" in drawn:
        average = drawn["average_gap"].groupby("step").median()
        if len(average) > 1:
            steps, through = average.index.to_numpy(float), (average.index[0], average.iloc[0])
            style.power_law(axes, steps, -0.5, through, label="slope of the bounds, $k^{-1/2}$")
    if not any(map(len, drawn.values())):
        axes.text(0.5, 0.5, "diverged before the first evaluation", ha="center", transform=axes.transAxes)
    elif logarithmic:
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="updates $k$", ylabel="gap $F(x) - F^*$" if known else "objective $F(x)$")
    axes.set_axisbelow("line")
    axes.legend()
    seeds = words.seeds(metrics["seed"].nunique(), "bands from smallest to largest")
    seeds += f", {num_diverged} diverged" if num_diverged else ""
    axes.set_title(style.text(f"{title}\n{seeds}"), fontsize="medium")
    return figure


def _by_step(metrics: pd.DataFrame, column: str) -> pd.Series:
    """Returns the values after the start, by step and seed. A run that diverges would flatten all others: it is cut."""
    start = abs(metrics.loc[metrics["step"] == 0, column.removeprefix("average_")].median())
    limit = _DIVERGING * start if start > 0 else np.inf
    later = metrics[metrics["step"] > 0].set_index("step")[column]
    later = later[np.isfinite(later)].clip(-limit, limit)
    median = later.groupby("step").median().abs()
    return later[later.index.isin(median.index[median < limit])]


def _is_logarithmic(drawn: Iterable[pd.Series], known: bool) -> bool:
    """Whether axes are logarithmic: if F is positive, or some gap is. A gap of 0 was lost in rounding."""
    values = pd.concat(list(drawn))
    return bool((values > 0).any() if known else (values > 0).all())


def _band(axes: Axes, values: pd.Series, method: str, line: str, what: str) -> None:
    """Draws the median over seeds and a band from the smallest to the largest."""
    by_step = values.groupby("step")
    estimates = np.stack([by_step.median(), by_step.min(), by_step.max()], axis=-1)
    label = f"{method}, {what}" if method else what
    look = {"color": style.colour(method), "linestyle": line, "label": label, "marker": style.dots(len(estimates))}
    style.band(axes, by_step.median().index, estimates, alpha=0.15, **look)
