"""Histograms of delays: recorded from real workers, and of the cluster model fitted to each recording."""

import pathlib

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from asyncopt import traces
from asyncopt.analysis import cluster_fit
from asyncopt.drawing import style
from asyncopt.files import records
from asyncopt.report import fitting
from figures.drawn import WIDTH, Drawn

_CAPTION = """\
**Delays.** {updates} updates of {workers} Ray processes on this machine. Each gradient is made to take 50 ms, always or
on average; in two panels one worker takes four times as long. Beside each recording is the cluster model fitted to its
clock. Mean delay recorded and modelled, and the share of updates with another delay: {errors}. The mean delay of
asynchronous workers is always p - 1. A slow worker makes a few gradients very old; delays beyond the {shown} % quantile
are not shown.

*The paper* ({source}) reports no delays; it bounds them by τ.
"""
# Delays above this quantile are few, and would leave little room for the others.
_SHOWN = 0.995


def draw(folder: pathlib.Path) -> Drawn:
    """Returns a panel for each distribution of durations and number of stragglers."""
    recordings = {}
    for run, record in records.load_records(folder):
        runtime = record.config["runtime"]
        recordings[runtime["compute"]["distribution"], runtime["stragglers"]] = traces.load(folder / run / "trace.npz")
    runs = sorted(recordings.items())
    figure, panels = style.subplots((WIDTH, 4.2), "", 2, 2, sharey="row")
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
        look = {"color": style.REFERENCE_COLOUR, "linestyle": ":", "label": "$p - 1$, theory's mean"}
        axes.axvline(trace.num_workers - 1, **look)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set(title=kind, xlabel="delay, updates" if axes in panels[1] else "")
        shares = {"delay": np.arange(largest + 1), "recorded": recorded, "modelled": modelled}
        rows.append(pd.DataFrame({"workers": kind, **shares}))
    for axes in panels[:, 0]:
        axes.set_ylabel("share of updates")
    style.legend_below(figure, 3, [panels[0, 0]])
    facts = {"updates": f"{runs[0][1].num_updates:,}", "workers": runs[0][1].num_workers}
    facts |= {"errors": "; ".join(errors), "shown": f"{100 * _SHOWN:g}"}
    panels_drawn = pd.DataFrame({"panel": [axes.get_title() for axes in panels.flat]})
    return Drawn(figure, _CAPTION, panels_drawn, facts, pd.concat(rows, ignore_index=True))
