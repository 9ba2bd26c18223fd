"""``asyncopt curves FOLDER``: what delays do to training curves, from the run folders of a sweep alone.

There is a curve for each value of a setting. The table has what each loses to the first, and whether all meet.
"""

import pathlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.analysis import Estimate
from asyncopt.analysis.curves import Curves, interval, less_first
from asyncopt.checks import InputError
from asyncopt.drawing import style, words
from asyncopt.files import records
from asyncopt.report import commands
from asyncopt.report.commands import Arguments, Printed
from asyncopt.report.page import Table

_BY, _QUANTITY = "trace.max_delay", "test_accuracy"
_FILES = commands.Files(text="curves.md", data="curves.csv")
# Settings that may differ between the runs of a curve.
_SEEDS = ("seeds", "progress", "plot")


def draw(folder: pathlib.Path, output: pathlib.Path, by: str = _BY, quantity: str = _QUANTITY) -> Printed:
    """Reads the runs below a folder, and writes ``curves.png``, the data behind it (``curves.csv``) and ``curves.md``.

    Args:
      folder: the folder with the runs, which differ in one setting and in seeds only.
      output: folder for the files, created if needed.
      by: the setting that differs.
      quantity: what to draw, a column of ``metrics.parquet``.

    Returns what `commands.report` returns, and raises the same errors.
    """
    return commands.report(_FILES, output, lambda: [read(folder, by, quantity)], _section)


def read(folder: pathlib.Path, by: str = _BY, quantity: str = _QUANTITY) -> Curves:
    """Reads the runs below a folder; raises an InputError as `collect` does, or if there is no run."""
    return collect(records.load_records(folder), by, quantity)


def collect(runs: Iterable[tuple[str, records.Record]], by: str, quantity: str, also: Sequence[str] = ()) -> Curves:
    """Returns the curves of runs that differ in one setting and in seeds only.

    Args:
      runs: name and record of each run, at least one.
      by: the setting that differs.
      quantity: a column of ``metrics.parquet``.
      also: settings that follow from that one, and so differ as well.

    A run without labels, of an earlier version, is left out with a warning that names it. Raises an InputError if no
    run is left, or if the runs differ otherwise, lack the setting or the quantity, or share no seed.
    """
    by_setting: dict[Any, dict[int, Float[np.ndarray, " E"]]] = {}
    first: tuple[str, dict[str, Any], Int[np.ndarray, " E"], Mapping[str, Any]] | None = None
    for run, record in _labelled(runs):
        config = records.flat(record.config)
        if by not in config:
            raise InputError(f"{run}: config.yaml has no {by}, expected one of {sorted(config)}")
        if quantity not in record.metrics:
            raise InputError(f"{run}: metrics.parquet has no {quantity}, expected one of {sorted(record.metrics)}")
        common = {k: v for k, v in config.items() if k not in (by, *also) and k.partition(".")[0] not in _SEEDS}
        table = record.metrics.pivot(index="seed", columns="step", values=quantity)
        step = table.columns.to_numpy()
        first = first or (run, common, step, record.labels)
        differing = sorted(key for key in common.keys() | first[1].keys() if common.get(key) != first[1].get(key))
        if differing or not np.array_equal(step, first[2]):
            difference = differing[0] if differing else "the evaluated steps"
            raise InputError(f"{run}: differs from {first[0]} in {difference}, expected {by} and seeds only")
        by_setting.setdefault(config[by], {}).update(dict(zip(table.index, table.to_numpy(), strict=True)))
    if first is None:
        raise InputError("no run is left for a curve, expected at least one of this version")
    settings, seeds = sorted(by_setting), sorted(set.intersection(*map(set, by_setting.values())))
    if not seeds:
        raise InputError(f"no seed has been run with every value of {by}")
    values = [np.stack([by_setting[setting][seed] for seed in seeds]) for setting in settings]
    return Curves("{problem}; {method}".format_map(first[3]), by, quantity, settings, first[2], values)


