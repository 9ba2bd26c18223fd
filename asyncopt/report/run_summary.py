"""The training curve of a run and the short table that is printed at its end."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.files.records import Record
from asyncopt.report import style

_ROWS = {
    "gap": "gap F - F* at the end", "average_gap": "gap F - F* of the average",
    "train_accuracy": "accuracy on the training rows", "test_accuracy": "accuracy on held-out rows",
    "objective": "F at the end", "average_objective": "F of the average",
}  # fmt: skip
_INCIDENTS = {"workers replaced": "workers_replaced", "gradients refused": "gradients_refused"}
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
    seeds = style.seeds(record.metrics["seed"].nunique(), "bands from smallest to largest") + (
        f", {diverged} diverged" if diverged else ""
    )
    delays = f"delay {trace['mean_delay']:.3g} on average, {trace['max_delay']:,} at most"
    axes.set_title(f"{labels['problem']}: {delays}\n{seeds}", fontsize="medium")
    return figure


def table(record: Record) -> str:
    """Returns the short table printed at the end of a run: means over seeds, and their range."""
    trace, timing = record.summary["trace"], record.summary["timing"]
    last = record.metrics[record.metrics["step"] == trace["num_updates"]]
    title = f"{trace['num_updates']:,} updates, {style.seeds(len(last))}"
    lines = [f"{title:34}{'mean':>12}{'smallest':>12}{'largest':>12}"]
    for column, name in _ROWS.items():
        if column in last and not ("gap" in last and column.endswith("objective")):
            values = last[column]
            lines.append(f"{name:34}{values.mean():12.5g}{values.min():12.5g}{values.max():12.5g}")
    lines.append(f"{'delay, in updates':34}{trace['mean_delay']:12.5g}{'':12}{trace['max_delay']:12d}")
    lines.append(f"{'updates a second, all seeds':34}{timing['updates_per_second']:12,.0f}")
    if "evaluation_seconds" in timing:
        share = 100 * timing["evaluation_seconds"] / timing["seconds"]
        lines.append(f"{'evaluations, % of the time':34}{share:12.1f}")
    real = record.summary.get("runtime")
    if real is not None:
        lines.append(f"{'updates a second on the real clock':34}{real['updates_per_second']:12,.1f}")
        lines += [f"{name:34}{real[key]:12d}" for name, key in _INCIDENTS.items() if real[key]]
    lines += [_certificate(name, seeds) for name, seeds in record.summary.get("certificates", {}).items()]
    diverged = {seed: k for seed, k in record.summary["diverged_at"].items() if k >= 0}
    if diverged:
        lines.append("diverged: " + ", ".join(f"seed {seed} at update {k:,}" for seed, k in diverged.items()))
    return "\n".join(lines)


def _certificate(name: str, broken_at: Mapping[str, int | None]) -> str:
    """Returns whether a certificate held after every update, or where it was first broken."""
    broken = {seed: update for seed, update in broken_at.items() if update is not None and update >= 0}
    if broken:
        places = ", ".join(f"seed {seed} first at update {update:,}" for seed, update in broken.items())
        return f"certificate broken ({name}): {places}"
    held = sum(update == -1 for update in broken_at.values())
    return f"{f'certificate ({name}) holds for':34}{f'{held} of {len(broken_at)} seeds':>12}"


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
