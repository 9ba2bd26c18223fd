"""Figures of a comparison of methods."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from asyncopt.analysis.advantages import workers
from asyncopt.analysis.comparison import CLOCKS, QUANTITIES, RANDOM, Comparison
from asyncopt.analysis.comparison_draws import NUM_SPLITS
from asyncopt.analysis.comparison_grid import faults
from asyncopt.analysis.curves import linear_speedup
from asyncopt.drawing import style

# Equal points would hide each other. The first method is drawn at p divided by this, the last one at p times this.
_APART = 1.08
# A run that ended above this many times its start is drawn as a cross. Rows of crosses are a factor _ROW apart.
_LARGEST, _ROW = 2.0, 1.12
_REACH_CAPTION = (
    "When the mean over runs first reaches the target, on the simulated clock (top) and in gradients (bottom). A "
    "point is missing where a method does not reach it. Step sizes are tuned on one half of the runs and judged on "
    "the other. Points are empty where the best step size is an end of its grid: there the method may be better."
)
_STEP_SIZES_CAPTION = (
    "Where training ends, for every step size; of synchronous rounds that take m of p gradients, for the best m. "
    "Crosses are runs that diverged."
)


def all_figures(comparison: Comparison) -> dict[str, tuple[Figure, str]]:
    """Returns the figures with their captions, by file name."""
    figures = {}
    for quantity in comparison.quantities:
        figures[f"to_{quantity}"] = (reach(comparison, quantity), _REACH_CAPTION)
        figures[f"step_sizes_{quantity}"] = (step_sizes(comparison, quantity), _STEP_SIZES_CAPTION)
    return figures


@style.drawing
def reach(comparison: Comparison, quantity: str) -> Figure:
    """Returns time and gradients to the target against the number of workers, with a column for each clock."""
    target = f"{QUANTITIES[quantity]} ≤ {comparison.target(quantity):.3g}"
    figure, grid = _subplots(comparison, target, len(comparison.clocks), rows=len(CLOCKS), height=7.2, sharey="row")
    shifts = style.apart(len(comparison.methods), _APART)
    for row, (axis, unit) in enumerate(CLOCKS.items()):
        for axes, clock in zip(grid[row], comparison.clocks, strict=True):
            for shift, (method, look) in zip(shifts, _looks(comparison).items(), strict=True):
                reached = [comparison.reach(method, clock, p, quantity, axis) for p in comparison.num_workers]
                estimates = np.array([replicates.estimate() for replicates in reached])
                known, x = np.isfinite(estimates[:, 0]), shift * np.array(comparison.num_workers)
                if known.any():
                    style.bars(axes, x[known], estimates[known], **look)
                at_edge = known & [
                    bool(faults(comparison, [method], clock, p, quantity)) for p in comparison.num_workers
                ]
                empty = {"markerfacecolor": "white", "color": look["color"], "markersize": 5, "zorder": 4}
                axes.plot(x[at_edge], estimates[at_edge, 0], look["fmt"][0], **empty)
            ideal = linear_speedup(comparison, clock, quantity, axis)
            if ideal is not None:
                label = "linear speed-up of APAM" if axis == "time" else None
                axes.plot(comparison.num_workers, ideal, ":", color=style.REFERENCE_COLOUR, label=label)
            axes.set_yscale("log")
            style.workers_axis(axes, comparison.num_workers, "workers $p$" if axes in grid[-1] else "")
            axes.set_title(clock if axes in grid[0] else "", fontsize="medium")
        grid[row, 0].set_ylabel(f"{unit} to the target")
    style.legend_below(figure, _legend_columns(grid.shape[1]), grid.flat, fontsize="small")
    return figure


@style.drawing
def step_sizes(comparison: Comparison, quantity: str) -> Figure:
    """Returns where training ends against the step size, with few, some and many workers, on one clock."""
    every = comparison.num_workers
    clock = RANDOM if RANDOM in comparison.clocks else comparison.clocks[0]
    chosen = sorted({every[0], every[len(every) // 2], every[-1]})
    figure, grid = _subplots(comparison, clock, len(chosen), rows=1, height=4.4, sharey=True)
    highest = _LARGEST * max(trial.values[quantity][:, 0].mean() for trial in comparison.trials)
    for axes, p in zip(grid[0], chosen, strict=True):
        for row, (method, look) in enumerate(_looks(comparison).items()):
            best = comparison.tuned(method, clock, p, quantity)
            tried = [trial for trial in comparison.tried(method, clock, p) if best and trial.taken == best.taken]
            rates = np.array([trial.learning_rate for trial in tried])
            ends = np.array([comparison.ends(trial, quantity) for trial in tried]).reshape(-1, 3)
            shown = ends[:, 0] < highest
            style.bars(axes, rates[shown], ends[shown], **look)
            # Each method has its own row of crosses.
            above = np.full((~shown).sum(), highest * _ROW**row)
            axes.plot(rates[~shown], above, "x", color=look["color"], markersize=5)
        axes.axhline(comparison.target(quantity), color=style.REFERENCE_COLOUR, linestyle=":", label="target")
        style.log_axes(axes, r"step size $\alpha$", f"{QUANTITIES[quantity]} at the end" if axes is grid[0, 0] else "")
        axes.set_title(workers(p), fontsize="medium")
    style.legend_below(figure, _legend_columns(grid.shape[1]), grid.flat, fontsize="small")
    return figure


def _legend_columns(panels: int) -> int:
    """Returns how many of the longest labels fit below so many panels side by side."""
    return max(panels + 1, 2) if panels < 3 else 4


def _looks(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Returns the look of each method's points."""
    return {
        method: {
            "fmt": style.marker(i) + style.line(i),
            "color": style.colour(method.partition(" (")[0]),
            "label": method,
        }
        for i, method in enumerate(comparison.methods)
    }


def _subplots(
    comparison: Comparison, subject: str, columns: int, rows: int, height: float, sharey: bool | str
) -> tuple[Figure, Any]:
    runs = max(len(trial.seeds) for trial in comparison.trials)
    tuning = f"up to {runs} runs with 95 % intervals, step sizes tuned on half of them in each of {NUM_SPLITS} splits"
    title = f"{comparison.name}; {subject}\n{comparison.num_updates:,} gradients a run; {tuning}"
    size = (1.2 + 3.4 * columns, height)
    return style.subplots(size, title, rows, columns, sharex=True, sharey=sharey, squeeze=False)
