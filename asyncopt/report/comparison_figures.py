"""Figures of a comparison of methods. Made from run folders alone."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.analysis.advantages import workers
from asyncopt.analysis.comparison import CLOCKS, OURS, QUANTITIES, RANDOM, Comparison
from asyncopt.report.run_figures import COLOURS, OTHER_COLOUR, REFERENCE_COLOUR
from asyncopt.report.study_figures import error_bars, log_axes, mark_limits

_MARKERS, _LINES = "osD^vP", ("-", "--", "-.", ":")
# Methods are drawn at this many times p from each other, or equal ones would hide each other.
_APART = 1.05
# A run that ended far above its start is drawn as a cross from this many times the start on, with rows so far apart.
_LARGEST, _ROW = 2.0, 1.12


def all_figures(comparison: Comparison) -> dict[str, Figure]:
    """Returns the figures by file name."""
    drawn = {}
    for quantity in comparison.quantities:
        drawn[f"to_{quantity}"] = reach(comparison, quantity)
        drawn[f"step_sizes_{quantity}"] = step_sizes(comparison, quantity)
    return drawn


def reach(comparison: Comparison, quantity: str) -> Figure:
    """Returns time and gradients to the target against the number of workers, a column a clock, with ideal speed-up."""
    columns, rows = len(comparison.clocks), len(CLOCKS)
    figure = _new(comparison, (1.2 + 3.4 * columns, 7.2), f"{QUANTITIES[quantity]} ≤ {comparison.target(quantity):.3g}")
    grid = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    for row, (axis, unit) in enumerate(CLOCKS.items()):
        for column, clock in enumerate(comparison.clocks):
            axes = grid[row, column]
            for method, draw in _styles(axes, comparison):
                _one_reach(comparison, (method, clock, quantity, axis), draw)
            _ideal(axes, comparison, clock, quantity, axis)
            log_axes(axes, "workers $p$" if row == rows - 1 else "")
            axes.set_xticks(comparison.num_workers, [f"{p}" for p in comparison.num_workers])
            axes.minorticks_off()
            if row == 0:
                axes.set_title(clock, fontsize="medium")
            if column == 0:
                axes.set_ylabel(f"{unit} to the target")
    _legend(figure, grid)
    return figure


def step_sizes(comparison: Comparison, quantity: str) -> Figure:
    """Returns where training ends against the step size, with few, some and many workers, on one clock."""
    every = comparison.num_workers
    clock = RANDOM if RANDOM in comparison.clocks else comparison.clocks[0]
    chosen = sorted({every[0], every[len(every) // 2], every[-1]})
    figure = _new(comparison, (1.2 + 3.4 * len(chosen), 4.4), clock)
    grid = figure.subplots(1, len(chosen), sharex=True, sharey=True, squeeze=False)
    highest = _LARGEST * max(run.values[quantity][:, 0].mean() for run in comparison.runs)
    for axes, p in zip(grid[0], chosen, strict=True):
        for row, (method, draw) in enumerate(_styles(axes, comparison)):
            tried = comparison.tried(method, clock, p)
            rates = np.array([run.learning_rate for run in tried])
            found = [comparison.ends(run, quantity) for run in tried]
            fits = np.array([one.value < highest for one in found])
            draw(rates[fits], [one for one, fit in zip(found, fits, strict=True) if fit])
            # One above the other, each method in a row of its own.
            above = np.full((~fits).sum(), highest * _ROW**row)
            axes.plot(rates[~fits], above, "x", color=COLOURS.get(method, OTHER_COLOUR), markersize=5)
        axes.axhline(comparison.target(quantity), color=REFERENCE_COLOUR, linestyle=":", label="target")
        log_axes(axes, r"step size $\alpha$")
        axes.set_title(workers(p), fontsize="medium")
    grid[0, 0].set_ylabel(f"{QUANTITIES[quantity]} at the end")
    _legend(figure, grid)
    return figure


def _one_reach(comparison: Comparison, key: tuple[str, str, str, str], draw: Callable[..., None]) -> None:
    method, clock, quantity, axis = key
    found = {p: comparison.estimate(comparison.reach(method, clock, p, quantity, axis)) for p in comparison.num_workers}
    reached = {p: one for p, one in found.items() if np.isfinite(one.value)}
    if reached:
        draw(np.array(list(reached)), list(reached.values()))


def _ideal(axes: Axes, comparison: Comparison, clock: str, quantity: str, axis: str) -> None:
    """Draws what p workers would need if each gradient were worth as much as one without delay."""
    first = comparison.num_workers[0]
    alone = comparison.estimate(comparison.reach(OURS, clock, first, quantity, axis)).value
    if np.isfinite(alone):
        p = np.array(comparison.num_workers)
        ideal = alone * first / p if axis == "time" else np.full(len(p), alone)
        label = "linear speed-up of APAM"
        axes.plot(p, ideal, ":", color=REFERENCE_COLOUR, label=label if axis == "time" else None)


def _styles(axes: Axes, comparison: Comparison) -> list[tuple[str, Callable[..., None]]]:
    """Returns each method with a function that draws its points."""
    number = len(comparison.methods)
    shifts = _APART ** (np.arange(number) - (number - 1) / 2)

    def drawer(index: int, method: str) -> Callable[..., None]:
        style = f"{_MARKERS[index % len(_MARKERS)]}{_LINES[index % len(_LINES)]}"

        def draw(x, found):
            colour = COLOURS.get(method, OTHER_COLOUR)
            y, errors = error_bars(found)
            mark_limits(axes, x * shifts[index], y, np.array([np.isinf(one.high) for one in found], bool), colour)
            axes.errorbar(
                x * shifts[index], y, errors, fmt=style, color=colour, markersize=5, capsize=2, linewidth=1.3,
                label=method,
            )  # fmt: skip

        return draw

    return [(method, drawer(index, method)) for index, method in enumerate(comparison.methods)]


def _new(comparison: Comparison, size: tuple[float, float], what: str) -> Figure:
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    half = len(comparison.seeds) // 2
    how = f"{half} seeds with 95 % intervals, step sizes tuned on {len(comparison.seeds) - half} others"
    figure.suptitle(f"{comparison.name}; {what}\n{comparison.num_updates:,} gradients a run; {how}", fontsize="medium")
    return figure


def _legend(figure: Figure, grid: np.ndarray) -> None:
    handles = {}
    for axes in grid.ravel():
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False, fontsize="small"
    )
