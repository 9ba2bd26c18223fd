"""Gradients at an iterate drawn uniformly from the last ones: accuracy against epochs, delays up to 400."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd

from asyncopt.analysis.curves import interval, less_first
from asyncopt.drawing import style
from asyncopt.report import curves
from figures import reported
from figures.drawn import WIDTH, Drawn

_CAPTION = """\
**Artificial delay.** {name}; each gradient is computed at an iterate drawn uniformly from the last max_delay + 1;
{updates} updates, {seeds} seeds (bands and bars: 95 % intervals). At the end, these largest delays cannot be told from
no delay: {same}. These can: {different}.

*The paper* ({source}) trained All-CNN on CIFAR-10 for 400 epochs. Its curves up to a delay of 20 coincide, 50 lags
slightly, and 400 is slowest: it reaches the others only after about 250 epochs. All end at {paper_low} to {paper_high}
%; the band on the right is plus and minus this range.

*What differs.* Network, images, and the number of updates: {updates} here, 200,000 in the paper. `SCALE=paper` has the
paper's, and needs a GPU. After few updates, the longest delays have not caught up. The sweep `artificial_delay` takes
half an hour, and continues until they have (see the README).
"""
_PAPER = "All-CNN under artificial delay"


def draw(folder: pathlib.Path) -> Drawn:
    """Returns the curves, and what each delay costs at the end."""
    accuracy = curves.read(folder).scaled(100)
    costs = [interval(change) for change in less_first(accuracy.ends)]
    figure, (left, right) = style.subplots((WIDTH, 3.6), "", 1, 2, width_ratios=[1.5, 1])
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
    means = accuracy.to_frame().rename(columns={accuracy.by[0]: "max_delay"})
    means.insert(0, "what", "accuracy, %")
    changes = pd.DataFrame(costs).assign(what="change from no delay, points", max_delay=accuracy.settings)
    data = pd.concat([means, changes.assign(step=accuracy.step[-1])], ignore_index=True)
    data = data.sort_values("max_delay", kind="stable", ignore_index=True)
    delayed = [(f"{d:g}", cost) for d, cost in zip(accuracy.settings, costs, strict=True) if d]
    same = [delay for delay, cost in delayed if cost.low <= 0 <= cost.high]
    different = [f"{d} ({c.value:.1f} points [{c.low:.1f}, {c.high:.1f}])" for d, c in delayed if d not in same]
    facts = {"name": accuracy.name, "updates": f"{accuracy.step[-1]:,}", "seeds": accuracy.num_seeds}
    facts |= {"same": ", ".join(same) or "none", "different": ", ".join(different) or "none"}
    facts |= {"paper_low": f"{100 * low:.0f}", "paper_high": f"{100 * high:.0f}"}
    return Drawn(figure, _CAPTION, data, facts)
