"""Draws the picture of pipelines of docs/language_models.md from the folder of ``+sweep=pipeline``.

python -m figures.pipeline multirun/pipeline docs/images/pipeline.png
"""

import argparse
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import asyncopt
from asyncopt.analysis.curves import interval
from asyncopt.drawing import style

QUANTITY = "test_loss"
# In the order of the legend. No correction comes first; the last two have one delay for all stages.
METHODS = {
    "AdamW": "#000000", "no weight stashing": "#E69F00", "smaller steps in early stages": "#56B4E9",
    "compensated gradients": "#CC79A7", "Nesterov (NAdam)": "#0072B2", "rotated basis": "#009E73",
    "two versions (every delay 1)": "#D55E00", "flushes (no delay)": "#999999",
}  # fmt: skip
_HANDLED = {
    "scale_steps_by_stage": "smaller steps in early stages", "compensate_delay": "compensated gradients",
    "rotate_basis": "rotated basis",
}  # fmt: skip


def method(row: Mapping[str, Any]) -> str:
    """Returns the name of a run's method, from a row of the table of runs."""
    if row["trace.schedule"] != "1f1b":
        return {"gpipe": "flushes (no delay)", "2bw": "two versions (every delay 1)"}[row["trace.schedule"]]
    if not row["trace.stashing"]:
        return "no weight stashing"
    if str(row["optimizer._target_"]).endswith("nadamw"):
        return "Nesterov (NAdam)"
    handling = row["handling._target_"]
    return _HANDLED[handling.rpartition(".")[2]] if isinstance(handling, str) else "AdamW"


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of each method's best step size for each number of stages: that of the best mean at the end."""
    table = table.assign(method=[method(row) for row in table.to_dict("records")])
    ends = table[table["step"] == table["step"].max()]
    keys = ["method", "trace.num_stages", "optimizer.learning_rate"]
    means = ends.groupby(keys)[QUANTITY].agg(lambda values: values.mean() if np.isfinite(values).all() else np.inf)
    chosen = means.groupby(keys[:2]).idxmin()
    return table[table.set_index(keys).index.isin(list(chosen))]


@style.drawing
def figure(table: pd.DataFrame, num_tokens: int) -> Figure:
    """Returns the loss against the number of stages, against tokens, and against seconds.

    Args:
      table: the runs, as `asyncopt.load_runs` returns them.
      num_tokens: the characters of a mini-batch.
    """
    chosen = best(table)
    deepest = int(chosen["trace.num_stages"].max())
    seeds = chosen["seed"].nunique()
    title = f"A transformer of 32 layers, {seeds} seeds: {style.INTERVALS}"
    drawn, (left, middle, right) = style.subplots((14.0, 4.8), title, 1, 3, sharey=True)
    for index, (name, colour) in enumerate(METHODS.items()):
        rows = chosen[chosen["method"] == name]
        look = {"color": colour, "label": name, "fmt": f"{style.marker(index)}{style.line(index)}"}
        last = rows[rows["step"] == rows["step"].max()]
        shift = style.apart(len(METHODS), 1.12)[index]
        _line(left, last, last["trace.num_stages"] * shift, look)
        deep = rows[(rows["trace.num_stages"] == deepest) & (rows["step"] > 0)]
        _line(middle, deep, deep["step"] * num_tokens / 1000 * (1 + 0.006 * (index - 4)), look)
        _line(right, deep, deep["time"], look)
    style.workers_axis(left, sorted(chosen["trace.num_stages"].unique()), "stages of the pipeline")
    left.set(ylabel=f"held-out loss, nats a character\n(left: after {chosen['step'].max()} updates)")
    middle.set(xlabel=f"thousand characters, {deepest} stages")
    means = chosen[chosen["step"] > 0].groupby(["method", "trace.num_stages", "step"])[QUANTITY].mean()
    # The interval of a run that broke out may be longer.
    left.set_ylim(means.min() - 0.2, means[np.isfinite(means)].max() + 0.2)
    right.set(xlabel=f"seconds, {deepest} stages (a mini-batch takes 3 s on one)")
    style.legend_below(drawn, 4, [left])
    return drawn


def _line(axes: Axes, rows: pd.DataFrame, x: pd.Series, look: Mapping[str, Any]) -> None:
    """Draws the mean over seeds with its interval at each x."""
    estimates = {place: interval(values.to_numpy(float)) for place, values in rows[QUANTITY].groupby(x.round(9))}
    if estimates:
        style.bars(axes, [*estimates], [*estimates.values()], **look)


def main() -> None:
    """Parses the command line, and draws."""
    parser = argparse.ArgumentParser(prog="python -m figures.pipeline", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="the folder of the sweep")
    parser.add_argument("output", type=pathlib.Path, help="the picture")
    options = parser.parse_args()
    table = asyncopt.load_runs(options.folder)
    num_tokens = int(table["problem.batch_size"].iloc[0] * table["problem.context"].iloc[0])
    style.save(figure(table, num_tokens), options.output)


if __name__ == "__main__":
    main()