def _labelled(runs: Iterable[tuple[str, records.Record]]) -> Iterator[tuple[str, records.Record]]:
    """Yields the runs that have labels, and warns of each of the others."""
    for run, record in runs:
        try:
            _ = record.labels
        except InputError as error:
            warnings.warn(f"left out: {run}: {error}", stacklevel=3)
        else:
            yield run, record


def _section(curves: Curves) -> commands.Section:
    return commands.Section(curves.name, "", [table(curves)], curves.to_frame(), {"curves": (figure(curves), "")})


@style.drawing
def figure(curves: Curves) -> Figure:
    """Returns the curves with intervals, dark to light in the order of the setting; and the end, enlarged."""
    title = f"{curves.name}\n{words.seeds(curves.num_seeds, style.INTERVALS)}"
    drawn, (left, right) = style.subplots((11.0, 4.8), title, 1, 2, width_ratios=[1.7, 1])
    label, by = map(words.label, (curves.quantity, curves.by))
    lines(left, curves)
    left.set(xlabel="updates $k$", ylabel=label)
    if curves.quantity.endswith("accuracy"):
        shown = np.concatenate([values[:, len(curves.step) // 10 :].ravel() for values in curves.values])
        left.set_ylim(bottom=float(np.quantile(shown, 0.01)) - 0.05)
    left.legend(title=by, ncols=2, fontsize="small")
    ends = [estimates[-1] for estimates in curves.intervals]
    points(right, curves, ends)
    right.axhspan(ends[0].low, ends[0].high, color=style.shades(len(ends))[0], alpha=0.12, linewidth=0)
    right.set(xlabel=f"{by}, updates", ylabel=f"{label} at the end")
    return drawn


def lines(axes: Axes, curves: Curves) -> None:
    """Draws a line with a band for each setting, against updates."""
    looks = zip(curves.settings, curves.intervals, style.shades(len(curves.settings)), strict=True)
    for index, (setting, estimates, shade) in enumerate(looks):
        look = {"color": shade, "linestyle": style.line(index), "label": f"{setting:g}"}
        style.band(axes, curves.step, estimates, **look)


def points(axes: Axes, curves: Curves, estimates: Sequence[Estimate], at_settings: bool = False) -> None:
    """Draws an estimate for each setting, in the colours of `lines`: side by side, or with the setting as x."""
    places = curves.settings if at_settings else range(len(estimates))
    for index, (place, estimate, shade) in enumerate(zip(places, estimates, style.shades(len(estimates)), strict=True)):
        style.bars(axes, [place], [estimate], color=shade, fmt=style.marker(index))
    if not at_settings:
        axes.set_xticks(places, [f"{setting:g}" for setting in curves.settings])


def table(curves: Curves) -> Table:
    """Returns each setting's mean over the run and end, and both less those of the first setting, seed by seed."""
    difference = "less the first"
    header = (curves.by, "mean over the run", difference, "at the end", difference, "no different at the end?")
    means, ends = curves.means_over_run, curves.ends
    columns = [[interval(values) for values in column] for column in (means, less_first(means), ends, less_first(ends))]
    same = ["-" if np.isnan(d.low) else "yes" if d.low <= 0 <= d.high else "no" for d in columns[-1]]
    cells = zip(*([words.with_interval(d, ".4f") for d in column] for column in columns), strict=True)
    rows = [(f"{by:g}", *row, end) for by, row, end in zip(curves.settings, cells, same, strict=True)]
    return Table("", header, rows)


def main(arguments: Arguments = None) -> int:
    """Parses the command line, draws, and returns the exit status."""
    options = {
        "--by": {"default": _BY, "help": f"the setting that differs (default: {_BY})"},
        "--quantity": {"default": _QUANTITY, "help": f"what to draw (default: {_QUANTITY})"},
    }
    return commands.main("asyncopt curves", draw, __doc__, options, arguments)
