"""``python -m asyncopt.fit TRACE``: fits the cluster model to a recorded trace, and compares what it makes with it."""

import argparse
import json
import pathlib

from asyncopt import traces
from asyncopt.analysis import cluster_fit
from asyncopt.checks import InputError
from asyncopt.files import atomic
from asyncopt.report import commands, run_figures
from asyncopt.traces import Trace


def main(arguments: list[str] | None = None) -> int:
    """Runs the command, and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m asyncopt.fit", description=__doc__)
    parser.add_argument("trace", type=pathlib.Path, help="an .npz or a CSV of delays, or the folder of a real run")
    parser.add_argument("--column", help="of a CSV with several: a name or a number")
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic trace")
    parser.add_argument("--output", type=pathlib.Path, help="where to write (default: NAME-fit beside the trace)")
    options = parser.parse_args(arguments)
    path = options.trace / "trace.npz" if options.trace.is_dir() else options.trace
    output = options.output or path.with_name(f"{path.stem}-fit")
    try:
        print(_fit(path, options.column, options.seed, output))
    except (InputError, OSError) as error:
        return commands.refuse("asyncopt.fit", error)
    print(output)
    return 0


def _fit(path: pathlib.Path, column: str | None, seed: int, output: pathlib.Path) -> str:
    """Writes the model, a synthetic trace and the figure, and returns what there is to say."""
    recorded = traces.load(path, column)
    fitted = cluster_fit.fit_cluster(recorded)
    synthetic = fitted.trace(recorded.num_updates, seed)
    compared = cluster_fit.compare(recorded, synthetic)
    output.mkdir(parents=True, exist_ok=True)
    synthetic.save(output / "synthetic.npz")
    model = {"overrides": fitted.overrides(), "has_clock": fitted.has_clock, "comparison": compared}
    atomic.write(output / "model.json", lambda partial: partial.write_text(json.dumps(model, indent=2) + "\n"))
    run_figures.save(run_figures.delays(recorded, synthetic, path.name), output / "delays.png")
    return _text(recorded, fitted, compared)


def _text(recorded: Trace, fitted: cluster_fit.ClusterFit, compared: dict) -> str:
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
