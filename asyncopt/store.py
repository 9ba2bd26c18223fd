"""Runs on disk: small files that say everything, written whole or not at all, read back as one table."""

import dataclasses
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd
from omegaconf import DictConfig, OmegaConf

from asyncopt import atomic
from asyncopt.checks import InputError
from asyncopt.problems import Problem
from asyncopt.replay import Result
from asyncopt.traces import Trace

_PACKAGES = ("asyncopt", "jax", "jaxlib", "optax", "equinox", "numpy", "scipy", "scikit-learn")
_INCIDENTS = {"workers replaced": "workers_replaced", "gradients refused": "gradients_refused"}
CONFIG, METRICS, SUMMARY = "config.yaml", "metrics.parquet", "summary.json"


@dataclasses.dataclass(frozen=True)
class Record:
    """A run as it is on disk.

    Args:
      config: resolved.
      metrics: one row for each seed and evaluation: seed, step, time, objective, gap, and so on.
      summary: facts about the run, the trace, the problem and the software.
    """

    config: Mapping[str, Any]
    metrics: pd.DataFrame
    summary: Mapping[str, Any]


def save_run(
    folder: pathlib.Path,
    config: DictConfig,
    problem: Problem,
    trace: Trace,
    result: Result,
    fingerprint: str = "",
    facts: Mapping[str, Any] | None = None,
    also: Callable[[pathlib.Path], object] = lambda folder: None,
) -> Record:
    """Writes a run folder and returns what is in it. ``summary.json`` comes last: where it is, the run is whole.

    Args:
      folder: made if need be.
      config: of the run; written resolved.
      problem: for its constants.
      trace: for its delays.
      result: of the replay.
      fingerprint: of all that the run depends on; see `asyncopt.resume`.
      facts: to be added to the summary.
      also: writes other files of the run into the folder.

    Raises:
      OSError: if a file cannot be written.
    """
    plain_config = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain_config, dict)
    known = {"fingerprint": fingerprint, **summary(problem, trace, result), **(facts or {})}
    record = Record({str(k): v for k, v in plain_config.items()}, metrics(result), known)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.alone_in(folder):
        (folder / SUMMARY).unlink(missing_ok=True)  # an earlier run's
        also(folder)
        atomic.write(folder / CONFIG, lambda path: OmegaConf.save(config, path, resolve=True))
        atomic.write(folder / METRICS, lambda path: record.metrics.to_parquet(path, index=False))
        atomic.write(folder / SUMMARY, lambda path: path.write_text(json.dumps(record.summary, indent=2) + "\n"))
    return record


def metrics(result: Result) -> pd.DataFrame:
    """Returns the measurements of a run, one row for each seed and evaluation."""
    columns = {
        "objective": result.objective,
        "gap": result.gap,
        "grad_norm_sq": result.grad_norm_sq,
        "average_objective": result.average_objective,
        "average_gap": result.average_gap,
        "drift": result.drift,
        **result.metrics,
        **(result.bound_terms or {}),
    }
    num_seeds, num_steps = len(result.seeds), len(result.step)
    frame = {"seed": np.repeat(result.seeds, num_steps), "step": np.tile(result.step, num_seeds)}
    if result.time is not None:
        frame["time"] = np.tile(result.time, num_seeds)
    frame |= {name: np.ravel(values) for name, values in columns.items() if values is not None}
    return pd.DataFrame(frame)


def summary(problem: Problem, trace: Trace, result: Result) -> dict[str, Any]:
    """Returns the facts of a run that are not measurements over time, ready for JSON."""
    constants = getattr(problem, "constants", None)
    facts = {} if constants is None else {f.name: getattr(constants, f.name) for f in dataclasses.fields(constants)}
    return {
        "trace": {
            "digest": trace.digest,
            "num_updates": trace.num_updates,
            "num_workers": trace.num_workers,
            "max_delay": trace.max_delay,
            "mean_delay": trace.mean_delay,
            "mean_square_delay": trace.mean_square_delay,
            "live_versions": trace.live_versions,
        },
        "problem": {
            "optimum": None if problem.optimum is None else float(problem.optimum),
            **{
                name: value if value is None or isinstance(value, bool) else float(value)
                for name, value in facts.items()
            },
        },
        "diverged_at": dict(zip(map(str, result.seeds), np.ravel(result.diverged_at).tolist(), strict=True)),
        "timing": {"seconds": result.seconds, "updates_per_second": result.updates_per_second},
        "versions": versions(),
    }


def versions() -> dict[str, Any]:
    """Returns what computes, and on which devices."""
    devices = [str(device) for device in jax.local_devices()]
    return {"python": platform.python_version(), "devices": devices, **package_versions()}


