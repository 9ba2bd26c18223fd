"""Histograms of delays: recorded from real workers, and of the cluster model fitted to each recording."""

import pathlib

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from asyncopt import traces
from asyncopt.analysis import cluster_fit
from asyncopt.files import records
from asyncopt.report import fitting, style
from figures import reported
from figures.drawn import WIDTH, Drawn

_CAPTION = """\
**Delays.** {updates} updates of {workers} Ray processes on this machine, each gradient made to take 50 ms, always or
on average, and one worker four times as long in two panels; beside each the cluster model fitted to the recording's
own clock. Mean delay recorded and modelled, and the share of updates with another delay: {errors}. Asynchronous
workers have a mean delay of p - 1 whatever they do; a slow one makes a few gradients very old (those beyond the
{shown} % quantile are not shown).

*The paper* ({source}) reports no delays; it bounds them by τ.
"""
# Delays above this quantile are few and would make the others narrow.
_SHOWN = 0.995


def draw(folder: pathlib.Path) -> Drawn:
    """Returns a panel for each kind of workers."""
    figure = style.new((WIDTH, 4.2))
    panels = figure.subplots(2, 2, sharey="row")
    runs = sorted(_recordings(folder).items())
    rows, errors = [], []
    for axes, ((distribution, stragglers), trace) in zip(panels.flat, runs, strict=True):
        fitted = cluster_fit.fit_cluster(trace)
        model = fitted.trace(trace.num_updates)
        distance = cluster_fit.compare(trace, model)["total_variation"]
        kind = f"{distribution} times" + (", one slow" if stragglers else "")
        errors.append(f"{kind}: {trace.mean_delay:.2f} and {model.mean_delay:.2f}, {distance:.2f}")
        largest = int(max(np.quantile(trace.delay, _SHOWN), np.quantile(model.delay, _SHOWN)))
        labels = ["recorded (Ray)", "modelled"]
        recorded, modelled = fitting.histograms(axes, (trace, model), np.arange(largest + 2) - 0.5, labels)
        look = {"color": style.REFERENCE_COLOUR, "linestyle": ":"}
        axes.axvline(trace.num_workers - 1, **look, label="$p - 1$, theory's mean")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_title(kind)
        shares = {"delay": np.arange(largest + 1), "recorded": recorded, "modelled": modelled}
        rows.append(pd.DataFrame({"workers": kind, **shares}))
    for axes in panels[1]:
        axes.set_xlabel("delay, updates")
    for axes in panels[:, 0]:
        axes.set_ylabel("share of updates")
    style.legend_below(figure, 3, [panels[0, 0]])
    facts = {
        "updates": f"{runs[0][1].num_updates:,}",
        "workers": runs[0][1].num_workers,
        "errors": "; ".join(errors),
        "shown": f"{100 * _SHOWN:g}",
        "source": reported.SOURCE,
    }
    panels_drawn = pd.DataFrame({"panel": [axes.get_title() for axes in panels.flat]})
    return Drawn(figure, _CAPTION, panels_drawn, facts, pd.concat(rows, ignore_index=True))


def _recordings(folder: pathlib.Path) -> dict[tuple[str, int], traces.Trace]:
    """Returns the recorded traces by the distribution of durations and the number of stragglers."""
    recordings = {}
    for run, record in records.load_records(folder):
        runtime = record.config["runtime"]
        recordings[runtime["compute"]["distribution"], runtime["stragglers"]] = traces.load(folder / run / "trace.npz")
    return recordings
