"""From a task to a run folder: replays a trace, or trains with real workers, and writes the results."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from asyncopt import runtime, stopping
from asyncopt.checks import InputError
from asyncopt.engine import Checkpoint, Result, Run, minimum, replay
from asyncopt.files import records
from asyncopt.files.records import Record
from asyncopt.report import run_table
from asyncopt.run import facts, start_up
from asyncopt.run.build import build
from asyncopt.run.devices import prepare_jax
from asyncopt.run.task import Task, check_rounds, constructor, errors_of, prepare
from asyncopt.traces import Trace

FINISHED = "finished before, and not run again (force=true runs it)"


def run(config: DictConfig, folder: str | os.PathLike[str], in_a_sweep: bool = False) -> pathlib.Path:
    """Runs a configuration, prints a table, or a line in a sweep, and writes the run folder.

    A finished run in the folder with the same configuration, trace and code is not run again. An interrupted one is
    resumed from its last checkpoint.

    Args:
      config: a configuration as in ``conf/config.yaml``.
      folder: the run's folder, created if needed.
      in_a_sweep: whether it is one of the jobs of a sweep.

    Returns:
      The folder, with ``config.yaml`` (resolved), ``metrics.parquet``, ``summary.json``, ``SHA256SUMS`` and, if
      asked for, ``curve.png``. A real run adds ``trace.npz`` and ``recording.npz``.

    Raises:
      InputError: if the configuration asks for something impossible.
      OSError: if a file cannot be read or written.
    """
    task, folder = prepare(config), pathlib.Path(folder)
    prepare_jax(task.settings, task.num_side_by_side)
    record = finished(task, folder)
    if record is None:
        with stopping.deferred():  # what is computed is written first
            record = (_train if task.is_real else _replay)(task, folder)
    else:
        print(f"{FINISHED}: {folder}")
    return conclude(task, folder, record, in_a_sweep)


def finished(task: Task, folder: pathlib.Path) -> Record | None:
    """Returns the run in a folder if it is complete and has the task's fingerprint; else None."""
    if task.settings["force"]:
        return None
    try:
        record = records.load_run(folder)
    except (InputError, OSError):
        return None
    return record if record.summary.get("fingerprint") == task.fingerprint else None


def conclude(task: Task, folder: pathlib.Path, record: Record, in_a_sweep: bool) -> pathlib.Path:
    """Prints the table of a finished run, or its line in a sweep, and draws its curve if the task asks for it."""
    if in_a_sweep:
        print(f"{run_table.line(record)}; {folder}", flush=True)
    else:
        print(f"{run_table.table(record)}\n\n{folder}", flush=True)
    if task.settings["plot"]:
        with start_up.importing():
            from asyncopt.drawing import style
            from asyncopt.report import run_curve  # which imports matplotlib

        figure = run_curve.curve(record)
        with _saying_what_is_lost(
            "only the picture is missing: the results are written, and the same command draws it"
        ):
            style.save(figure, folder / "curve.png")
    return folder


@contextlib.contextmanager
def _saying_what_is_lost(what: str) -> Iterator[None]:
    """Adds to an error of the file system what is lost by it, and what is safe."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{error}; {what}") from error


@contextlib.contextmanager
def hydra_errors() -> Iterator[None]:
    """Turns input and file errors into the exception that Hydra prints without a traceback, after all jobs."""
    try:
        yield
    except (InputError, OSError) as error:
        raise CompactHydraException(f"asyncopt: {error}") from error


def checkpoint_of(task: Task, folder: pathlib.Path, tag: str) -> Checkpoint | None:
    """Returns the checkpoint of a run, or None if the task asks for none."""
    every = task.settings["checkpoint_seconds"]
    return None if every is None else Checkpoint(folder / "checkpoint.npz", tag, float(every))


def save(
    task: Task,
    folder: pathlib.Path,
    run: Run,
    result: Result,
    trace: Trace | None = None,
    more: Mapping[str, Any] | None = None,
    also: Callable[[pathlib.Path], Iterable[pathlib.Path]] = lambda folder: (),
) -> Record:
    """Writes a run folder, and returns what is in it.

    Args:
      task: the configuration.
      folder: the run's folder.
      run: the objects built from the configuration.
      result: the results.
      trace: the recorded trace of a real run; default: the task's.
      more: further facts for the summary.
      also: writes other files into the folder, and returns their paths.

    Raises:
      InputError: if F is less than its minimum somewhere.
      OSError: if a file cannot be written.
    """
    minimum.check(run.problem, result.params, result)
    summary = facts.summary(task, run, trace or task.trace, result)
    record = Record(task.settings, result.to_arrays(), {**summary, **(more or {})})
    with _saying_what_is_lost("the results are not written; the same command runs it again, from its last checkpoint"):
        records.save(folder, record, also)
    return record


def _replay(task: Task, folder: pathlib.Path) -> Record:
    """Replays the trace, and writes the results."""
    run, checkpoint = build(task), checkpoint_of(task, folder, task.fingerprint)
    result = replay(
        run.problem,
        run.optimizer,
        run.trace,
        seeds=run.seeds,
        record_bounds=False,  # the probes are chosen already
        probes=run.probes,
        work=run.work,
        **dataclasses.asdict(task.measured),
        progress=task.settings["progress"],
        checkpoint=checkpoint,
    )
    record = save(task, folder, run, result)
    if checkpoint is not None:
        checkpoint.remove()
    return record


def _train(task: Task, folder: pathlib.Path) -> Record:
    """Trains with real workers, and writes the results and the recording."""
    run, checkpoint = build(task), checkpoint_of(task, folder, task.fingerprint)
    pool_settings = dict(task.settings["runtime"])
    synchronous = pool_settings.pop("synchronous")
    if synchronous:
        check_rounds("runtime.synchronous", task.settings["handling"], pool_settings["workers"])
    with errors_of("policy"):
        policy = None if task.settings["policy"] is None else constructor("policy", task.settings["policy"])()
    make_pool = constructor("runtime", pool_settings)
    with errors_of("runtime"):
        recording = runtime.record(
            run.problem,
            run.optimizer,
            make_pool(),
            num_updates=task.trace.num_updates,
            seed=run.seeds[0],
            eval_every=task.measured.eval_every,
            average=task.measured.average,
            param_dtype=task.measured.param_dtype,
            record_bounds=False,
            probes=run.probes,
            synchronous=synchronous,
            policy=policy,
            progress=task.settings["progress"],
            checkpoint=checkpoint,
        )
    more = {"runtime": recording.summary()}
    record = save(task, folder, run, recording.result, recording.trace, more, recording.save)
    if checkpoint is not None:
        checkpoint.remove()
    return record
