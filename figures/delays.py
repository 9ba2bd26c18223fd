"""Histograms of delays: recorded from real workers, and of the cluster model fitted to each recording."""

import pathlib

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from asyncopt import traces
from asyncopt.analysis import cluster_fit
from asyncopt.files import records
from asyncopt.report.run_figures import MODEL_COLOUR, RECORDED_COLOUR, REFERENCE_COLOUR
from figures import reported, style
from figures.style import Drawn

# Delays above this quantile are few and would make the others narrow.
_SHOWN = 0.995


def draw(folder: pathlib.Path) -> Drawn:
    """Returns a panel for each kind of workers."""
    figure = style.new(4.2)
    panels = figure.subplots(2, 2, sharey="row")
    runs = sorted(_recordings(folder).items())
    rows, errors = [], []
    for axes, ((distribution, stragglers), trace) in zip(panels.flat, runs, strict=True):
        fitted = cluster_fit.fit_cluster(trace)
        model = fitted.trace(trace.num_updates)
        compared = cluster_fit.compare(trace, model)
        kind = f"{distribution} times" + (", one slow" if stragglers else "")
        errors.append(f"{kind}: {trace.mean_delay:.2f} and {model.mean_delay:.2f}, {compared['total_variation']:.2f}")
        largest = int(max(np.quantile(trace.delay, _SHOWN), np.quantile(model.delay, _SHOWN)))
        delay = np.arange(largest + 1)
        shares = [
            np.bincount(one.delay, minlength=largest + 1)[: largest + 1] / one.num_updates for one in (trace, model)
        ]
        axes.bar(delay, shares[0], color=RECORDED_COLOUR, label="recorded (Ray)")
        axes.step(delay, shares[1], where="mid", color=MODEL_COLOUR, label="modelled")
        axes.axvline(trace.num_workers - 1, color=REFERENCE_COLOUR, linestyle=":", label="$p - 1$, theory's mean")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_title(kind)
        rows += [
            {"workers": kind, "delay": d, "recorded": seen, "modelled": expected}
            for d, seen, expected in zip(delay, *shares, strict=True)
        ]
    for axes in panels[1]:
        axes.set_xlabel("delay, updates")
    for axes in panels[:, 0]:
        axes.set_ylabel("share of updates")
    style.legend_below(figure, panels[0, 0], 3)
    facts = {
        "updates": f"{runs[0][1].num_updates:,}",
        "workers": runs[0][1].num_workers,
        "errors": "; ".join(errors),
        "shown": f"{100 * _SHOWN:g}",
        "source": reported.SOURCE,
    }
    panels_drawn = pd.DataFrame({"panel": [axes.get_title() for axes in panels.flat]})
    return Drawn(figure, panels_drawn, facts, pd.DataFrame(rows))


def _recordings(folder: pathlib.Path) -> dict[tuple[str, int], traces.Trace]:
    found = {}
    for run, record in records.load_records(folder):
        runtime = record.config["runtime"]
        found[runtime["compute"]["distribution"], runtime["stragglers"]] = traces.load(folder / run / "trace.npz")
    return found
