"""``python -m asyncopt.curves FOLDER``: what delays do to training curves, from the run folders of a sweep alone.

One curve for each value of a setting, with intervals over seeds; what each loses to the first, and whether all meet.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from asyncopt.analysis.bootstrap import LEVEL, Estimate
from asyncopt.checks import InputError
from asyncopt.files import atomic, records
from asyncopt.report import commands, page, run_figures
from asyncopt.run import names

_BY, _QUANTITY = "trace.max_delay", "test_accuracy"
_LABELS = {"trace.max_delay": "largest delay", "test_accuracy": "held-out accuracy", "objective": "objective $F(x_k)$"}
# What may differ between runs of one curve.
_SEEDS = ("seeds", "progress", "plot")


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """Curves of a sweep.

    Args:
      name: problem and method, in words.
      by: the setting that differs.
      quantity: what was measured.
      settings: its values, in order.
      step: int[E], updates made.
      values: for each setting, float[S, E], a row a seed; the same seeds in all.
    """

    name: str
    by: str
    quantity: str
    settings: list[Any]
    step: Int[np.ndarray, " E"]
    values: list[Float[np.ndarray, "S E"]]

    @property
    def num_seeds(self) -> int:
        """S."""
        return len(self.values[0])


def intervals(values: Float[np.ndarray, "S E"]) -> list[Estimate]:
    """Returns the mean over seeds in each column, with Student's 95 % interval: seeds of networks are few."""
    number, mean = len(values), values.mean(axis=0)
    reach = np.full(values.shape[1], np.nan)
    if number > 1:
        reach = scipy.stats.t.ppf((1 + LEVEL) / 2, number - 1) * values.std(axis=0, ddof=1) / np.sqrt(number)
    return [Estimate(*map(float, found)) for found in zip(mean, mean - reach, mean + reach, strict=True)]


def read(folder: pathlib.Path, by: str = _BY, quantity: str = _QUANTITY) -> Curves:
    """Reads the runs below a folder, which must differ in one setting and in seeds only.

    Raises:
      InputError: if they differ otherwise, or lack the setting or the quantity, or have no seed in common.
    """
    found: dict[Any, dict[int, Float[np.ndarray, " E"]]] = {}
    first: tuple[str, dict[str, Any], Int[np.ndarray, " E"]] | None = None
    title = ""
    for run, record in records.load_records(folder):
        config = records.flat(record.config)
        if by not in config:
            raise InputError(f"{run}: config.yaml has no {by}, expected one of {sorted(config)}")
        if quantity not in record.metrics:
            raise InputError(f"{run}: metrics.parquet has no {quantity}, expected one of {sorted(record.metrics)}")
        setting = config.pop(by)
        common = {key: value for key, value in config.items() if key.partition(".")[0] not in _SEEDS}
        table = record.metrics.pivot(index="seed", columns="step", values=quantity)
        step = table.columns.to_numpy()
        if first is None:
            first = (run, common, step)
            title = f"{names.problem_in_full(record.config)}; {names.method_in_full(record.config)}"
        differing = sorted(key for key in common.keys() | first[1].keys() if common.get(key) != first[1].get(key))
        if differing or not np.array_equal(step, first[2]):
            what = differing[0] if differing else "the evaluated steps"
            raise InputError(f"{run}: differs from {first[0]} in {what}, expected {by} and seeds only")
        found.setdefault(setting, {}).update(dict(zip(table.index, table.to_numpy(), strict=True)))
    assert first is not None, "load_records yields at least one"
    settings = sorted(found)
    seeds = sorted(set.intersection(*(set(runs) for runs in found.values())))
    if not seeds:
        raise InputError(f"{folder}: no seed has been run with every value of {by}")
    values = [np.stack([found[setting][seed] for seed in seeds]) for setting in settings]
    return Curves(title, by, quantity, settings, first[2], values)