@functools.cache
def package_versions() -> dict[str, str]:
    """Returns the versions of the packages that compute."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def table(record: Record) -> str:
    """Returns the short table that ends a run: means over seeds, and their range."""
    trace, timing = record.summary["trace"], record.summary["timing"]
    last = record.metrics[record.metrics["step"] == trace["num_updates"]]
    names = {
        "gap": "gap F - F* at the end",
        "average_gap": "gap F - F* of the average",
        "train_accuracy": "accuracy on the training rows",
        "test_accuracy": "accuracy on held-out rows",
    }
    if "gap" not in last:
        names |= {"objective": "F at the end", "average_objective": "F of the average"}
    seeds = f"{len(last)} seeds" if len(last) > 1 else "1 seed"
    lines = [f"{trace['num_updates']:,} updates, {seeds}".ljust(34) + f"{'mean':>12}{'smallest':>12}{'largest':>12}"]
    for column, name in names.items():
        if column in last:
            values = last[column]
            lines.append(f"{name:34}{values.mean():12.5g}{values.min():12.5g}{values.max():12.5g}")
    lines += [
        f"{'delay, in updates':34}{trace['mean_delay']:12.5g}{'':12}{trace['max_delay']:12d}",
        f"{'updates a second, all seeds':34}{timing['updates_per_second']:12,.0f}",
    ]
    real = record.summary.get("runtime")
    if real is not None:
        lines.append(f"{'updates a second on the real clock':34}{real['updates_per_second']:12,.1f}")
        lines += [f"{name:34}{real[key]:12d}" for name, key in _INCIDENTS.items() if real[key]]
    diverged = {seed: k for seed, k in record.summary["diverged_at"].items() if k >= 0}
    if diverged:
        lines.append("diverged: " + ", ".join(f"seed {seed} at update {k:,}" for seed, k in diverged.items()))
    return "\n".join(lines)


def load_run(folder: str | os.PathLike[str]) -> Record:
    """Reads one run folder.

    Raises:
      InputError: if it is not a whole run; the message names the file.
    """
    folder = pathlib.Path(folder)
    for name in (CONFIG, METRICS, SUMMARY):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: not a finished run, it has no {name}")
    path = folder / SUMMARY
    try:
        facts = json.loads(path.read_text())
        path = folder / METRICS
        frame = pd.read_parquet(path)
        path = folder / CONFIG
        config = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # three libraries' own errors, all of which say that the file is damaged
        raise InputError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    sections = {str(key): value for key, value in config.items()} if isinstance(config, dict) else {}
    if (
        not {"trace", "optimizer"} <= sections.keys()
        or not isinstance(facts, dict)
        or not all(isinstance(facts.get(section), dict) for section in ("trace", "problem"))
        or not {"seed", "step"} <= set(frame)
    ):
        raise InputError(f"{folder}: not a run of asyncopt")
    return Record(sections, frame, facts)


def load_runs(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Reads every run below a folder into one tidy table.

    Args:
      folder: of one run, of a sweep, or of many.

    Returns:
      One row for each run, seed and evaluation. Besides the measurements there are ``run`` (the run's folder,
      relative), the configuration (``trace.max_delay``, ``optimizer.learning_rate``, ...) and the facts about
      trace and problem (``summary.trace.mean_square_delay``, ...). A run that is unfinished or damaged is left
      out with a warning that names it.

    Raises:
      InputError: if there is no such folder, or no whole run in it.
    """
    frames = []
    for run, record in load_records(folder):
        facts = {"trace": record.summary["trace"], "problem": record.summary["problem"]}
        constants = {**flat(record.config), **flat(facts, "summary.")}
        frames.append(record.metrics.assign(run=run, **constants))
    return pd.concat(frames, ignore_index=True)


def load_records(folder: str | os.PathLike[str]) -> Iterator[tuple[str, Record]]:
    """Reads every run below a folder, one after another, with its folder's name, relative to it.

    A run that is unfinished or damaged is left out with a warning that names it.

    Raises:
      InputError: if there is no such folder, or no whole run in it.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder, expected one with runs below it")
    found = False
    for run_folder in _run_folders(folder):
        try:
            record = load_run(run_folder)
        except InputError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
            continue
        found = True
        yield str(run_folder.relative_to(folder)), record
    if not found:
        raise InputError(f"{folder}: no finished run below it")


def _run_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns every folder that holds a run or, as Hydra's traces in it say, was to hold one."""
    holders = (path.parent for path in folder.rglob(CONFIG))
    return sorted({holder.parent if holder.name == ".hydra" else holder for holder in holders})


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with dotted keys; lists, which a cell cannot hold, as JSON."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list) else value
    return found
