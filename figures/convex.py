"""Sparse logistic regression in shared memory, 1 to 32 workers: training loss, with and without restarts."""

import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from asyncopt.drawing import style
from asyncopt.files import records
from asyncopt.report import curves
from figures import reported
from figures.drawn import WIDTH, Drawn, by_workers

EXPERIMENT = "logistic regression on rcv1"
_EXPLAINED = 2.0  # a level is explained by losses that are at most so many times off
_CAPTION = """\
**Convex, with inconsistent reads.** Binary logistic regression on {data}; APAM without bias correction, step size
α = {alpha}, mini-batches of {batch_size}, start drawn from N(0, 1), {epochs} epochs, {seeds} seeds (bands and bars:
95 % intervals). The workers of the shared-memory model read the parameters in {blocks} blocks while the server writes
them. *Left:* Algorithm 1. At the end the loss is {lowest} to {highest} over 1 to {workers} workers; from 1 to
{workers} it changes by {cost}. {accuracy} % of the training rows are classified correctly. *Middle:* m, v and v̂ start
from zero again every {every} updates, as in the paper's OpenMP program, which keeps them in the function of an epoch.
The loss at the end is {restarted_lowest} to {restarted_highest}.

*The paper* ({source}) had losses of {paper_low} to {paper_high} and accuracies of 0.999 at 1 to 32 threads, after 100
epochs. {level}

*What differs.* Our gradient is the mean over the mini-batch, the paper's code has the sum; AMSGrad is nearly
indifferent to this. That code does not move coordinates with v̂ ≤ 1e-11. Here they move little, because of ε in the
denominator. It draws mini-batches as groups of neighbouring rows.
"""
_DATA = {
    "rcv1": "rcv1_train.binary (20,242 × 47,236)",
    "rcv1 like": "generated documents with the shape and statistics of rcv1 (20,242 × 47,236, 74 words a row), because "
    "its file was missing",
}


def draw(folder: pathlib.Path, restarted_folder: pathlib.Path) -> Drawn:
    """Returns loss against epochs, and the loss at the end against the number of workers beside the paper's range.

    Args:
      folder: the runs of Algorithm 1.
      restarted_folder: the runs with restarts.
    """
    runs, restarted_runs = (dict(records.load_records(path)) for path in (folder, restarted_folder))
    first, losses = next(iter(runs.values())), by_workers(runs, "objective")
    restarted = by_workers(restarted_runs, "objective")
    low, high = reported.span(EXPERIMENT, "training loss")
    figure, (left, middle, right) = style.subplots((1.3 * WIDTH, 3.1), "", 1, 3, sharey=True)
    curves.lines(left, losses)
    curves.lines(middle, restarted)
    ends, restarted_ends = ([e[-1] for e in measured.intervals] for measured in (losses, restarted))
    style.bars(right, losses.settings, ends, color=style.colour("APAM"), fmt="o", label="Algorithm 1")
    look = {"color": style.THRESHOLD_COLOUR, "fmt": "s", "label": "restarted"}
    style.bars(right, restarted.settings, restarted_ends, **look)
    look = {"color": style.PAPER_COLOUR, "alpha": 0.6, "linewidth": 0, "hatch": "////", "label": "paper, 100 epochs"}
    right.axhspan(low, high, **look)
    left.set_title("Algorithm 1")
    middle.set_title("restarted in each epoch")
    left.set(yscale="log", xlabel="epochs", ylabel="training loss $F(x_k)$")
    middle.set_xlabel("epochs")
    style.workers_axis(right, losses.settings)
    right.set_title(f"after {losses.step[-1]:.0f} epochs")
    right.legend(loc="best")
    style.legend_below(figure, 6, [left], title="workers")
    config, values = first.config, [estimate.value for estimate in ends]
    restarted_values = [estimate.value for estimate in restarted_ends]
    accuracy = 100 * np.mean(by_workers(runs, "train_accuracy").ends)
    facts: dict[str, object] = {"data": _DATA[first.labels["data"]], "blocks": config["trace"]["num_blocks"]}
    facts |= {"alpha": f"{config['optimizer']['learning_rate']:g}", "batch_size": config["problem"]["batch_size"]}
    facts |= {"epochs": f"{losses.step[-1]:.0f}", "seeds": losses.num_seeds, "workers": losses.settings[-1]}
    facts |= {"lowest": f"{min(values):.3g}", "highest": f"{max(values):.3g}", "accuracy": f"{accuracy:.2f}"}
    facts |= {"cost": f"{100 * (values[-1] / values[0] - 1):+.0f} %", "paper_low": low, "paper_high": high}
    facts |= {"restarted_lowest": f"{min(restarted_values):.3g}", "restarted_highest": f"{max(restarted_values):.3g}"}
    facts |= {"every": next(iter(restarted_runs.values())).config["handling"]["every"]}
    facts |= {"level": _level(values, restarted_values, low, high)}
    frames = [m.to_frame("epoch").assign(method=name) for m, name in ((losses, "APAM"), (restarted, "restarted"))]
    return Drawn(figure, _CAPTION, pd.concat(frames), facts)


def _level(values: Sequence[float], restarted: Sequence[float], low: float, high: float) -> str:
    """Returns which of the two methods has the level of loss that the paper reported, in words."""

    def distance(losses: Sequence[float]) -> float:
        """Returns the factor between a loss and the paper's range, at the geometric mean of the losses."""
        loss = float(np.exp(np.mean(np.log(losses))))
        return max(loss / high, low / loss, 1.0)

    with_restarts, without = distance(restarted), distance(values)
    words = f"Losses are {_times(without)} off this range under Algorithm 1, and {_times(with_restarts)} with restarts"
    if min(with_restarts, without) > _EXPLAINED:
        return f"{words}: on these rows, neither explains the level."
    if with_restarts < without:
        return f"{words}: restarts explain the level, and are part of what the paper measured."
    return f"{words}: on these rows, Algorithm 1 explains the level, and restarts do not."


def _times(factor: float) -> str:
    """Returns a factor in words, with two digits."""
    return f"{float(f'{factor:.2g}'):,.{1 if factor < 10 else 0}f} times"
