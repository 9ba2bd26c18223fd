"""``python -m asyncopt.verify RUN_FOLDER``: is the replay of a recorded run the run, to the last bit?"""

import argparse
import dataclasses
import os
import pathlib

import numpy as np
from jaxtyping import PyTree
from omegaconf import OmegaConf

from asyncopt.checks import InputError
from asyncopt.engine import Run, progress
from asyncopt.engine.prepare import prepare
from asyncopt.engine.stepwise import digest, replay_exactly
from asyncopt.files import records
from asyncopt.report import commands
from asyncopt.run import experiment
from asyncopt.run.devices import prepare_jax
from asyncopt.runtime import recording


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a replay said of a recorded run.

    Args:
      num_updates: K.
      differs_at: first update after which the parameters are not the recorded ones; K if all are but the optimizer's
        state at the end is not; None if nothing differs.
      text: the same in words.
    """

    num_updates: int
    differs_at: int | None
    text: str


class _DiffersError(Exception):
    """Ends a replay that has gone another way."""


def verify(folder: str | os.PathLike[str], show: bool = False) -> Verification:
    """Replays a recorded run with the compiled functions it was made with, and compares every iterate.

    Args:
      folder: of a run with ``runtime=threads`` or ``runtime=ray``.
      show: a progress bar.

    Raises:
      InputError: if the folder holds no such run, or a file is damaged.
      OSError: if the run's data cannot be read.
    """
    record = records.load_run(folder)
    kept = recording.load(folder)
    config = OmegaConf.create(dict(record.config))
    prepare_jax(config, experiment.num_side_by_side(config))
    made = experiment.build(config, kept.trace)
    settings = experiment.settings_of(record.config)
    run = prepare(Run(made.problem, made.optimizer, kept.trace, made.seeds), settings)
    trace = kept.trace
    now = 0

    def compare(k: int, params: PyTree) -> None:
        nonlocal now
        now = k
        if digest(params) != int(kept.digests[k]):
            raise _DiffersError

    try:
        with progress.reporter(trace.num_updates, 1, show) as report:
            result = replay_exactly(run, settings, report, compare)
    except _DiffersError:
        text = (
            f"differs first at update {now}: worker {trace.worker[now]}, sample {trace.sample[now]}, read at iterate "
            f"{trace.read_version[now]}, delay {trace.delay[now]}; after it the parameters are not the recorded ones"
        )
        return Verification(trace.num_updates, now, text + _other_versions(record))
    leaves = recording.final_leaves(result)
    if len(leaves) != len(kept.leaves) or not all(map(np.array_equal, leaves, kept.leaves)):
        text = "every iterate is the recorded one, but the optimizer's state at the end is not"
        return Verification(trace.num_updates, trace.num_updates, text + _other_versions(record))
    text = (
        f"{trace.num_updates:,} updates of {trace.num_workers} workers: every iterate is the recorded one, to the last "
        "bit, and so is the optimizer's state at the end"
    )
    return Verification(trace.num_updates, None, text)


def _other_versions(record: records.Record) -> str:
    """Returns what is not as it was when the run was recorded, for a replay that differs."""
    then = record.summary.get("versions", {})
    changed = [
        f"{name} was {then.get(name)}, is {now}" for name, now in records.versions().items() if then.get(name) != now
    ]
    return f" ({'; '.join(changed)})" if changed else ""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; the exit status is 0 if nothing differs."""
    parser = argparse.ArgumentParser(prog="python -m asyncopt.verify", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="of a recorded run")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    try:
        found = verify(options.folder, not options.quiet)
    except (InputError, OSError) as error:
        return commands.refuse("asyncopt.verify", error)
    print(found.text)
    return 0 if found.differs_at is None else 1
