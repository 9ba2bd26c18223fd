"""``asyncopt fit TRACE``: fits the cluster model to a recorded trace, and compares the two."""

import argparse
import json
import pathlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt import traces
from asyncopt.analysis import cluster_fit
from asyncopt.drawing import style
from asyncopt.files import atomic
from asyncopt.report import commands
from asyncopt.traces import Trace


def main(arguments: list[str] | None = None) -> int:
    """Runs the command, and returns its exit status."""
    parser = argparse.ArgumentParser(prog="asyncopt fit", description=__doc__)
    parser.add_argument("trace", type=pathlib.Path, help="an .npz or a CSV of delays, or the folder of a real run")
    parser.add_argument("--column", help="which column of a CSV with several: a name or a number")
    parser.add_argument("--seed", type=int, default=0, help="seed of the synthetic trace")
    parser.add_argument("--output", type=pathlib.Path, help="where to write (default: NAME-fit beside the trace)")
    options = parser.parse_args(arguments)
    path = options.trace / "trace.npz" if options.trace.is_dir() else options.trace
    output = options.output or path.with_name(f"{path.stem}-fit")
    return commands.finish("asyncopt fit", output, lambda: (_fit(path, options.column, options.seed, output), []))


def _fit(path: pathlib.Path, column: str | None, seed: int, output: pathlib.Path) -> str:
    """Writes the model, a synthetic trace and the figure, and returns the text to print."""
    recorded = traces.load(path, column)
    fitted = cluster_fit.fit_cluster(recorded)
    synthetic = fitted.trace(recorded.num_updates, seed)
    compared = cluster_fit.compare(recorded, synthetic)
    output.mkdir(parents=True, exist_ok=True)
    synthetic.save(output / "synthetic.npz")
    model = {"overrides": fitted.overrides(), "has_clock": fitted.has_clock, "comparison": compared}
    atomic.write(output / "model.json", lambda partial: partial.write_text(json.dumps(model, indent=2) + "\n"))
    style.save(delays(recorded, synthetic, path.name), output / "delays.png")

    clock = "durations as recorded" if fitted.has_clock else "from delays alone: a gradient takes 1 s on average"
    lines = [f"{recorded}\n", f"the cluster model, {clock}:", "  " + " ".join(f"'{o}'" for o in fitted.overrides())]
    lines.append(f"\n{'':24}{'recorded':>12}{'synthetic':>12}")
    for name in compared["recorded"]:
        values = (compared[side][name] for side in ("recorded", "synthetic"))
        lines.append(f"delay, {name.replace('_', ' '):17}" + "".join(f"{value:12.5g}" for value in values))
    rates = compared["updates_per_second"]
    if rates is not None:
        lines.append(f"{'updates a second':24}{rates['recorded']:12.5g}{rates['synthetic']:12.5g}")
    lines.append(f"\nshare of updates with another delay (total variation): {compared['total_variation']:.3f}")
    return "\n".join(lines)


@style.drawing
def delays(recorded: Trace, synthetic: Trace, name: str) -> Figure:
    """Returns the histogram of a recorded trace's delays beside that of the cluster model's, under the trace's name."""
    figure, axes = style.subplots((7, 4.4))
    width, edges = style.whole_bins(max(recorded.max_delay, synthetic.max_delay))
    pairs = {"recorded": recorded, "cluster model": synthetic}.items()
    labels = [f"{label}: mean {trace.mean_delay:.3g}, at most {trace.max_delay:,}" for label, trace in pairs]
    histograms(axes, (recorded, synthetic), edges, labels)
    bars = f" (bars of {width})" if width > 1 else ""
    axes.set(xlabel=f"delay, in updates{bars}", ylabel="share of updates")
    style.legend_below(figure, 2, [axes])
    title = f"{name}: {recorded.num_updates:,} updates; the model has {synthetic.num_workers} workers"
    axes.set_title(title, fontsize="medium")
    return figure


def histograms(axes: Axes, pair: tuple[Trace, Trace], edges: np.ndarray, labels: list[str]) -> list[np.ndarray]:
    """Draws the delays of a recorded trace as bars and those of the model as steps. Returns the shares of updates."""
    recorded, modelled = shares = [np.histogram(trace.delay, edges)[0] / trace.num_updates for trace in pair]
    width = 0.85 * (edges[1] - edges[0])
    axes.bar((edges[:-1] + edges[1:]) / 2, recorded, width=width, color=style.RECORDED_COLOUR, label=labels[0])
    look = {"color": style.MODEL_COLOUR, "linewidth": 1.8, "label": labels[1]}
    axes.step(edges, np.append(modelled, 0.0), where="post", **look)
    axes.set_xlim(edges[0], edges[-1])
    axes.grid(visible=False, axis="x")
    return shares
