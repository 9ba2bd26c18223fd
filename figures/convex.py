"""Sparse logistic regression in shared memory, 1 to 32 workers: training loss against epochs."""

import pathlib

import numpy as np

from asyncopt.files import records
from asyncopt.report import curves, style
from figures import reported
from figures.drawn import WIDTH, Drawn, by_workers

EXPERIMENT = "logistic regression on rcv1"
_CAPTION = """\
**Convex, with inconsistent reads.** Binary logistic regression on {data}; APAM without bias correction, step size
α = {alpha}, mini-batches of {batch_size}, start drawn from N(0, 1), {epochs} epochs, {seeds} seeds (bands and bars:
95 % intervals). The workers of the shared-memory model read the parameters in {blocks} blocks while the server writes
them. At the end the loss is {lowest} to {highest} over 1 to {workers} workers; from 1 to {workers} it changes by
{cost}. {accuracy} % of the training rows are classified correctly.

*The paper* ({source}) had losses of {paper_low} to {paper_high} and accuracies of 0.999 at 1 to 32 threads, after 100
epochs.

*What differs.* There are {epochs} epochs here. Our gradient is the mean over the mini-batch, the paper's code has the
sum; AMSGrad is nearly indifferent to this. That code does not move coordinates with v̂ ≤ 1e-11. Here they move little,
because of ε in the denominator.
"""
_DATA = {
    "rcv1": "rcv1_train.binary (20,242 × 47,236)",
    "rcv1 like": "generated documents with the shape and statistics of rcv1 (20,242 × 47,236, 74 words a row), because "
    "its file was missing",
}


def draw(folder: pathlib.Path) -> Drawn:
    """Returns loss against epochs, and the loss at the end against the number of workers beside the paper's range."""
    runs = dict(records.load_records(folder))
    first, losses = next(iter(runs.values())), by_workers(runs, "objective")
    low, high = reported.span(EXPERIMENT, "training loss")
    figure, (left, right) = style.subplots((WIDTH, 3.1), "", 1, 2, width_ratios=[1.35, 1], sharey=True)
    curves.lines(left, losses)
    curves.points(right, losses, [estimates[-1] for estimates in losses.intervals], at_settings=True)
    look = {"color": style.PAPER_COLOUR, "alpha": 0.6, "linewidth": 0, "hatch": "////", "label": "paper, 100 epochs"}
    right.axhspan(low, high, **look)
    left.set_title(first.labels["data"].replace("rcv1 like", "generated rows like rcv1"))
    left.set(yscale="log", xlabel="epochs", ylabel="training loss $F(x_k)$")
    style.workers_axis(right, losses.settings)
    right.set_ylabel(f"after {losses.step[-1]:.0f} epochs")
    right.legend(loc="upper left")
    style.legend_below(figure, 6, [left], title="workers")
    config, ends = first.config, [estimates[-1].value for estimates in losses.intervals]
    accuracy = 100 * np.mean(by_workers(runs, "train_accuracy").ends)
    facts: dict[str, object] = {"data": _DATA[first.labels["data"]], "blocks": config["trace"]["num_blocks"]}
    facts |= {"alpha": f"{config['optimizer']['learning_rate']:g}", "batch_size": config["problem"]["batch_size"]}
    facts |= {"epochs": f"{losses.step[-1]:.0f}", "seeds": losses.num_seeds, "workers": losses.settings[-1]}
    facts |= {"lowest": f"{min(ends):.3g}", "highest": f"{max(ends):.3g}", "accuracy": f"{accuracy:.2f}"}
    facts |= {"cost": f"{100 * (ends[-1] / ends[0] - 1):+.0f} %", "paper_low": low, "paper_high": high}
    return Drawn(figure, _CAPTION, losses.to_frame("epoch"), facts)
