"""``python -m figures``: makes the gallery, after the runs of its sweeps that are missing.

`GALLERY` lists the figures. Sweeps go to ``outputs/figures/SCALE``; pictures, numbers (CSV) and captions go to
``figures/gallery``.
"""

import argparse
import functools
import hashlib
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import hydra
import matplotlib
from omegaconf import OmegaConf, open_dict

from asyncopt import InputError
from asyncopt.drawing import style
from asyncopt.files import atomic, fingerprints
from asyncopt.problems.data.reuters import FILES as RCV1_FILES
from asyncopt.problems.data.source import find
from figures import artificial_delay, convex, delays, networks, phase, rates, speedup
from figures.drawn import RC, Drawn

ROOT = pathlib.Path(__file__).parents[1]
OUTPUT = pathlib.Path(__file__).parent / "gallery"


class Figure(NamedTuple):
    """A figure of the gallery."""

    title: str
    sweeps: tuple[str, ...]  # names below sweeps/; several if the figure also shows the runs of another one
    draw: Callable[..., Drawn]  # takes the folders with the sweeps' runs, in this order
    data: Sequence[str] = ()  # the paper's own data set and the files it may come in; used if it is on this machine


_RCV1 = ("rcv1", *RCV1_FILES)
_MNIST = ("mnist", "train-images-idx3-ubyte.gz", "train-images-idx3-ubyte")
_LENET5, _PERCEPTRON = (functools.partial(networks.draw, experiment=name) for name in ("LeNet-5", "perceptron"))

GALLERY = {
    "convex": Figure("Convex, shared memory", ("figures/convex", "figures/convex_restarts"), convex.draw, _RCV1),
    "speedup": Figure("Speed-up", ("figures/convex", "figures/real_runs"), speedup.draw, _RCV1),
    "lenet5": Figure("LeNet-5", ("figures/lenet5",), _LENET5, _MNIST),
    "perceptron": Figure("Perceptron", ("figures/perceptron",), _PERCEPTRON, _MNIST),
    "artificial_delay": Figure("Artificial delay", ("figures/artificial_delay",), artificial_delay.draw),
    "convex_rate": Figure("Convex rate", ("convex_rate",), rates.draw),
    "nonconvex_rate": Figure("Non-convex rate", ("nonconvex_rate",), rates.draw),
    "threshold": Figure("Phase diagram, convex", ("threshold",), phase.draw),
    "threshold_nonconvex": Figure("Phase diagram, non-convex", ("threshold_nonconvex",), phase.draw),
    "delays": Figure("Delays", ("figures/delays",), delays.draw),
}


def make(name: str, scale: str, runs: pathlib.Path, output: pathlib.Path) -> bool:
    """Makes the missing runs of a figure's sweeps, draws it, and writes picture, data and caption to ``output``.

    ``name`` is a key of `GALLERY`, ``scale`` is "laptop" or "paper", ``runs`` is the folder for the sweeps. Returns
    False if the same code already made all of them from the same sweeps.

    Raises an InputError if a sweep fails or its runs do not suit the figure, an OSError if a file cannot be written.
    """
    figure = GALLERY[name]
    overrides = _own_data(*figure.data) if figure.data else []
    sweeps = [at_scale(sweep, scale) for sweep in figure.sweeps]
    code = [path.read_text() for path in sorted(pathlib.Path(__file__).parent.glob("*")) if path.is_file()]
    versions = [fingerprints.source(), str(fingerprints.package_versions()), matplotlib.__version__]
    made_from = _digest(*code, *versions, *overrides, *map(_configuration, sweeps))
    stamp = runs / f"{name}.made"
    if stamp.exists() and stamp.read_text() == _digest(made_from, *_made(name, output)):
        return False
    folders = [swept(sweep, runs, overrides) for sweep in sweeps]
    with matplotlib.rc_context(RC):
        drawn = figure.draw(*folders)
        output.mkdir(parents=True, exist_ok=True)
        style.save(drawn.figure, output / f"{name}.png")
    for suffix, table in ((".csv", drawn.data), ("_clock.csv", drawn.clock)):
        if table is not None:
            atomic.write(output / f"{name}{suffix}", lambda path, table=table: table.to_csv(path, index=False))
    atomic.write(output / f"{name}.md", lambda path: path.write_text(drawn.caption))
    atomic.write(stamp, lambda path: path.write_text(_digest(made_from, *_made(name, output))))
    return True


