"""Gradients at an iterate drawn uniformly from the last ones: accuracy against epochs, delays up to 400."""

import pathlib

import numpy as np
import pandas as pd

from asyncopt.report import curves
from figures import reported, style
from figures.style import Drawn

_PAPER = "All-CNN under artificial delay"


def draw(folder: pathlib.Path) -> Drawn:
    """Returns the curves, and at the end what each delay costs."""
    found = curves.read(folder)
    figure = style.new(3.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    shades = style.shades(len(found.settings))
    rows, costs = [], []
    percent = [100 * values.astype(float) for values in found.values]  # accuracies are kept in single precision
    for index, (delay, values) in enumerate(zip(found.settings, percent, strict=True)):
        estimates = curves.intervals(values)
        look = {"color": shades[index], "linestyle": style.line(index), "label": f"{delay:g}"}
        style.band(left, found.step / 1000, estimates, look)
        (cost,) = curves.intervals(values[:, -1:] - percent[0][:, -1:])
        style.bars(right, [index], [cost], {"color": shades[index], "fmt": "o"})
        costs.append(cost)
        rows += [
            {"what": "accuracy, %", "max_delay": delay, "step": step, **one._asdict()}
            for step, one in zip(found.step, estimates, strict=True)
        ]
        end = {"what": "change from no delay, points", "max_delay": delay, "step": found.step[-1]}
        rows.append({**end, **cost._asdict()})
    low, high = reported.span(_PAPER, "test accuracy")
    reach = 100 * (high - low)
    right.axhspan(-reach, reach, color=style.PAPER_COLOUR, alpha=0.4, linewidth=0, label="paper, all delays")
    start = np.median([values[:, len(found.step) // 10].mean() for values in percent])
    left.set(xlabel="updates $k$, thousands", ylabel="held-out accuracy, %", ylim=(max(start - 15, 0), None))
    right.set_xticks(range(len(found.settings)), [f"{delay:g}" for delay in found.settings], rotation=60)
    right.set(xlabel="largest delay, updates", ylabel="points at the end, less no delay")
    right.legend(loc="lower left")
    style.legend_below(figure, left, 4, "largest delay, updates")
    return Drawn(figure, pd.DataFrame(rows), _facts(found, costs))


def _facts(found: curves.Curves, costs: list[curves.Estimate]) -> dict[str, object]:
    low, high = reported.span(_PAPER, "test accuracy")
    delayed = [(f"{d:g}", cost) for d, cost in zip(found.settings, costs, strict=True) if d]
    same = [delay for delay, cost in delayed if cost.low <= 0 <= cost.high]
    different = [
        f"{delay} ({cost.value:.1f} points [{cost.low:.1f}, {cost.high:.1f}])"
        for delay, cost in delayed
        if delay not in same
    ]
    return {
        "name": found.name,
        "updates": f"{found.step[-1]:,}",
        "seeds": found.num_seeds,
        "same": ", ".join(same) or "none",
        "different": ", ".join(different) or "none",
        "source": reported.SOURCE,
        "paper_low": f"{100 * low:.0f}",
        "paper_high": f"{100 * high:.0f}",
    }
