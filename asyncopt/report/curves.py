"""``asyncopt curves FOLDER``: what delays do to training curves, from the run folders of a sweep alone.

There is a curve for each value of a setting, or for each combination of several. The table has what each loses to the
first, and whether all meet. With --heatmap, colours show the end for each pair of two settings.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.analysis import Estimate
from asyncopt.analysis.curve_runs import NAMED, collect
from asyncopt.analysis.curves import Curves, interval, less_first
from asyncopt.checks import InputError
from asyncopt.drawing import style, words
from asyncopt.drawing.runs import AXES, MOST_CURVES, plot_heatmap
from asyncopt.files import records
from asyncopt.report import commands
from asyncopt.report.commands import Arguments, Printed
from asyncopt.report.page import Table

_BY = "trace.max_delay"
_FILES = commands.Files(text="curves.md", data="curves.csv")
_DELAYS = ("trace.delay", "trace.max_delay")
_MOST_LETTERS = 32  # of all labels below the x axis, side by side; more are turned


def draw(
    folder: pathlib.Path,
    output: pathlib.Path,
    by: Sequence[str] | None = None,
    quantity: str | None = None,
    heatmap: bool = False,
    axis: str = "step",
) -> Printed:
    """Reads the runs below a folder, and writes ``curves.png``, the data behind it (``curves.csv``) and ``curves.md``.

    Args:
      folder: the folder with the runs, which differ in a few settings and in seeds only.
      output: folder for the files, created if needed.
      by: the settings that differ; default: ``trace.max_delay``.
      quantity: what to draw, a column of ``metrics.parquet``; default as in `collect`.
      heatmap: whether to draw ``heatmap.png`` in place of ``curves.png``: the end for each pair of two numbers.
      axis: what to draw it against, as in `collect`.

    Returns what `commands.report` returns, and raises the same errors; also an InputError if there are too many curves
    to tell apart, or the settings are not two numbers for a heat map.
    """
    drawing = ("heatmap", end_of_pairs) if heatmap else ("curves", figure)

    def section(curves: Curves) -> commands.Section:
        name, drawn = drawing[0], drawing[1](curves)
        return commands.Section(curves.name, "", [table(curves)], curves.to_frame(), {name: (drawn, "")})

    return commands.report(_FILES, output, lambda: [read(folder, by or _BY, quantity, axis)], section)


def read(
    folder: pathlib.Path, by: str | Sequence[str] = _BY, quantity: str | None = None, axis: str = "step"
) -> Curves:
    """Reads the runs below a folder; raises an InputError as `collect` does, or if there is no run."""
    return collect(records.load_records(folder), by, quantity, axis=axis)


@style.drawing
def figure(curves: Curves) -> Figure:
    """Returns the curves with intervals, dark to light in the order of the settings; and the end, enlarged."""
    number = len(curves.combinations)
    if number > MOST_CURVES:
        raise InputError(
            f"{', '.join(curves.by)}: {number} combinations, expected at most {MOST_CURVES} curves, or --heatmap"
        )
    title = f"{curves.name}\n{words.seeds(curves.num_seeds, style.INTERVALS)}"
    drawn, (left, right) = style.subplots((12.0, 4.8), title, 1, 2, width_ratios=[1.7, 1])
    label, by = words.label(curves.quantity), ", ".join(map(words.label, curves.by))
    lines(left, curves)
    left.set(xlabel=AXES[curves.axis], ylabel=label)
    ends = [estimates[-1] for estimates in curves.intervals]
    points(right, curves, ends)
    right.axhspan(ends[0].low, ends[0].high, color=style.shades(len(ends))[0], alpha=0.12, linewidth=0)
    right.set(
        xlabel=f"{by}, updates" if curves.by[0] in _DELAYS and len(curves.by) == 1 else by, ylabel=f"{label} at the end"
    )
    if curves.quantity.endswith("accuracy"):
        shown = np.concatenate([values[:, len(curves.step) // 10 :].ravel() for values in curves.values])
        left.set_ylim(bottom=float(np.quantile(shown, 0.01)) - 0.05)
    elif all((values[:, curves.step > 0] > 0).all() for values in curves.values):
        left.set(xscale="log", yscale="log")
        right.set_yscale("log")
    drawn.legend(*left.get_legend_handles_labels(), loc="outside right center", title=by, fontsize="small")
    return drawn


def end_of_pairs(curves: Curves) -> Figure:
    """Returns a heat map of the end: the first setting along x, the second along y, colours show the median."""
    columns = list(zip(*curves.combinations, strict=True))
    if len(columns) != 2 or not all(isinstance(value, int | float) for column in columns for value in column):
        by = " and ".join(curves.by)
        raise InputError(f"by is {by}, expected two settings that are numbers for a heat map: --by KEY --by KEY")
    x, y = curves.by
    ends = [
        {x: pair[0], y: pair[1], "seed": seed, "step": curves.step[-1], curves.quantity: value}
        for pair, values in zip(curves.combinations, curves.ends, strict=True)
        for seed, value in enumerate(values)
    ]
    drawn = plot_heatmap(pd.DataFrame(ends), x, y, curves.quantity)
    drawn.suptitle(style.text(curves.name), fontsize="medium")
    return drawn


def _labels(curves: Curves) -> list[str]:
    return [*map(style.text, words.combinations(curves.combinations))]


def lines(axes: Axes, curves: Curves) -> None:
    """Draws a line with a band for each combination."""
    labels = _labels(curves)
    looks = zip(labels, curves.intervals, style.shades(len(labels)), strict=True)
    for index, (label, estimates, shade) in enumerate(looks):
        look = {"color": shade, "linestyle": style.line(index), "label": label}
        style.band(axes, curves.step, estimates, **look)


def points(axes: Axes, curves: Curves, estimates: Sequence[Estimate]) -> None:
    """Draws an estimate for each combination, side by side, in the colours of `lines`."""
    for index, (estimate, shade) in enumerate(zip(estimates, style.shades(len(estimates)), strict=True)):
        style.bars(axes, [index], [estimate], color=shade, fmt=style.marker(index))
    labels = _labels(curves)
    axes.set_xticks(range(len(labels)), labels)
    if sum(map(len, labels)) > _MOST_LETTERS:
        axes.tick_params("x", rotation=90)


def table(curves: Curves) -> Table:
    """Returns each combination's mean over the run and end, and both less those of the first, seed by seed."""
    difference = "less the first"
    header = (*curves.by, "mean over the run", difference, "at the end", difference, "no different at the end?")
    means, ends = curves.means_over_run, curves.ends
    columns = [[interval(values) for values in column] for column in (means, less_first(means), ends, less_first(ends))]
    same = ["-" if np.isnan(d.low) else "yes" if d.low <= 0 <= d.high else "no" for d in columns[-1]]
    cells = zip(*([words.with_interval(d, ".4f") for d in column] for column in columns), strict=True)
    settings = zip(*map(words.values, zip(*curves.combinations, strict=True)), strict=True)
    rows = [(*values, *row, end) for values, row, end in zip(settings, cells, same, strict=True)]
    return Table("", header, rows)


def main(arguments: Arguments = None) -> int:
    """Parses the command line, draws, and returns the exit status."""
    by = f"a setting that differs, or one of {', '.join(NAMED)}; again for each further one (default: {_BY})"
    options = {
        "--by": {"action": "append", "metavar": "KEY", "help": by},
        "--quantity": {"help": "what to draw (default: test_accuracy, gap, test_loss or objective)"},
        "--axis": {
            "choices": [*AXES],
            "default": "step",
            "help": "what to draw it against: updates, or simulated seconds, or gradients (default: step)",
        },
        "--heatmap": {"action": "store_true", "help": "with two settings that are numbers: the end, as a heat map"},
    }
    return commands.main("asyncopt curves", draw, __doc__, options, arguments)
