"""Replays a recorded run, and says whether the replay is bit-identical to it."""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import PyTree
from omegaconf import OmegaConf

from asyncopt.checks import InputError
from asyncopt.engine import Result, progress
from asyncopt.engine.prepare import Prepared
from asyncopt.engine.prepare import prepare as prepare_run
from asyncopt.engine.stepwise import digest, replay_exactly
from asyncopt.files import manifest, records
from asyncopt.run import facts, messages, trust
from asyncopt.run.build import build
from asyncopt.run.devices import prepare_jax
from asyncopt.run.task import prepare
from asyncopt.runtime import recording
from asyncopt.shown import printable
from asyncopt.traces import Trace


@dataclasses.dataclass(frozen=True)
class Verification:
    """The result of replaying a recorded run.

    Args:
      num_updates: K.
      differs_at: the first update after which the parameters differ; K if they do not, but something else does; None
        if nothing differs.
      text: the same in words.
    """

    num_updates: int
    differs_at: int | None
    text: str


class _DiffersError(Exception):
    """Ends a replay that differs from the run."""


def verify(folder: str | os.PathLike[str], show: bool = False, trusted: Collection[str] = ()) -> Verification:
    """Replays a recorded run with the compiled functions it was made with, and compares everything that it recorded.

    That is every iterate, the optimizer's last state, the measurements, what ``summary.json`` says of them, and the
    SHA-256 of each file.

    Args:
      folder: the folder of a run with ``runtime=threads`` or ``runtime=ray``.
      show: whether to show a progress bar.
      trusted: full names of constructors that the run's configuration may name, besides those of asyncopt and Optax.

    Raises:
      InputError: if the folder holds no such run, a file is damaged, or the configuration names other code.
      OSError: if the run's data cannot be read.
    """
    folder = pathlib.Path(folder)
    # A changed file is replayed all the same, to say what the change is.
    record = records.load_run(folder, checked=False)
    trust.check(str(folder / records.CONFIG), record.config, trusted)
    recorded = recording.load(folder)
    config = _harmless(str(folder / records.CONFIG), record.config, recorded.trace)
    listed = manifest.read(folder) or {}
    differences = [f"{name} is not the file that was written" for name in manifest.changed(folder, listed)]
    if records.CHECKSUMS in record.summary:
        files = (records.CONFIG, records.METRICS, records.SUMMARY, recording.TRACE, recording.RECORDING)
        differences += [f"{manifest.NAME} does not list {name}" for name in files if name not in listed]
    asked = config["runtime"]["workers"] if config["runtime"] else None
    if asked != recorded.trace.num_workers:
        differences.append(
            f"runtime.workers is {asked}, and {recording.TRACE} has {recorded.trace.num_workers} workers"
        )
    task = prepare(OmegaConf.create(config))
    prepare_jax(task.settings, task.num_side_by_side)
    # Step sizes and evaluations are for the updates that were asked for; the last step may have used more.
    built = dataclasses.replace(build(task), trace=recorded.trace)
    num_updates = recorded.trace.num_updates
    first, result = _replay(prepare_run(built, task.measured, task.trace.num_updates), recorded, show)
    if result is None:
        differences.insert(0, _of_update(recorded.trace, first))
    else:
        differences[:0] = [
            *_of_leaves(recording.final_leaves(result), recorded.leaves),
            *_of_measurements(result.to_frame(), record.metrics),
            *_of_summary(facts.replayed(built, recorded.trace, result), record.summary),
            *_of_names(facts.named(task, built, recorded.trace), record.summary),
        ]
    if differences:
        return Verification(num_updates, first, "; ".join(differences) + _other_versions(record))
    text = (
        f"{num_updates:,} updates of {recorded.trace.num_workers} workers: every iterate is bit-identical to the "
        "recorded one, and so are the optimizer's last state and the measurements"
    )
    return Verification(num_updates, None, text)


def _harmless(where: str, config: Mapping[str, Any], trace: Trace) -> dict[str, Any]:
    """Returns the configuration to replay, without what would reach beyond reading the files that it names.

    Whoever wrote it may not choose the folder of compiled programs, which are machine code, nor an address to fetch
    data from.

    Args:
      where: the file that holds the configuration, for messages.
      config: the configuration as it was recorded.
      trace: the recorded trace.

    Raises:
      InputError: if it does not describe a real run, or one of more updates than the trace has, whose steps would take
        memory that no file accounts for.
    """
    runtime = config.get("runtime")
    if runtime is not None and not (isinstance(runtime, Mapping) and "workers" in runtime):
        raise InputError(f"{where}: runtime is {runtime!r}, expected a mapping with workers")
    asked = config["trace"].get("num_updates") if isinstance(config["trace"], Mapping) else None
    # The last step may have used more updates than were asked for.
    if isinstance(asked, int) and asked > trace.num_updates:
        raise InputError(
            f"{where}: trace.num_updates is {asked}, expected at most the {trace.num_updates} of {recording.TRACE}"
        )
    # Runs recorded before there were policies and local work do not have these keys.
    kept = {"policy": None, "work": None, "runtime": None, **_without_mirrors(dict(config))}
    return {**kept, "compilation_cache": True}


