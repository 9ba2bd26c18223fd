"""From a task to a run folder: replays a trace, or trains with real workers, and writes the results."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from asyncopt import runtime
from asyncopt.checks import InputError
from asyncopt.engine import Checkpoint, Result, Run, replay
from asyncopt.files import records
from asyncopt.files.records import Record
from asyncopt.report import style
from asyncopt.report.run_summary import curve, table
from asyncopt.run import facts
from asyncopt.run.build import build
from asyncopt.run.devices import prepare_jax
from asyncopt.run.task import Task, check_rounds, constructor, errors_of, prepare
from asyncopt.traces import Trace

FINISHED = "finished before, and not run again (force=true runs it)"


def run(config: DictConfig, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Runs a configuration, prints a table, and writes the run folder.

    A run that the folder holds already, of the same configuration, trace and code, is not made again. One that was
    interrupted there is resumed from its last checkpoint.

    Args:
      config: a configuration as in ``conf/config.yaml``.
      folder: the run's folder; made if need be.

    Returns:
      The folder, with ``config.yaml`` (resolved), ``metrics.parquet``, ``summary.json`` and, if asked
      for, ``curve.png``; of a real run also ``trace.npz`` and ``recording.npz``.

    Raises:
      InputError: if the configuration asks for something impossible.
      OSError: if a file cannot be read or written.
    """
    task, folder = prepare(config), pathlib.Path(folder)
    prepare_jax(task.settings, task.num_side_by_side)
    record = finished(task, folder)
    if record is None:
        record = (_train if task.is_real else _replay)(task, folder)
    else:
        print(f"{FINISHED}: {folder}")
    return conclude(task, folder, record)


def finished(task: Task, folder: pathlib.Path) -> Record | None:
    """Returns the run in a folder, if it is whole and what the task asks for."""
    if task.settings["force"]:
        return None
    try:
        record = records.load_run(folder)
    except InputError:
        return None
    return record if record.summary.get("fingerprint") == task.fingerprint else None


def conclude(task: Task, folder: pathlib.Path, record: Record) -> pathlib.Path:
    """Prints the table of a run that is in its folder, and draws its curve, if asked for."""
    print(f"{table(record)}\n\n{folder}")
    if task.settings["plot"]:
        figure = curve(record)
        style.save(figure, folder / "curve.png")
    return folder


@contextlib.contextmanager
def hydra_errors() -> Iterator[None]:
    """Turns errors of input and of files into the kind that Hydra prints without a traceback, after all jobs."""
    try:
        yield
    except (InputError, OSError) as error:
        raise CompactHydraException(f"asyncopt: {error}") from error


def checkpoint_of(task: Task, folder: pathlib.Path, tag: str) -> Checkpoint | None:
    """Returns where a run is kept while it runs, or None if it is not to be kept."""
    every = task.settings["checkpoint_seconds"]
    return None if every is None else Checkpoint(folder / "checkpoint.npz", tag, float(every))


def save(
    task: Task,
    folder: pathlib.Path,
    made: Run,
    result: Result,
    trace: Trace | None = None,
    more: Mapping[str, Any] | None = None,
    also: Callable[[pathlib.Path], object] = lambda folder: None,
) -> Record:
    """Writes a run folder, and returns what is in it.

    Args:
      task: the configuration.
      folder: the run's folder.
      made: the objects that were made of the configuration.
      result: the results.
      trace: the recorded trace of a real run; default: the task's.
      more: further facts for the summary.
      also: writes other files into the folder.
    """
    summary = facts.summary(task, made, trace or task.trace, result)
    record = Record(task.settings, facts.metrics(result), {**summary, **(more or {})})
    records.save(folder, record, also)
    return record


def _replay(task: Task, folder: pathlib.Path) -> Record:
    """Replays the trace, and writes the results."""
    made, checkpoint = build(task), checkpoint_of(task, folder, task.fingerprint)
    result = replay(
        made.problem,
        made.optimizer,
        made.trace,
        seeds=made.seeds,
        record_bounds=False,  # what is to be recorded is among the probes
        probes=made.probes,
        **dataclasses.asdict(task.measured),
        progress=task.settings["progress"],
        checkpoint=checkpoint,
    )
    record = save(task, folder, made, result)
    if checkpoint is not None:
        checkpoint.remove()
    return record


def _train(task: Task, folder: pathlib.Path) -> Record:
    """Trains with real workers, and writes the results and the recording."""
    made, checkpoint = build(task), checkpoint_of(task, folder, task.fingerprint)
    given = dict(task.settings["runtime"])
    synchronous = given.pop("synchronous")
    if synchronous:
        check_rounds("runtime.synchronous", task.settings["handling"], given["workers"])
    make_pool = constructor("runtime", given)
    with errors_of("runtime"):
        recording = runtime.record(
            made.problem,
            made.optimizer,
            make_pool(),
            num_updates=task.trace.num_updates,
            seed=made.seeds[0],
            eval_every=task.measured.eval_every,
            param_dtype=task.measured.param_dtype,
            record_bounds=False,
            probes=made.probes,
            synchronous=synchronous,
            progress=task.settings["progress"],
            checkpoint=checkpoint,
        )
    more = {"runtime": recording.summary()}
    record = save(task, folder, made, recording.result, recording.trace, more, recording.save)
    if checkpoint is not None:
        checkpoint.remove()
    return record
