"""Gradients at an iterate drawn uniformly from the last ones: accuracy against epochs, delays up to 400."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd

from asyncopt.analysis import Estimate
from asyncopt.analysis.curves import Curves, interval, less_first
from asyncopt.report import curves, style
from figures import reported
from figures.drawn import WIDTH, Drawn

_CAPTION = """\
**Artificial delay.** {name}; every gradient at an iterate drawn uniformly from the last max_delay + 1, {updates}
updates, {seeds} seeds (bands and bars: 95 % intervals). At the end not distinguishable from no delay: {same}.
Different: {different}.

*The paper* ({source}) trained All-CNN on CIFAR-10 for 400 epochs: its curves up to a delay of 20 coincide, 50 lags
slightly, 400 is slowest and reaches the others only after about 250 epochs. All end at {paper_low} to {paper_high} %,
which is the band on the right.

*What differs.* Unless `SCALE=paper`, which wants a GPU: network, images, and {updates} updates, where the paper has
200,000. After few, the longest delays have not caught up. The sweep `artificial_delay`, half an hour by itself,
continues until they have (see the README).
"""
_PAPER = "All-CNN under artificial delay"


def draw(folder: pathlib.Path) -> Drawn:
    """Returns the curves, and at the end what each delay costs."""
    accuracy = curves.read(folder).scaled(100)
    costs = [interval(change) for change in less_first(accuracy.ends)]
    figure = style.new((WIDTH, 3.6))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    curves.lines(left, dataclasses.replace(accuracy, step=accuracy.step / 1000))
    curves.points(right, accuracy, costs)
    low, high = reported.span(_PAPER, "test accuracy")
    reach = 100 * (high - low)
    right.axhspan(-reach, reach, color=style.PAPER_COLOUR, alpha=0.4, linewidth=0, label="paper, all delays")
    start = np.median([values[:, len(accuracy.step) // 10].mean() for values in accuracy.values])
    left.set(xlabel="updates $k$, thousands", ylabel="held-out accuracy, %", ylim=(max(start - 15, 0), None))
    right.tick_params("x", rotation=60)
    right.set(xlabel="largest delay, updates", ylabel="points at the end, less no delay")
    right.legend(loc="lower left")
    style.legend_below(figure, 4, [left], title="largest delay, updates")
    return Drawn(figure, _CAPTION, _data(accuracy, costs), _facts(accuracy, costs))


def _data(accuracy: Curves, costs: list[Estimate]) -> pd.DataFrame:
    means = accuracy.to_frame().rename(columns={accuracy.by: "max_delay"})
    means.insert(0, "what", "accuracy, %")
    changes = pd.DataFrame(costs).assign(what="change from no delay, points", max_delay=accuracy.settings)
    both = [means, changes.assign(step=accuracy.step[-1])]
    return pd.concat(both, ignore_index=True).sort_values("max_delay", kind="stable", ignore_index=True)


def _facts(accuracy: Curves, costs: list[Estimate]) -> dict[str, object]:
    low, high = reported.span(_PAPER, "test accuracy")
    delayed = [(f"{d:g}", cost) for d, cost in zip(accuracy.settings, costs, strict=True) if d]
    same = [delay for delay, cost in delayed if cost.low <= 0 <= cost.high]
    different = [
        f"{delay} ({cost.value:.1f} points [{cost.low:.1f}, {cost.high:.1f}])"
        for delay, cost in delayed
        if delay not in same
    ]
    return {
        "name": accuracy.name,
        "updates": f"{accuracy.step[-1]:,}",
        "seeds": accuracy.num_seeds,
        "same": ", ".join(same) or "none",
        "different": ", ".join(different) or "none",
        "source": reported.SOURCE,
        "paper_low": f"{100 * low:.0f}",
        "paper_high": f"{100 * high:.0f}",
    }
