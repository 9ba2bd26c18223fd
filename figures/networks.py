"""Networks on 1 to 32 workers: accuracy against epochs, asynchronous, synchronous and non-adaptive."""

import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

import asyncopt
from asyncopt.analysis import Estimate
from asyncopt.analysis.curves import Curves, interval, less_first
from asyncopt.drawing import style
from asyncopt.files import records
from asyncopt.report import curves
from figures import reported
from figures.drawn import WIDTH, Drawn, Runs, by_workers

METHODS = ("APAM", "synchronous AMSGrad", "SGD")
_CAPTION = """\
**{problem}.** {size}, mini-batches of {batch_size}, {epochs} epochs of gradients for every method and number of
workers, {seeds} seeds (bands and bars: 95 % intervals). Gradients of the cluster model's workers take {times} times.
APAM and its synchronous counterpart have the step size of the paper's deep-learning code, α = {alpha}; SGD has
{sgd_alpha}. Nothing is tuned for many workers. The synchronous method makes one step a round, so p workers make p times
fewer steps an epoch. Accuracy at the end, with 1 and with {workers} workers: {ends}. Runs that ended below twice
chance: {stuck}.

*The paper* ({source}): {paper}, {paper_setting}. These are for APAM; {marks} in the lower right panel.

*What differs.* {images} """
_DIFFERS = {
    "LeNet-5": """\
{size} here, 1 in the paper; {epochs} epochs here, 200 in the paper. After few epochs, more workers cost more. The two
AMSGrads are compared at the same number of gradients. In time the synchronous method loses more: see *Speed-up* and the
comparison in the README.
""",
    "perceptron": "{epochs} epochs here; the paper does not state how many it trained for.\n",
}
_SIZES = {"LeNet-5": "Width {:g}", "perceptron": "100 hidden units"}
_IMAGES_DIFFER = "The images are those of {}, so accuracies cannot be compared, only what more workers cost."


def draw(folder: pathlib.Path, experiment: str) -> Drawn:
    """Returns a panel of curves for each method, and what more workers cost each beside what the paper reported.

    ``experiment`` is the network's name in ``reported.csv``.
    """
    runs = read(folder)
    accuracy = {method: by_workers(runs[method], "test_accuracy") for method in METHODS}
    figure, panels = style.subplots((WIDTH, 5.2), "", 2, 2)
    early = [np.mean(v[:, v.shape[1] // 8]) for measured in accuracy.values() for v in measured.values]
    tables = []
    for axes, (method, measured) in zip(panels.flat, accuracy.items(), strict=False):
        percent = measured.scaled(100)
        curves.lines(axes, percent)
        tables.append(percent.to_frame("epoch").assign(what="accuracy, %", method=method))
        axes.set(title=method, xlabel="epochs", ylabel="held-out accuracy, %", ylim=(max(100 * min(early) - 5, 0), 100))
    costs = {method: changes(measured) for method, measured in accuracy.items()}
    _draw_changes(panels[1, 1], costs, experiment)
    style.legend_below(figure, 6, [panels[0, 0]], title="workers")
    for method, by_p in costs.items():
        ends = pd.DataFrame([{"workers": p, **change._asdict()} for p, change in by_p.items()])
        tables.append(ends.assign(what="change from one worker, points", method=method))
    columns = ["what", "method", "workers", "epoch", "value", "low", "high"]
    data = pd.concat(tables, ignore_index=True)[columns]
    return Drawn(figure, _CAPTION + _DIFFERS[experiment], data, _facts(runs, accuracy, experiment))


def read(folder: pathlib.Path) -> Mapping[str, Runs]:
    """Returns the runs of each method."""
    runs: dict[str, dict[str, records.Record]] = {}
    for name, record in records.load_records(folder):
        runs.setdefault(record.labels["method"], {})[name] = record
    for method in METHODS:
        if method not in runs:
            raise asyncopt.InputError(f"{folder}: no runs of {method}")
    return runs


def changes(accuracy: Curves) -> dict[int, Estimate]:
    """Returns how many points accuracy at the end differs from that with the fewest workers, seed by seed."""
    return {p: interval(100 * c) for p, c in zip(accuracy.settings, less_first(accuracy.ends), strict=True)}


def _draw_changes(axes: Axes, costs: dict[str, dict[int, Estimate]], experiment: str) -> None:
    workers = list(costs["APAM"])
    for index, (shift, method) in enumerate(zip(style.apart(len(METHODS), 1.12), METHODS, strict=True)):
        look = {"color": style.colour(method), "fmt": style.marker(index) + style.line(index), "label": method}
        style.bars(axes, shift * np.array(workers), list(costs[method].values()), **look)
    if _is_range(experiment):
        low, high = reported.span(experiment, "test accuracy")
        reach = 100 * (high - low)
        axes.axhspan(-reach, reach, color=style.PAPER_COLOUR, alpha=0.5, linewidth=0, label="paper, range")
    else:
        p, values = reported.points(experiment, "test accuracy")
        look = {"color": style.PAPER_COLOUR, "markersize": 9, "label": "paper, APAM", "zorder": 5}
        axes.plot(p, 100 * (np.array(values) - values[0]), style.PAPER_MARKER, **look)
    style.workers_axis(axes, workers)
    # If one of a few seeds does not learn, its interval is far longer than all others.
    worst = min(change.value for by_p in costs.values() for change in by_p.values())
    axes.set(title="change from one worker", ylabel="accuracy, points", ylim=(1.25 * worst - 4, 4))
    axes.legend(loc="lower left", fontsize=7)


def _is_range(experiment: str) -> bool:
    return "-" in reported.table(experiment, "test accuracy")["workers"].iloc[0]


def _facts(runs: Mapping[str, Runs], accuracy: dict[str, Curves], experiment: str) -> dict[str, object]:
    first, sgd = (next(iter(runs[method].values())) for method in ("APAM", "SGD"))
    config, labels, chance = first.config, first.labels, 1 / first.summary["problem"]["classes"]
    table, apam = reported.table(experiment, "test accuracy"), accuracy["APAM"]
    ends, stuck = [], []
    for method, measured in accuracy.items():
        at_end = np.stack(measured.ends)
        few, many = 100 * at_end[[0, -1]].mean(axis=1)
        ends.append(f"{method} {few:.1f} and {many:.1f} %")
        stuck.append(f"{method} {np.sum(at_end < 2 * chance)} of {at_end.size}")
    paper = [
        f"{100 * low:.4g} to {100 * high:.4g} % at {p} workers" if low < high else f"{100 * low:.4g} % at {p}"
        for p, low, high in zip(table["workers"], table["low"], table["high"], strict=True)
    ]
    problem, alpha, sgd_alpha = config["problem"], *(run.config["optimizer"]["learning_rate"] for run in (first, sgd))
    marks = "the band shows their range" if _is_range(experiment) else "the stars show them"
    images = "The images are the same." if labels["data"] == "mnist" else _IMAGES_DIFFER.format(labels["data"])
    facts = {"problem": labels["problem"], "size": _SIZES[experiment].format(problem["width"]), "images": images}
    facts |= {"batch_size": problem["batch_size"], "epochs": f"{apam.step[-1]:.0f}", "seeds": apam.num_seeds}
    facts |= {"times": config["trace"]["compute"]["distribution"], "workers": apam.settings[-1]}
    facts |= {"alpha": f"{alpha:g}", "sgd_alpha": f"{sgd_alpha:g}", "ends": "; ".join(ends), "stuck": "; ".join(stuck)}
    return facts | {"paper": ", ".join(paper), "paper_setting": table["source"].iloc[0], "marks": marks}
