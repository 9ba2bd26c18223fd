"""Figures, made from records on disk alone."""

import pathlib

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.files import atomic, records
from asyncopt.run import names
from asyncopt.traces import Trace

# One colour a method, in every figure: Okabe and Ito's palette, which the colour-blind can tell apart.
COLOURS = {"APAM": "#0072B2", "SGD": "#D55E00", "SGD with momentum": "#E69F00", "synchronous AMSGrad": "#56B4E9"}
OTHER_COLOUR = "#009E73"
RECORDED_COLOUR, MODEL_COLOUR = "#BBBBBB", "#000000"
REFERENCE_COLOUR = "#555555"
# A run is drawn as far as this many times its start.
_DIVERGING = 1e6
_MOST_BARS = 60


def curve(record: records.Record) -> Figure:
    """Returns the gap (or F, where F* is unknown) against updates, for the iterate and for the average.

    Lines are medians over seeds, bands run from the smallest to the largest seed. The dotted line has the
    theorems' slope, k^-1/2.
    """
    name = names.method_in_full(record.config)
    colour = COLOURS.get(name, OTHER_COLOUR)
    known = "gap" in record.metrics
    quantity = "gap" if known else "objective"
    start = record.metrics.loc[record.metrics["step"] == 0, quantity].median()
    seen = record.metrics[record.metrics["step"] > 0]

    figure = Figure(figsize=(7, 4.4), layout="constrained", dpi=150)
    axes = figure.add_subplot()
    drawn = _band(axes, seen, quantity, start, colour, "-", f"{name}, iterate $x_k$")
    median = _band(axes, seen, f"average_{quantity}", start, colour, "--", f"{name}, average $\\bar x_k$")
    if known:
        _reference(axes, median)
    if len(drawn) or len(median):
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.text(0.5, 0.5, "diverged before the first evaluation", ha="center", transform=axes.transAxes)
    axes.set_xlabel("updates $k$")
    axes.set_ylabel("gap $F(x) - F^*$" if known else "objective $F(x)$")
    axes.grid(which="major", color="#dddddd", linewidth=0.6)
    axes.legend(frameon=False)
    diverged = sum(k >= 0 for k in record.summary["diverged_at"].values())
    trace = record.summary["trace"]
    num_seeds = record.metrics["seed"].nunique()
    seeds = f"{num_seeds} seeds, bands from smallest to largest" if num_seeds > 1 else "1 seed"
    seeds += f", {diverged} diverged" if diverged else ""
    delays = f"delay {trace['mean_delay']:.3g} on average, {trace['max_delay']:,} at most"
    axes.set_title(f"{names.problem_in_full(record.config)}: {delays}\n{seeds}", fontsize="medium")
    return figure


def delays(recorded: Trace, synthetic: Trace, name: str) -> Figure:
    """Returns the histogram of a recorded trace's delays beside that of the cluster model fitted to it.

    Args:
      recorded: the trace.
      synthetic: of the model.
      name: of the recorded one.
    """
    figure = Figure(figsize=(7, 4.4), layout="constrained", dpi=150)
    axes = figure.add_subplot()
    largest = max(recorded.max_delay, synthetic.max_delay)
    width = max(1, -(-(largest + 1) // _MOST_BARS))
    edges = np.arange(0, largest + width + 1, width) - 0.5
    shares = [np.histogram(trace.delay, edges)[0] / trace.num_updates for trace in (recorded, synthetic)]
    centres = (edges[:-1] + edges[1:]) / 2
    label = f"recorded: mean {recorded.mean_delay:.3g}, at most {recorded.max_delay:,}"
    axes.bar(centres, shares[0], width=0.85 * width, color=RECORDED_COLOUR, label=label)
    label = f"cluster model: mean {synthetic.mean_delay:.3g}, at most {synthetic.max_delay:,}"
    axes.step(edges, np.append(shares[1], 0.0), where="post", color=MODEL_COLOUR, linewidth=1.8, label=label)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xlabel("delay, in updates" + (f" (bars of {width})" if width > 1 else ""))
    axes.set_ylabel("share of updates")
    axes.grid(which="major", axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(frameon=False, ncols=2, loc="outside lower center")
    axes.set_title(
        f"{name}: {recorded.num_updates:,} updates; the model has {synthetic.num_workers} workers", fontsize="medium"
    )
    return figure


def save(figure: Figure, path: pathlib.Path) -> None:
    """Writes a figure as PNG, whole or not at all.

    Raises:
      OSError: if the file cannot be written.
    """
    # Without the version of matplotlib in it, the file depends on what is drawn alone.
    atomic.write(path, lambda partial: figure.savefig(partial, metadata={"Software": None}))


def _band(axes: Axes, seen: pd.DataFrame, column: str, start: float, colour: str, style: str, label: str) -> pd.Series:
    # A logarithmic axis has no place for a gap lost in rounding, and a diverging run would flatten all others.
    limit = _DIVERGING * abs(start)
    values = seen[column].where(seen[column] > 0).clip(upper=limit)
    by_step = values.groupby(seen["step"])
    median = by_step.median()
    median = median[median < limit]
    axes.plot(median.index, median, style, color=colour, label=label)
    low, high = by_step.min().loc[median.index], by_step.max().loc[median.index]
    axes.fill_between(median.index, low, high, color=colour, alpha=0.15, linewidth=0)
    return median


def _reference(axes: Axes, median: pd.Series) -> None:
    """Draws k^-1/2 through the first point of a curve: below it, the curve has fallen at least as fast."""
    if len(median) > 1:
        steps = np.asarray(median.index, float)
        values = median.iloc[0] * (steps / steps[0]) ** -0.5
        axes.plot(steps, values, ":", color=REFERENCE_COLOUR, label="slope of the bounds, $k^{-1/2}$")