def figure(curves: Curves) -> Figure:
    """Returns the curves, light to dark in the order of the setting, with intervals; and the end, enlarged."""
    drawn = Figure(figsize=(11.0, 4.8), layout="constrained", dpi=150)
    left, right = drawn.subplots(1, 2, gridspec_kw={"width_ratios": [1.7, 1]})
    shades = [matplotlib.colormaps["inferno"](x) for x in np.linspace(0.05, 0.85, len(curves.settings))]
    label = _LABELS.get(curves.quantity, curves.quantity)
    ends = []
    for index, (setting, values) in enumerate(zip(curves.settings, curves.values, strict=True)):
        found = intervals(values)
        mean, low, high = np.array(found).T
        style = ("-", "--", "-.", ":")[index % 4]
        left.plot(curves.step, mean, style, color=shades[index], linewidth=1.4, label=f"{setting:g}")
        left.fill_between(curves.step, low, high, color=shades[index], alpha=0.1, linewidth=0)
        ends.append(found[-1])
    value, low, high = np.array(ends).T
    errors = np.nan_to_num(np.abs(np.stack([low, high]) - value))
    places = np.arange(len(curves.settings))
    for place, one, error, shade in zip(places, value, errors.T, shades, strict=True):
        right.errorbar(place, one, error[:, None], fmt="o", color=shade, capsize=4)
    right.axhspan(low[0], high[0], color=shades[0], alpha=0.12, linewidth=0)
    right.set_xticks(places, [f"{setting:g}" for setting in curves.settings])
    right.set(xlabel=_LABELS.get(curves.by, curves.by) + ", updates", ylabel=f"{label} at the end")
    left.set(xlabel="updates $k$", ylabel=label)
    if curves.quantity.endswith("accuracy"):
        shown = np.concatenate([values[:, len(curves.step) // 10 :].ravel() for values in curves.values])
        left.set_ylim(bottom=float(np.quantile(shown, 0.01)) - 0.05)
    for axes in (left, right):
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    left.legend(title=_LABELS.get(curves.by, curves.by), frameon=False, ncols=2, fontsize="small")
    seeds = f"{curves.num_seeds} seeds, means and 95 % intervals" if curves.num_seeds > 1 else "1 seed"
    drawn.suptitle(f"{curves.name}\n{seeds}", fontsize="medium")
    return drawn


def table(curves: Curves) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns header and rows: for each setting its mean over the run and its end, and both less those of the first.

    Differences are taken seed by seed, on the same mini-batches.
    """
    header = (
        curves.by, "mean over the run", "less the first", "at the end", "less the first", "no different at the end?",
    )  # fmt: skip
    rows = []
    for setting, values in zip(curves.settings, curves.values, strict=True):
        cells = [f"{setting:g}"]
        difference = Estimate(np.nan, np.nan, np.nan)
        for measured in (_mean_over_run, _end):
            mine, first = measured(curves, values), measured(curves, curves.values[0])
            (estimate,), (difference,) = intervals(mine), intervals(mine - first)
            cells += [_shown(estimate), _shown(difference)]
        same = "-" if np.isnan(difference.low) else "yes" if difference.low <= 0 <= difference.high else "no"
        rows.append((*cells, same))
    return header, rows


def _mean_over_run(curves: Curves, values: Float[np.ndarray, "S E"]) -> Float[np.ndarray, "S 1"]:
    area = np.trapezoid(values, curves.step, axis=1) / (curves.step[-1] - curves.step[0])
    return area[:, None]


def _end(curves: Curves, values: Float[np.ndarray, "S E"]) -> Float[np.ndarray, "S 1"]:
    del curves
    return values[:, -1:]


def _shown(found: Estimate) -> str:
    value, low, high = (f"{x:.4f}" for x in found)
    return value if np.isnan(found.low) else f"{value} [{low}, {high}]"


def _as_frame(curves: Curves) -> pd.DataFrame:
    """Returns the data behind the figure, one row for each setting and evaluation."""
    rows = []
    for setting, values in zip(curves.settings, curves.values, strict=True):
        for step, found in zip(curves.step, intervals(values), strict=True):
            rows.append({curves.by: setting, "step": step, **found._asdict()})
    return pd.DataFrame(rows)


def draw(folder: pathlib.Path, output: pathlib.Path, by: str = _BY, quantity: str = _QUANTITY) -> tuple[str, list[str]]:
    """Reads the runs below a folder, and writes ``curves.png``, the data behind it (``curves.csv``) and ``curves.md``.

    Args:
      folder: with runs that differ in one setting and in seeds only.
      output: made if need be.
      by: that setting.
      quantity: what to draw, a column of ``metrics.parquet``.

    Returns:
      The table in Markdown, and what was left out, a line each.

    Raises:
      InputError: if there is nothing to draw, or the runs differ otherwise.
      OSError: if a file cannot be written.
    """
    curves, left_out = commands.with_left_out(lambda: read(folder, by, quantity))
    output.mkdir(parents=True, exist_ok=True)
    frame = _as_frame(curves)
    text = f"## {curves.name}\n\n{page.markdown_table(*table(curves))}\n"
    atomic.write(output / "curves.csv", lambda path: frame.to_csv(path, index=False))
    atomic.write(output / "curves.md", lambda path: path.write_text(text))
    run_figures.save(figure(curves), output / "curves.png")
    return text, left_out


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, draws, and returns the exit status."""
    parser = commands.parser("asyncopt.curves", __doc__)
    parser.add_argument("--by", default=_BY, help=f"the setting that differs (default: {_BY})")
    parser.add_argument("--quantity", default=_QUANTITY, help=f"what to draw (default: {_QUANTITY})")
    options = parser.parse_args(arguments)
    return commands.finish(
        "asyncopt.curves", options, lambda output: draw(options.folder, output, options.by, options.quantity)
    )
