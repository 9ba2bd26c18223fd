"""Sparse logistic regression in shared memory, 1 to 32 workers: training loss against epochs."""

import pathlib

import numpy as np
import pandas as pd

import asyncopt
from asyncopt.problems.data.reuters import NUM_ROWS
from asyncopt.report import curves
from asyncopt.run import names
from figures import reported, style
from figures.style import Drawn

EXPERIMENT = "logistic regression on rcv1"
_DATA = {
    "rcv1": "rcv1_train.binary (20,242 × 47,236)",
    "rcv1 like": "generated documents of the shape and statistics of rcv1 (20,242 × 47,236, 74 words a row), since its "
    "file was not there",
}


def read(folder: pathlib.Path) -> pd.DataFrame:
    """Returns the runs, with ``workers`` and ``epoch`` of each evaluation."""
    runs = asyncopt.load_runs(folder)
    num_rows = runs.get("problem.data.num_rows", NUM_ROWS)
    return runs.assign(
        workers=runs["trace.num_workers"].astype(int), epoch=runs["step"] * runs["problem.batch_size"] / num_rows
    )


def of_workers(runs: pd.DataFrame, column: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Returns for each number of workers the epochs, float[E], and a measurement, float[S, E], a row a seed."""
    found = {}
    for workers, mine in runs.groupby("workers"):
        table = mine.pivot(index="seed", columns="epoch", values=column)
        found[int(str(workers))] = (table.columns.to_numpy(float), table.to_numpy(float))
    return found


def draw(folder: pathlib.Path) -> Drawn:
    """Returns loss against epochs, and where it ends against the number of workers, beside the paper's range."""
    runs = read(folder)
    measured = of_workers(runs, "objective")
    low, high = reported.span(EXPERIMENT, "training loss")
    figure = style.new(3.1)
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1], sharey=True)
    rows, ends = [], []
    shades = style.shades(len(measured))
    for index, (workers, (epochs, losses)) in enumerate(measured.items()):
        found = curves.intervals(losses)
        look = {"color": shades[index], "linestyle": style.line(index), "label": f"{workers}"}
        style.band(left, epochs, found, look)
        style.bars(right, [workers], [found[-1]], {"color": shades[index], "fmt": style.marker(index)})
        ends.append(found[-1])
        rows += [
            {"workers": workers, "epoch": epoch, **one._asdict()} for epoch, one in zip(epochs, found, strict=True)
        ]
    look = {"color": style.PAPER_COLOUR, "alpha": 0.6, "linewidth": 0, "hatch": "////"}
    right.axhspan(low, high, **look, label="paper, 100 epochs")
    left.set_title(_name(runs).replace("rcv1 like", "generated rows like rcv1"))
    left.set(yscale="log", xlabel="epochs", ylabel="training loss $F(x_k)$")
    style.workers_axis(right, list(measured))
    right.set_ylabel(f"after {left.get_lines()[0].get_xdata()[-1]:.0f} epochs")
    right.legend(loc="upper left")
    style.legend_below(figure, left, 6, "workers")
    return Drawn(figure, pd.DataFrame(rows), _facts(runs, ends))


def _name(runs: pd.DataFrame) -> str:
    return names.last_word(str(runs.iloc[0]["problem.data._target_"]))


def _facts(runs: pd.DataFrame, ends: list[curves.Estimate]) -> dict[str, object]:
    first, at_end = runs.iloc[0], runs[runs["epoch"] == runs["epoch"].max()]
    low, high = reported.span(EXPERIMENT, "training loss")
    return {
        "data": _DATA[_name(runs)],
        "alpha": f"{first['optimizer.learning_rate']:g}",
        "batch_size": first["problem.batch_size"],
        "epochs": f"{runs['epoch'].max():.0f}",
        "seeds": runs["seed"].nunique(),
        "blocks": first["trace.num_blocks"],
        "lowest": f"{min(one.value for one in ends):.3g}",
        "highest": f"{max(one.value for one in ends):.3g}",
        "workers": runs["workers"].max(),
        "cost": f"{100 * (ends[-1].value / ends[0].value - 1):.0f} %",
        "accuracy": f"{100 * at_end['train_accuracy'].mean():.2f}",
        "source": reported.SOURCE,
        "paper_low": low,
        "paper_high": high,
    }
