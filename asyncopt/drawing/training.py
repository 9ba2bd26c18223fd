"""The training curve of a run."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.drawing import style, words

if TYPE_CHECKING:  # which takes long to import, and a run does without
    import pandas as pd

# Values above this many times the start are not drawn.
_DIVERGING = 1e6


class _Points(NamedTuple):
    """Measurements of all seeds."""

    step: np.ndarray  # updates made before each
    value: np.ndarray


@style.drawing
def curve(
    metrics: "Mapping[str, np.ndarray] | pd.DataFrame", title: str, method: str = "", num_diverged: int = 0
) -> Figure:
    """Returns the gap (or F, where F* is unknown) against updates, for the iterate and for the average.

    Lines are medians over seeds, bands reach from the smallest to the largest. The dotted line has slope k^-1/2.

    Args:
      metrics: the columns seed, step, gap or objective, and perhaps their averages, with an entry for each seed and
        evaluation.
      title: what was run, for the first line of the title.
      method: the name of the optimizer, which has a colour; empty: not known.
      num_diverged: how many of the seeds diverged, for the title.
    """
    known = "gap" in metrics
    quantity = "gap" if known else "objective"
    figure, axes = style.subplots((7, 4.4))
    columns = [name for name in (quantity, f"average_{quantity}") if name in metrics]
    arrays = {name: np.asarray(metrics[name]) for name in ("seed", "step", *columns)}
    drawn = {name: _later(arrays, name) for name in columns}
    logarithmic = _is_logarithmic(drawn.values(), known)
    labels = ("iterate $x_k$", "average $\\bar x_k$")
    for (name, points), line, label in zip(drawn.items(), ("-", "--"), labels, strict=False):
        if logarithmic:
            positive = points.value > 0
            points = drawn[name] = _Points(points.step[positive], points.value[positive])
        _band(axes, points, method, line, label)
    if logarithmic and "average_gap" in drawn:
        steps, (median, _, _) = _by_step(drawn["average_gap"])
        if len(steps) > 1:
            through = (steps[0], median[0])
            style.power_law(axes, steps.astype(float), -0.5, through, label="slope of the bounds, $k^{-1/2}$")
    if not any(len(points.step) for points in drawn.values()):
        axes.text(0.5, 0.5, "diverged before the first evaluation", ha="center", transform=axes.transAxes)
    elif logarithmic:
        axes.set(xscale="log", yscale="log")
    axes.set(xlabel="updates $k$", ylabel="gap $F(x) - F^*$" if known else "objective $F(x)$")
    axes.set_axisbelow("line")
    axes.legend()
    seeds = words.seeds(len(np.unique(arrays["seed"])), "bands from smallest to largest")
    seeds += f", {num_diverged} diverged" if num_diverged else ""
    axes.set_title(style.text(f"{title}\n{seeds}"), fontsize="medium")
    return figure


def _later(columns: Mapping[str, np.ndarray], name: str) -> _Points:
    """Returns the values after the start. A run that diverges would flatten all others: it is cut."""
    step, values = columns["step"], columns[name]
    start = abs(np.median(columns[name.removeprefix("average_")][step == 0]))
    limit = _DIVERGING * start if start > 0 else np.inf
    kept = (step > 0) & np.isfinite(values)
    steps, (median, _, _) = _by_step(_Points(step[kept], np.clip(values[kept], -limit, limit)))
    kept &= np.isin(step, steps[np.abs(median) < limit])
    return _Points(step[kept], np.clip(values[kept], -limit, limit))


def _by_step(points: _Points) -> tuple[np.ndarray, np.ndarray]:
    """Returns the steps, and over the seeds of each the median, the smallest and the largest value: three rows."""
    steps = np.unique(points.step)
    values = [points.value[points.step == step] for step in steps]
    return steps, np.array([[np.median(of), of.min(), of.max()] for of in values]).reshape(-1, 3).T


def _is_logarithmic(drawn: Iterable[_Points], known: bool) -> bool:
    """Whether axes are logarithmic: if F is positive, or some gap is. A gap of 0 was lost in rounding."""
    values = np.concatenate([points.value for points in drawn])
    return bool((values > 0).any() if known else (values > 0).all())


def _band(axes: Axes, points: _Points, method: str, line: str, what: str) -> None:
    """Draws the median over seeds and a band from the smallest to the largest."""
    steps, estimates = _by_step(points)
    label = f"{method}, {what}" if method else what
    look = {"color": style.colour(method), "linestyle": line, "label": label, "marker": style.dots(len(steps))}
    style.band(axes, steps, estimates.T, alpha=0.15, **look)