def at_scale(sweep: str, scale: str) -> str:
    """Returns the sweep with the paper's sizes if the scale is "paper" and there is one; else the sweep itself."""
    paper = sweep.replace("figures/", "figures/paper/")
    return paper if scale == "paper" and (ROOT / "sweeps" / f"{paper}.yaml").exists() else sweep


def swept(sweep: str, runs: pathlib.Path, overrides: Sequence[str]) -> pathlib.Path:
    """Runs the missing jobs of a sweep, at most once in a process, and returns its folder."""
    # Each list of jobs has its own folder. Otherwise runs of an earlier, longer list would be part of this one.
    folder = runs / f"{pathlib.Path(sweep).name}-{_digest(_configuration(sweep))[:6]}"
    _run(sweep, folder, tuple(overrides))
    return folder


def _own_data(name: str, *files: str) -> list[str]:
    """Returns the override that selects the paper's data set, if one of its files is on this machine."""
    try:
        find(None, name, files, "")
    except InputError:
        return []
    return [f"data={name}"]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _made(name: str, output: pathlib.Path) -> list[str]:
    """Returns the hashes of those of a figure's files that exist."""
    paths = [output / f"{name}{suffix}" for suffix in (".png", ".csv", "_clock.csv", ".md")]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.exists()]


def _configuration(sweep: str) -> str:
    """Returns a sweep's configuration and the values that it sweeps over."""
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = hydra.compose("config", [f"+sweep={sweep}"], return_hydra_config=True)
    values = OmegaConf.to_yaml(config.hydra.sweeper.params)
    with open_dict(config):
        del config["hydra"]
    return values + OmegaConf.to_yaml(config)


@functools.cache
def _run(sweep: str, folder: pathlib.Path, overrides: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "asyncopt", "-m", f"+sweep={sweep}", "hydra/launcher=asyncopt_vectorized"]
    command += [f"hydra.sweep.dir={folder}", "progress=true", *overrides]
    print(f"sweep {sweep}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    # The tables of single runs go to a file, or they would bury the progress bars on the standard error.
    with open(folder / "output.txt", "w") as output:
        process = subprocess.run(command, stdout=output, check=False, cwd=ROOT)
    if process.returncode:
        raise InputError(f"sweep {sweep} ended with status {process.returncode}; see above, and {folder}/output.txt")


def index(output: pathlib.Path, scale: str) -> str:
    """Returns the gallery's page, with the figures that have been made."""
    parts = ["# Gallery", _INTRODUCTION.format(scale=scale)]
    for name, figure in GALLERY.items():
        caption = output / f"{name}.md"
        if caption.exists():
            files = f"Numbers: [{name}.csv]({name}.csv)"
            if (output / f"{name}_clock.csv").exists():
                files += f", by the clock of this machine: [{name}_clock.csv]({name}_clock.csv)"
            runs = ", ".join(f"`+sweep={at_scale(sweep, scale)}`" for sweep in figure.sweeps)
            parts += [f"## {figure.title}", f"![{figure.title}]({name}.png)", caption.read_text().strip()]
            parts += [f"{files}. Runs: {runs}."]
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = (
    "Made by `make figures SCALE={scale}`. `laptop` takes 20 minutes on two cores; `paper` has the paper's sizes, for "
    "large machines. The captions say what was run, what the paper reported, and where and why the two differ."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, makes the figures, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m figures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which figures (default: all): {', '.join(GALLERY)}")
    parser.add_argument(
        "--scale", choices=("laptop", "paper"), default="laptop", help="sizes for two cores, or those of the paper"
    )
    parser.add_argument("--runs", type=pathlib.Path, help="folder of the sweeps (default: outputs/figures/SCALE)")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="folder of pictures, data and captions")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(GALLERY))
    if unknown:
        parser.error(f"no figure {unknown[0]}, expected one of {', '.join(GALLERY)}")
    runs = (options.runs or ROOT / "outputs" / "figures" / options.scale).resolve()
    failed = []
    for name in options.names or GALLERY:
        start = time.monotonic()
        try:
            new = make(name, options.scale, runs, options.output)
        except (InputError, OSError) as error:  # the other figures are still made
            failed.append(name)
            print(f"python -m figures: {name}: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            print(f"python -m figures: stopped at {name}; the same command continues there", file=sys.stderr)
            return 130
        else:
            duration = f"{time.monotonic() - start:.0f} s" if new else "nothing has changed"
            print(f"{name}: {duration}, {options.output / name}.png", flush=True)
    atomic.write(options.output / "index.md", lambda path: path.write_text(index(options.output, options.scale)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
