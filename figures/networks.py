"""Networks on 1 to 32 workers: accuracy against epochs, asynchronous, synchronous and non-adaptive."""

import pathlib

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

import asyncopt
from asyncopt.files import records
from asyncopt.report import curves
from asyncopt.report.run_figures import COLOURS
from asyncopt.run import names
from figures import reported, style
from figures.style import Drawn

METHODS = ("APAM", "synchronous AMSGrad", "SGD")
_CHANCE = 0.1  # all of these data have ten classes
_IMAGES_DIFFER = "The images are those of {}, so that levels cannot be compared, only what more workers cost."
_IMAGES = {"mnist": 60_000, "fashion_mnist": 60_000, "digits_images": 1_438}


def draw(folder: pathlib.Path, experiment: str) -> Drawn:
    """Returns a panel of curves for each method, and what more workers cost each beside what the paper reported.

    Args:
      folder: of the sweep.
      experiment: the network, as ``reported.csv`` has it.
    """
    accuracy, config = read(folder)
    figure = style.new(5.2)
    panels = figure.subplots(2, 2)
    curve_panels = [panels[0, 0], panels[0, 1], panels[1, 0]]
    workers = sorted({p for _, p in accuracy})
    shades = style.shades(len(workers))
    rows = []
    lowest = min(float(np.mean(values[:, len(epochs) // 8])) for epochs, values in accuracy.values())
    for axes, method in zip(curve_panels, METHODS, strict=True):
        for index, p in enumerate(workers):
            epochs, values = accuracy[method, p]
            found = curves.intervals(100 * values)
            look = {"color": shades[index], "linestyle": style.line(index), "label": f"{p}"}
            style.band(axes, epochs, found, look)
            rows += [_row("accuracy, %", method, p, one, epoch) for epoch, one in zip(epochs, found, strict=True)]
        axes.set(title=method, xlabel="epochs", ylabel="held-out accuracy, %", ylim=(max(100 * lowest - 5, 0), 100))
    change = changes(accuracy, workers)
    rows += [_row("change from one worker, points", method, p, one) for (method, p), one in change.items()]
    _draw_changes(panels[1, 1], change, workers, experiment)
    style.legend_below(figure, panels[0, 0], 6, "workers")
    return Drawn(figure, pd.DataFrame(rows), _facts(accuracy, config, experiment))


def _row(what: str, method: str, p: int, found: curves.Estimate, epoch: float | None = None) -> dict:
    return {"what": what, "method": method, "workers": p, "epoch": epoch, **found._asdict()}


def read(folder: pathlib.Path) -> tuple[dict[tuple[str, int], tuple[np.ndarray, np.ndarray]], dict]:
    """Returns epochs, float[E], and held-out accuracy, float[S, E], of each method and p; and a configuration.

    The configuration has the step size of each method as ``alpha``.
    """
    parts: dict[tuple[str, int], list[pd.DataFrame]] = {}
    config: dict = {}
    alpha: dict[str, float] = {}
    for _, record in records.load_records(folder):
        config = dict(record.config)
        key = (names.method_in_full(config), int(config["trace"]["num_workers"]))
        alpha[key[0]] = config["optimizer"]["learning_rate"]
        parts.setdefault(key, []).append(record.metrics)
    data = str(config["problem"]["data"]["_target_"]).rpartition(".")[2]
    batch_size = config["problem"]["batch_size"]
    found = {}
    for key, tables in parts.items():
        table = pd.concat(tables).pivot(index="seed", columns="step", values="test_accuracy")
        found[key] = (table.columns.to_numpy(float) * batch_size / _IMAGES[data], table.to_numpy(float))
    missing = [method for method in METHODS if not any(name == method for name, _ in found)]
    if missing:
        raise asyncopt.InputError(f"{folder}: no runs of {missing[0]}")
    return found, {**config, "alpha": alpha}


def changes(accuracy: dict, workers: list[int]) -> dict[tuple[str, int], curves.Estimate]:
    """Returns by how many points accuracy at the end differs from that with one worker, seed by seed."""
    found = {}
    for method in METHODS:
        alone = accuracy[method, workers[0]][1][:, -1]
        for p in workers:
            (found[method, p],) = curves.intervals(100 * (accuracy[method, p][1][:, -1] - alone)[:, None])
    return found


def _draw_changes(axes: Axes, points: dict, workers: list[int], experiment: str) -> None:
    shifts = np.geomspace(1 / 1.12, 1.12, len(METHODS))
    for index, (shift, method) in enumerate(zip(shifts, METHODS, strict=True)):
        look = {"color": COLOURS[method], "fmt": style.marker(index) + style.line(index), "label": method}
        style.bars(axes, shift * np.array(workers), [points[method, p] for p in workers], look)
    paper = reported.table(experiment, "test accuracy")
    if "-" in paper["workers"].iloc[0]:
        low, high = reported.span(experiment, "test accuracy")
        axes.axhspan(
            -100 * (high - low),
            100 * (high - low),
            color=style.PAPER_COLOUR,
            alpha=0.5,
            linewidth=0,
            label="paper, range",
        )
    else:
        p, values = reported.points(experiment, "test accuracy")
        axes.plot(p, 100 * (np.array(values) - values[0]), style.PAPER_MARKER, color=style.PAPER_COLOUR, markersize=9,
                  label="paper, APAM", zorder=5)  # fmt: skip
    style.workers_axis(axes, workers)
    # An interval over a few seeds, one of which is lost, reaches far beyond all others.
    worst = min(value for value, _, _ in points.values())
    axes.set(title="change from one worker", ylabel="accuracy, points", ylim=(1.25 * worst - 4, 4))
    axes.legend(loc="lower left", fontsize=7)


def _facts(accuracy: dict, config: dict, experiment: str) -> dict[str, object]:
    problem = config["problem"]
    epochs, values = accuracy["APAM", 1]
    most = max(p for _, p in accuracy)
    ends = [f"{method} {_end(accuracy, method, 1)} and {_end(accuracy, method, most)} %" for method in METHODS]
    images = names.last_word(problem["data"]["_target_"])
    table = reported.table(experiment, "test accuracy")
    paper = [
        f"{100 * row['low']:.4g} to {100 * row['high']:.4g} % at {row['workers']} workers"
        if row["low"] < row["high"]
        else f"{100 * row['low']:.4g} % at {row['workers']}"
        for _, row in table.iterrows()
    ]
    return {
        "problem": names.problem_in_full(config),
        "width": f"{problem['width']:g}",
        "batch_size": problem["batch_size"],
        "epochs": f"{epochs[-1]:.0f}",
        "seeds": len(values),
        "times": config["trace"]["compute"]["distribution"],
        "alpha": f"{config['alpha']['APAM']:g}",
        "sgd_alpha": f"{config['alpha']['SGD']:g}",
        "workers": most,
        "ends": "; ".join(ends),
        "source": reported.SOURCE,
        "paper": ", ".join(paper),
        "paper_setting": table["source"].iloc[0],
        "stuck": "; ".join(f"{method} {_stuck(accuracy, method)}" for method in METHODS),
        "images": _IMAGES_DIFFER.format(images) if images != "mnist" else "Not the images.",
    }


def _stuck(accuracy: dict, method: str) -> str:
    """Returns how many runs of a method ended no better than twice as good as chance."""
    ends = np.concatenate([values[:, -1] for (name, _), (_, values) in accuracy.items() if name == method])
    return f"{np.sum(ends < 2 * _CHANCE)} of {len(ends)}"


def _end(accuracy: dict, method: str, p: int) -> str:
    return f"{100 * accuracy[method, p][1][:, -1].mean():.1f}"
