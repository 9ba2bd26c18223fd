"""Replays a recorded run, and says whether the replay is bit-identical to it."""

import argparse
import dataclasses
import os
import pathlib
import sys
from collections.abc import Collection

import numpy as np
from jaxtyping import PyTree
from omegaconf import OmegaConf

from asyncopt.checks import InputError
from asyncopt.engine import progress
from asyncopt.engine.prepare import prepare as prepare_run
from asyncopt.engine.stepwise import digest, replay_exactly
from asyncopt.files import records
from asyncopt.run import facts, trust
from asyncopt.run.build import build
from asyncopt.run.devices import prepare_jax
from asyncopt.run.task import prepare
from asyncopt.runtime import recording


@dataclasses.dataclass(frozen=True)
class Verification:
    """The result of replaying a recorded run.

    Args:
      num_updates: K.
      differs_at: the first update after which the parameters differ; K if only the optimizer's state at the end does;
        None if nothing differs.
      text: the same in words.
    """

    num_updates: int
    differs_at: int | None
    text: str


class _DiffersError(Exception):
    """Ends a replay that differs from the run."""


def verify(folder: str | os.PathLike[str], show: bool = False, trusted: Collection[str] = ()) -> Verification:
    """Replays a recorded run with the compiled functions it was made with, and compares every iterate.

    Args:
      folder: the folder of a run with ``runtime=threads`` or ``runtime=ray``.
      show: whether to show a progress bar.
      trusted: full names of constructors that the run's configuration may name, besides those of asyncopt and Optax.

    Raises:
      InputError: if the folder holds no such run, a file is damaged, or the configuration names other code.
      OSError: if the run's data cannot be read.
    """
    record = records.load_run(folder)
    trust.check(str(pathlib.Path(folder, records.CONFIG)), record.config, trusted)
    recorded = recording.load(folder)
    task = dataclasses.replace(prepare(OmegaConf.create(dict(record.config))), trace=recorded.trace)
    prepare_jax(task.settings, task.num_side_by_side)
    run, trace = prepare_run(build(task), task.measured), recorded.trace
    update = 0

    def compare(k: int, params: PyTree) -> None:
        nonlocal update
        update = k
        if digest(params) != int(recorded.digests[k]):
            raise _DiffersError

    try:
        with progress.reporter(trace.num_updates, 1, show) as report:
            result = replay_exactly(run, report, compare)
    except _DiffersError:
        text = (
            f"differs first at update {update}: worker {trace.worker[update]}, sample {trace.sample[update]}, read at "
            f"iterate {trace.read_version[update]}, delay {trace.delay[update]}; after it the parameters are not the "
            "recorded ones"
        )
        return Verification(trace.num_updates, update, text + _other_versions(record))
    leaves = recording.final_leaves(result)
    if len(leaves) != len(recorded.leaves) or not all(map(np.array_equal, leaves, recorded.leaves)):
        text = "every iterate is the recorded one, but the optimizer's state at the end is not"
        return Verification(trace.num_updates, trace.num_updates, text + _other_versions(record))
    text = (
        f"{trace.num_updates:,} updates of {trace.num_workers} workers: every iterate is bit-identical to the "
        "recorded one, and so is the optimizer's last state"
    )
    return Verification(trace.num_updates, None, text)


def _other_versions(record: records.Record) -> str:
    """Returns the versions that have changed since the run was recorded, in words."""
    old = record.summary.get("versions", {})
    changed = [
        f"{name} was {old.get(name)}, is {new}" for name, new in facts.versions().items() if old.get(name) != new
    ]
    return f" ({'; '.join(changed)})" if changed else ""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. The exit status is 0 if nothing differs."""
    parser = argparse.ArgumentParser(prog="python -m asyncopt.verify", description=__doc__)
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
    except (InputError, OSError) as error:
        print("asyncopt.verify: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    print(result.text)
    return 0 if result.differs_at is None else 1
