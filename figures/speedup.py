"""Speed-up against workers: the paper's tables with the cluster model fitted to them, simulated, and real."""

import pathlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from asyncopt import traces
from asyncopt.analysis import Estimate
from asyncopt.analysis.cluster_fit import fit_cluster
from asyncopt.analysis.curves import speedups_to_loss
from asyncopt.analysis.speedup_fit import SpeedupFit, fit_speedup
from asyncopt.drawing import style
from asyncopt.files import records
from asyncopt.theory import asynchronous_throughput
from figures import convex, reported
from figures.drawn import WIDTH, Drawn, by_workers

_CAPTION = """\
**Speed-up.** Left: what *the paper* reported ({source}), and the cluster model fitted to each table. The model has two
parameters, the time of a gradient and that of the server (exact throughput of a closed queue, exponential times).
Root-mean-square relative errors: {fits}. The multinomial table has speed-ups at 1 and 32 workers only, which two
parameters always fit, so it is no test. LeNet-5's first table is superlinear at 2 workers and bends early and gently;
no choice of the two parameters brings its worst point below 10 %.

Right: speed-up in simulated seconds to a training loss of {target} in the figure *convex*, whose clock is the first
table's model: {simulated}. Where this is less than the model's gradients a second, staleness costs the rest. Beside
it, real Ray processes on this machine, whose gradients are made to take 50 ms because there are two cores: {real}.

*What differs.* The paper measured time to the end of training on its machines. Ours is time to a loss in a model of
them, and the time of processes that mostly wait. The model of the Ray runs is fitted to one worker only.
"""
# The loss to reach is that of the run with one worker at this part of its updates.
_TARGET_AT = 0.5
_WORKERS = (1, 2, 4, 8, 16, 32)


def draw(simulated: pathlib.Path, real: pathlib.Path) -> Drawn:
    """Returns the paper's speed-ups beside the model, and the speed-ups measured here.

    ``simulated`` has the runs of the figure ``convex``, whose clock is the model fitted to the experiment's table.
    ``real`` has runs with real workers; one of them has a single worker.
    """
    fits = {name: fit_speedup(*reported.points(name, "speed-up")) for name in reported.speedup_tables()}
    runs = dict(records.load_records(simulated))
    target, to_loss = speedups_to_loss(by_workers(runs, "objective"), by_workers(runs, "time"), _TARGET_AT)
    clock = real_speedups(traces.load(path) for path in real.glob("*/trace.npz"))
    figure, (left, right) = style.subplots((WIDTH, 3.6), "", 1, 2)
    _draw_reported(left, fits)
    _draw_measured(right, to_loss, clock)
    for axes in (left, right):
        style.power_law(axes, np.array([1, 32]), 1.0, (1.0, 1.0), label="linear", zorder=1)
        axes.set_yscale("log")
        axes.set_yticks(_WORKERS, [str(p) for p in _WORKERS])
        style.workers_axis(axes, _WORKERS)
        axes.legend(loc="upper left", fontsize=7, handlelength=1.6)
    left.set(title="reported, and model", ylabel="speed-up")
    right.set_title("measured here")
    what = "simulated, to a loss"
    rows = _reported_rows(fits) + [{"what": what, "workers": p, **ratio._asdict()} for p, ratio in to_loss.items()]
    errors = [
        f"{name} {100 * fit.error:.1f} %, at worst {100 * fit.worst:.1f} % "
        f"(server: {100 * fit.server / fit.compute:.1f} % of a gradient)"
        for name, fit in fits.items()
    ]
    ray = [f"{row['speedup']:.2f} with {row['workers']:.0f} (model {row['model']:.2f})" for _, row in clock.iterrows()]
    reached = ", ".join(f"{ratio.value:.3g} with {p}" for p, ratio in to_loss.items() if p > 1)
    facts = {"fits": "; ".join(errors), "target": f"{target:.3g}", "simulated": reached, "real": ", ".join(ray)}
    return Drawn(figure, _CAPTION, pd.DataFrame(rows), facts, clock)


def real_speedups(recorded: Iterable[traces.Trace]) -> pd.DataFrame:
    """Returns updates a second, speed-up and the model's speed-up for each number of workers.

    The model is fitted to the trace of one worker; all traces must have a clock.
    """
    by_workers = {trace.num_workers: trace for trace in recorded}
    model, alone = fit_cluster(by_workers[1]), _rate(by_workers[1])
    compute, server = model.compute.means("compute", 1)[0], model.server.means("server", 1)[0]
    rows = []
    for p, trace in sorted(by_workers.items()):
        predicted, rate = asynchronous_throughput(p, compute, server) * (compute + server), _rate(trace)
        rows.append({"workers": p, "updates_per_second": rate, "speedup": rate / alone, "model": predicted})
    return pd.DataFrame(rows)


def _rate(trace: traces.Trace) -> float:
    rate = trace.updates_per_second
    assert rate is not None, "real runs have a clock"
    return rate


def _draw_reported(axes: Axes, fits: dict[str, SpeedupFit]) -> None:
    short = {"logistic regression on rcv1": "rcv1", "multinomial logistic regression on MNIST": "multinomial"}
    for index, ((name, fit), shade) in enumerate(zip(fits.items(), style.shades(len(fits)), strict=True)):
        span = np.arange(1, max(fit.num_workers) + 1)
        axes.plot(span, [fit.speedup(int(p)) for p in span], style.line(index), color=shade, linewidth=1.2)
        label = short.get(name, name.replace(", earlier table", ", earlier"))
        axes.plot(fit.num_workers, fit.reported, style.marker(index), color=shade, markersize=5, label=label)


def _reported_rows(fits: dict[str, SpeedupFit]) -> list[dict]:
    rows = []
    for name, fit in fits.items():
        for p, value, error in zip(fit.num_workers, fit.reported, fit.errors, strict=True):
            rows.append({"what": f"reported, {name}", "workers": p, "value": value, "model": value * (1 + error)})
        rows.append({"what": f"compute seconds, {name}", "value": fit.compute})
        rows.append({"what": f"server seconds, {name}", "value": fit.server})
    return rows


def _draw_measured(axes: Axes, to_loss: dict[int, Estimate], clock: pd.DataFrame) -> None:
    look = {"color": style.colour("APAM"), "fmt": "o-", "label": "simulated (rcv1)"}
    style.bars(axes, list(to_loss), list(to_loss.values()), **look)
    paper = reported.points(convex.EXPERIMENT, "speed-up")
    axes.plot(*paper, style.PAPER_MARKER, color=style.PAPER_COLOUR, markersize=9, label="paper, rcv1")
    axes.plot(clock["workers"], clock["speedup"], "D", color="black", markersize=5, label="real (Ray)")
    axes.plot(clock["workers"], clock["model"], "_", color="black", markersize=13, label="its model")
