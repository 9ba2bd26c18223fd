"""Figures of a comparison of methods. Made from run folders alone."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from asyncopt.analysis.advantages import workers
from asyncopt.analysis.comparison import CLOCKS, QUANTITIES, RANDOM, Comparison
from asyncopt.analysis.curves import linear_speedup
from asyncopt.report import style

# The first and the last method are drawn at p over and times this, or equal ones would hide each other.
_APART = 1.08
# A run that ended far above its start is drawn as a cross from this many times the start on, with rows so far apart.
_LARGEST, _ROW = 2.0, 1.12


def all_figures(comparison: Comparison) -> dict[str, tuple[Figure, str]]:
    """Returns the figures with their captions, by file name."""
    drawings = {"to": reach, "step_sizes": step_sizes}
    return {
        f"{name}_{quantity}": (draw(comparison, quantity), draw.caption)
        for quantity in comparison.quantities
        for name, draw in drawings.items()
    }


@style.drawing(
    "When the mean over seeds first reaches the target, on the simulated clock (top) and in gradients (bottom). A "
    "point is missing where a method does not get there. Each method has the step size that suits it there."
)
def reach(comparison: Comparison, quantity: str) -> Figure:
    """Returns time and gradients to the target against the number of workers, a column a clock, with ideal speed-up."""
    columns, rows = len(comparison.clocks), len(CLOCKS)
    figure = _new(comparison, (1.2 + 3.4 * columns, 7.2), f"{QUANTITIES[quantity]} ≤ {comparison.target(quantity):.3g}")
    grid = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    shifts = style.apart(len(comparison.methods), _APART)
    for row, (axis, unit) in enumerate(CLOCKS.items()):
        for axes, clock in zip(grid[row], comparison.clocks, strict=True):
            for method, shift, look in zip(comparison.methods, shifts, _looks(comparison), strict=True):
                reached = [
                    (p * shift, *comparison.estimate(comparison.reach(method, clock, p, quantity, axis)))
                    for p in comparison.num_workers
                ]
                points = np.array([point for point in reached if np.isfinite(point[1])]).reshape(-1, 4)
                if len(points):
                    style.bars(axes, points[:, 0], points[:, 1:], **look)
            ideal = linear_speedup(comparison, clock, quantity, axis)
            if ideal is not None:
                label = "linear speed-up of APAM" if axis == "time" else None
                axes.plot(comparison.num_workers, ideal, ":", color=style.REFERENCE_COLOUR, label=label)
            axes.set_yscale("log")
            style.workers_axis(axes, comparison.num_workers, "workers $p$" if row == rows - 1 else "")
            if row == 0:
                axes.set_title(clock, fontsize="medium")
        grid[row, 0].set_ylabel(f"{unit} to the target")
    style.legend_below(figure, 5, grid.flat, fontsize="small")
    return figure


@style.drawing("Where training ends, for every step size; crosses are runs that diverged.")
def step_sizes(comparison: Comparison, quantity: str) -> Figure:
    """Returns where training ends against the step size, with few, some and many workers, on one clock."""
    every = comparison.num_workers
    clock = RANDOM if RANDOM in comparison.clocks else comparison.clocks[0]
    chosen = sorted({every[0], every[len(every) // 2], every[-1]})
    figure = _new(comparison, (1.2 + 3.4 * len(chosen), 4.4), clock)
    grid = figure.subplots(1, len(chosen), sharex=True, sharey=True, squeeze=False)
    highest = _LARGEST * max(trial.values[quantity][:, 0].mean() for trial in comparison.trials)
    for axes, p in zip(grid[0], chosen, strict=True):
        for row, (method, look) in enumerate(zip(comparison.methods, _looks(comparison), strict=True)):
            tried = comparison.tried(method, clock, p)
            rates = np.array([trial.learning_rate for trial in tried])
            ends = np.array([comparison.ends(trial, quantity) for trial in tried]).reshape(-1, 3)
            shown = ends[:, 0] < highest
            style.bars(axes, rates[shown], ends[shown], **look)
            # One above the other, each method in a row of its own.
            above = np.full((~shown).sum(), highest * _ROW**row)
            axes.plot(rates[~shown], above, "x", color=look["color"], markersize=5)
        axes.axhline(comparison.target(quantity), color=style.REFERENCE_COLOUR, linestyle=":", label="target")
        style.log_axes(axes, r"step size $\alpha$")
        axes.set_title(workers(p), fontsize="medium")
    grid[0, 0].set_ylabel(f"{QUANTITIES[quantity]} at the end")
    style.legend_below(figure, 5, grid.flat, fontsize="small")
    return figure


def _looks(comparison: Comparison) -> list[dict[str, Any]]:
    """Returns for each method how its points are drawn."""
    return [
        {"fmt": style.marker(i) + style.line(i), "color": style.colour(method), "label": method}
        for i, method in enumerate(comparison.methods)
    ]


def _new(comparison: Comparison, size: tuple[float, float], subject: str) -> Figure:
    half = len(comparison.seeds) // 2
    seeds = f"{half} seeds with 95 % intervals, step sizes tuned on {len(comparison.seeds) - half} others"
    return style.new(size, f"{comparison.name}; {subject}\n{comparison.num_updates:,} gradients a run; {seeds}")
