"""Speed-up against workers: the paper's tables with the cluster model fitted to them, simulated, and real."""

import pathlib

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from asyncopt import traces
from asyncopt.analysis.cluster_fit import fit_cluster
from asyncopt.analysis.comparison import first_crossing
from asyncopt.analysis.speedup_fit import SpeedupFit, fit_speedup
from asyncopt.report import curves
from asyncopt.report.run_figures import COLOURS, REFERENCE_COLOUR
from asyncopt.theory import asynchronous_throughput
from figures import convex, reported, style
from figures.style import Drawn

# Where on its way a run with one worker is asked for its loss, which others must reach.
_TARGET_AT = 0.5


def draw(simulated: pathlib.Path, real: pathlib.Path) -> Drawn:
    """Returns the paper's speed-ups beside the model, and the speed-ups found here.

    Args:
      simulated: runs of the figure ``convex``, whose clock is that of the model fitted to the same experiment's table.
      real: runs of real workers, 1 among them.
    """
    fits = {name: fit_speedup(*reported.points(name, "speed-up")) for name in reported.speedup_tables()}
    figure = style.new(3.6)
    left, right = figure.subplots(1, 2)
    rows = _draw_reported(left, fits)
    target, to_loss = _times_to_loss(simulated)
    found, clock = _draw_measured(right, to_loss, real)
    for axes in (left, right):
        axes.plot([1, 32], [1, 32], ":", color=REFERENCE_COLOUR, label="linear", zorder=1)
        style.workers_axis(axes, (1, 2, 4, 8, 16, 32))
        axes.set_yscale("log")
        axes.set_yticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
        axes.minorticks_off()
        axes.legend(loc="upper left", fontsize=7, handlelength=1.6)
    left.set(title="reported, and model", ylabel="speed-up")
    right.set_title("measured here")
    return Drawn(figure, pd.DataFrame(rows + found), _facts(fits, target, to_loss, clock), clock)


def _draw_reported(axes: Axes, fits: dict[str, SpeedupFit]) -> list[dict]:
    rows = []
    shades = style.shades(len(fits))
    short = {"logistic regression on rcv1": "rcv1", "multinomial logistic regression on MNIST": "multinomial"}
    for index, (name, fit) in enumerate(fits.items()):
        span = np.arange(1, max(fit.num_workers) + 1)
        axes.plot(span, [fit.speedup(int(p)) for p in span], style.line(index), color=shades[index], linewidth=1.2)
        label = short.get(name, name.replace(", earlier table", ", earlier"))
        axes.plot(fit.num_workers, fit.reported, style.marker(index), color=shades[index], markersize=5, label=label)
        for p, value, error in zip(fit.num_workers, fit.reported, fit.errors, strict=True):
            rows.append({"what": f"reported, {name}", "workers": p, "value": value, "model": value * (1 + error)})
        rows.append({"what": f"compute seconds, {name}", "value": fit.compute})
        rows.append({"what": f"server seconds, {name}", "value": fit.server})
    return rows


def _times_to_loss(folder: pathlib.Path) -> tuple[float, dict[int, curves.Estimate]]:
    """Returns the target, and for each number of workers the speed-up in simulated seconds to it, with intervals."""
    runs = convex.read(folder)
    losses, clocks = convex.of_workers(runs, "objective"), convex.of_workers(runs, "time")
    fewest = min(losses)
    alone = losses[fewest][1].mean(axis=0)
    target = float(alone[round(_TARGET_AT * (len(alone) - 1))])
    seconds = {p: first_crossing(clocks[p][1][0], losses[p][1], target) for p in losses}
    return target, {p: curves.intervals((seconds[fewest] / found)[:, None])[0] for p, found in seconds.items()}


def _draw_measured(
    axes: Axes, to_loss: dict[int, curves.Estimate], real: pathlib.Path
) -> tuple[list[dict], pd.DataFrame]:
    look = {"color": COLOURS["APAM"], "fmt": "o-", "label": "simulated (rcv1)"}
    style.bars(axes, list(to_loss), list(to_loss.values()), look)
    rows = [{"what": "simulated, to a loss", "workers": p, **one._asdict()} for p, one in to_loss.items()]
    workers, speedups = reported.points(convex.EXPERIMENT, "speed-up")
    axes.plot(workers, speedups, style.PAPER_MARKER, color=style.PAPER_COLOUR, markersize=9, label="paper, rcv1")
    recorded = [traces.load(path) for path in real.glob("*/trace.npz")]
    by_workers = {trace.num_workers: trace for trace in recorded}
    model = fit_cluster(by_workers[1])
    compute, server = model.compute.means("compute", 1)[0], model.server.means("server", 1)[0]
    alone = _rate(by_workers[1])
    clock = []
    for p, trace in sorted(by_workers.items()):
        predicted = asynchronous_throughput(p, compute, server) * (compute + server)
        rate = _rate(trace)
        clock.append({"workers": p, "updates_per_second": rate, "speedup": rate / alone, "model": predicted})
    measured = pd.DataFrame(clock)
    axes.plot(measured["workers"], measured["speedup"], "D", color="black", markersize=5, label="real (Ray)")
    axes.plot(measured["workers"], measured["model"], "_", color="black", markersize=13, label="its model")
    return rows, measured


def _rate(trace: traces.Trace) -> float:
    rate = trace.updates_per_second
    assert rate is not None, "real runs have a clock"
    return rate


def _facts(
    fits: dict[str, SpeedupFit], target: float, to_loss: dict[int, curves.Estimate], clock: pd.DataFrame
) -> dict[str, object]:
    errors = [
        f"{name} {100 * fit.error:.1f} %, at worst {100 * fit.worst:.1f} % "
        f"(server: {100 * fit.server / fit.compute:.1f} % of a gradient)"
        for name, fit in fits.items()
    ]
    real = [f"{row['speedup']:.2f} with {row['workers']:.0f} (model {row['model']:.2f})" for _, row in clock.iterrows()]
    return {
        "fits": "; ".join(errors),
        "target": f"{target:.3g}",
        "simulated": ", ".join(f"{one.value:.3g} with {p}" for p, one in to_loss.items() if p > 1),
        "real": ", ".join(real),
        "source": reported.SOURCE,
    }