def _without_mirrors(settings: Any) -> Any:
    """Returns nested settings with null for each address that data would be fetched from."""
    if isinstance(settings, Mapping):
        return {key: None if key == "mirror" else _without_mirrors(value) for key, value in settings.items()}
    return [_without_mirrors(value) for value in settings] if isinstance(settings, list) else settings


def _replay(
    prepared: Prepared, recorded: recording.SavedRecording, show: bool
) -> tuple[int, Result] | tuple[int, None]:
    """Replays; returns K and the result, or the first update after which the parameters differ, and None."""
    update, num_updates = 0, recorded.trace.num_updates

    def compare(k: int, params: PyTree) -> None:
        nonlocal update
        update = k
        if digest(params) != int(recorded.digests[k]):
            raise _DiffersError

    try:
        with progress.reporter(num_updates, 1, show) as report:
            return num_updates, replay_exactly(prepared, report, compare)
    except _DiffersError:
        return update, None


def _of_update(trace: Trace, k: int) -> str:
    return (
        f"differs first at update {k}: worker {trace.worker[k]}, sample {trace.sample[k]}, read at iterate "
        f"{trace.read_version[k]}, delay {trace.delay[k]}; after it the parameters are not the recorded ones"
    )


def _of_leaves(found: Mapping[str, np.ndarray], recorded: Sequence[np.ndarray]) -> list[str]:
    """Returns which leaves of the last state differ, in words."""
    if len(found) != len(recorded):
        return [f"the last state has {len(found)} leaves, {len(recorded)} were recorded"]
    pairs = zip(found.items(), recorded, strict=True)
    names = [name for (name, leaf), other in pairs if not np.array_equal(leaf, other)]
    return [f"every iterate is the recorded one, but the last state is not: {', '.join(names)}"] if names else []


def _of_measurements(found: pd.DataFrame, recorded: pd.DataFrame) -> list[str]:
    """Returns which columns of the measurements differ, in words."""
    if list(found) != list(recorded) or len(found) != len(recorded):
        return [
            f"{records.METRICS} has {len(recorded)} rows of {', '.join(recorded)}, "
            f"expected {len(found)} of {', '.join(found)}"
        ]
    names = [name for name in found if not found[name].equals(recorded[name])]
    return [f"{records.METRICS} is not what the replay measures: {', '.join(names)}"] if names else []


def _of_summary(found: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """Returns which sections of the summary differ, in words. As JSON, nan is equal to nan."""
    names = [name for name, facts in found.items() if json.dumps(facts) != json.dumps(recorded.get(name))]
    return [f"{records.SUMMARY} is not what the replay gives: {', '.join(names)}"] if names else []


def _of_names(found: Mapping[str, Mapping[str, Any]], recorded: Mapping[str, Any]) -> list[str]:
    """Returns which labels and which facts about the rule of delays differ; an earlier version recorded fewer."""
    names = []
    for section, facts_found in found.items():
        known = recorded.get(section)
        if isinstance(known, Mapping):
            names += [f"{section}.{key}" for key, value in facts_found.items() if key in known and known[key] != value]
        elif known is not None:
            names.append(section)
    return [f"{records.SUMMARY} is not what the configuration says: {', '.join(names)}"] if names else []


def _other_versions(record: records.Record) -> str:
    """Returns the versions that have changed since the run was recorded, in words."""
    old = record.summary.get("versions")
    if not isinstance(old, dict):
        return ""
    changed = [
        f"{name} was {old.get(name)}, is {new}" for name, new in facts.versions().items() if old.get(name) != new
    ]
    return f" ({'; '.join(changed)})" if changed else ""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. The exit status is 0 if nothing differs."""
    parser = argparse.ArgumentParser(prog="asyncopt verify", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="the folder of a recorded run")
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")
    parser.add_argument(
        "--trust",
        metavar="NAME",
        action="append",
        default=[],
        help="a constructor that the run's configuration may name, such as my_package.my_optimizer; it runs that code",
    )
    options = parser.parse_args(arguments)
    try:
        result = verify(options.folder, not options.quiet, options.trust)
    except Exception as error:  # constructors of other libraries may raise anything about the values of a folder
        if messages.wants_tracebacks():
            raise
        said = messages.explain(error, list)
        if not isinstance(error, InputError | OSError):
            said = f"{options.folder}: cannot be replayed: {said}"
        print(f"asyncopt verify: {printable(said)}", file=sys.stderr)
        return 1
    print(printable(result.text))
    return 0 if result.differs_at is None else 1
