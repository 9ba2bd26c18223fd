"""From a configuration to a run on disk."""

import contextlib
import contextvars
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import optax
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from asyncopt import runtime, traces
from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.engine import Checkpoint, Result, Settings, replay
from asyncopt.files import fingerprints, records
from asyncopt.optim import parametric, step_size
from asyncopt.problems import Problem
from asyncopt.report import run_figures
from asyncopt.run import resolvers, staleness
from asyncopt.run.devices import prepare_jax
from asyncopt.traces import Trace

resolvers.register()


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a configuration describes."""

    problem: Problem
    optimizer: optax.GradientTransformation
    trace: Trace
    seeds: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Task:
    """A configuration whose values have been looked at, on its way to a run.

    Args:
      config: as in ``conf/config.yaml``, resolved.
      settings: the same, as plain values.
      trace: that it asks for; of a real run, whose trace nobody knows yet, one of the same length.
      seeds: likewise.
      fingerprint: of all that decides what comes out; see `asyncopt.resume`.
    """

    config: DictConfig
    settings: dict[str, Any]
    trace: Trace
    seeds: Sequence[int]
    fingerprint: str

    @property
    def replay_settings(self) -> Settings:
        """How the run is measured."""
        return settings_of(self.settings)


def settings_of(config: Mapping[str, Any]) -> Settings:
    """Returns how a resolved configuration wants a run measured."""
    return Settings(**{name: config[name] for name in Settings.__dataclass_fields__})


@dataclasses.dataclass(frozen=True)
class Ahead:
    """What a sweep has done for a job before the job itself begins."""

    task: Task
    record: records.Record | None = None  # of a run that was finished before
    made: tuple[Problem, Result] | None = None  # of one that was made together with others


_ahead: contextvars.ContextVar[Ahead | None] = contextvars.ContextVar("ahead", default=None)


@contextlib.contextmanager
def made_ahead(ahead: Ahead | None) -> Iterator[None]:
    """Lets `run` take what has been made already, if it is asked for that very configuration."""
    token = _ahead.set(ahead)
    try:
        yield
    finally:
        _ahead.reset(token)


def run(config: DictConfig, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Runs a configuration, prints a table, and writes the run folder.

    A run that the folder holds already, of the same configuration, trace and code, is not made again; one that was
    interrupted there goes on from its last checkpoint.

    Args:
      config: as in ``conf/config.yaml``.
      folder: made if need be.

    Returns:
      The folder, with ``config.yaml`` (resolved), ``metrics.parquet``, ``summary.json`` and, if asked
      for, ``curve.png``; of a real run also ``trace.npz`` and ``recording.npz``.

    Raises:
      InputError: if the configuration asks for something impossible.
      OSError: if a file cannot be read or written.
    """
    folder = pathlib.Path(folder)
    ahead = _ahead.get()
    if ahead is None or OmegaConf.to_container(config, resolve=True) != ahead.task.settings:
        check(config)
        prepare_jax(config, num_side_by_side(config))
        task = prepare(config)
        ahead = Ahead(task, finished(task, folder))
    task, record = ahead.task, ahead.record
    if record is not None:
        print(f"finished before, and not run again (force=true runs it): {folder}")
    elif ahead.made is not None:
        record = records.save_run(folder, config, ahead.made[0], task.trace, ahead.made[1], task.fingerprint)
    else:
        record = (_run if config.runtime is None else _run_for_real)(task, folder)
    if config.plot:
        run_figures.save(run_figures.curve(record), folder / "curve.png")
    print(records.table(record))
    print(f"\n{folder}")
    return folder


def num_side_by_side(config: DictConfig) -> int:
    """Returns how many share the cores: seeds of a replay, or workers of a real run."""
    return len(_seeds(config.seeds)) if config.runtime is None else config.runtime.workers


def check(config: DictConfig) -> None:
    """Refuses a configuration that cannot be resolved, or that would not do what it seems to ask for.

    Raises:
      InputError: with the key and what was expected.
    """
    _check_staleness(config)  # first, since whatever looks at the configuration resolves it
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(f"{missing[0]} has no value, expected {missing[0]}=... on the command line")
    seeds = _seeds(config.seeds)
    if config.runtime is not None:
        check_integer("runtime.workers", config.runtime.workers, at_least=1)
        if len(seeds) != 1 or config.history_dtype is not None:
            raise InputError(
                f"seeds is {config.seeds} and history_dtype {config.history_dtype}, expected one seed, seeds=[0], and "
                "history_dtype=null: a real run keeps no history, and a sweep makes several, -m seeds=[0],[1]"
            )
    if config.checkpoint_seconds is not None:
        check_number("checkpoint_seconds", config.checkpoint_seconds, above=0)


def prepare(config: DictConfig) -> Task:
    """Makes the trace of a configuration that has been checked.

    Raises:
      InputError: if the trace refuses its settings.
    """
    settings = OmegaConf.to_container(config, resolve=True)
    assert isinstance(settings, dict)
    named = {str(key): value for key, value in settings.items()}
    config = OmegaConf.create(named)
    trace = _trace(config)
    return Task(config, named, trace, _seeds(config.seeds), fingerprints.fingerprint(named, trace))


def finished(task: Task, folder: pathlib.Path) -> records.Record | None:
    """Returns the run in a folder if it is whole and what is asked for, and need not be made again."""
    return None if task.config.force else fingerprints.finished(folder, task.fingerprint)


def checkpoint_of(config: DictConfig, folder: pathlib.Path, tag: str) -> Checkpoint | None:
    """Returns where a run on its way is kept, if it is to be."""
    every = config.checkpoint_seconds
    return None if every is None else Checkpoint(folder / "checkpoint.npz", tag, float(every))


def _run(task: Task, folder: pathlib.Path) -> records.Record:
    """Replays, and writes what comes out."""
    experiment = build(task.config, task.trace)
    checkpoint = checkpoint_of(task.config, folder, task.fingerprint)
    result = replay(
        experiment.problem,
        experiment.optimizer,
        experiment.trace,
        seeds=experiment.seeds,
        **dataclasses.asdict(task.replay_settings),
        progress=task.config.progress,
        checkpoint=checkpoint,
    )
    record = records.save_run(folder, task.config, experiment.problem, experiment.trace, result, task.fingerprint)
    if checkpoint is not None:
        checkpoint.remove()
    return record


def _run_for_real(task: Task, folder: pathlib.Path) -> records.Record:
    """Trains with real workers, and writes what comes out and what happened."""
    experiment = build(task.config, task.trace)
    settings = dict(task.config.runtime)
    synchronous = settings.pop("synchronous")
    if synchronous:
        _check_rounds("runtime.synchronous", task.config.handling, settings["workers"])
    crew = _instantiate("runtime", OmegaConf.create(settings))
    checkpoint = checkpoint_of(task.config, folder, task.fingerprint)
    measured = dataclasses.asdict(task.replay_settings)
    del measured["history_dtype"]
    with _errors_of("runtime"):
        recording = runtime.record(
            experiment.problem,
            experiment.optimizer,
            crew,
            num_updates=experiment.trace.num_updates,
            seed=experiment.seeds[0],
            **measured,
            synchronous=synchronous,
            progress=task.config.progress,
            checkpoint=checkpoint,
        )
    record = records.save_run(
        folder,
        task.config,
        experiment.problem,
        recording.trace,
        recording.result,
        task.fingerprint,
        {"runtime": recording.summary()},
        recording.save,
    )
    if checkpoint is not None:
        checkpoint.remove()
    return record


def build(config: DictConfig, trace: Trace | None = None) -> Experiment:
    """Makes the objects that a configuration names.

    Args:
      config: as in ``conf/config.yaml``.
      trace: its trace, if that has been made already.

    Raises:
      InputError: if one of them refuses its settings; the message starts with the config group.
    """
    if config.constraint is not None and "constraint" not in config.problem:
        raise InputError(f"problem: {config.problem._target_} takes no constraint, expected constraint=null")
    trace = trace or _trace(config)
    problem = _problem(json.dumps(OmegaConf.to_container(config.problem, resolve=True)), config.precision)
    settings = dict(config.optimizer)
    objects: dict[str, Any] = {}
    if "constraint" in settings:
        # The problem's own object: F* and the steps must be about the same set.
        objects["constraint"] = getattr(problem, "constraint", None)
        del settings["constraint"]
    elif config.constraint is not None:
        raise InputError(f"optimizer: {settings['_target_']} keeps no constraint, expected optimizer=apam")
    with _errors_of("optimizer"):
        alpha, schedule = settings.pop("learning_rate"), settings.pop("schedule")
        objects["learning_rate"] = step_size(schedule, alpha, trace.num_updates)
        base = _constructor(settings)
        optimizer = parametric(base.func, **base.keywords, **objects)
    if config.handling is not None:
        with _errors_of("handling"):
            wrapper = _constructor(config.handling)
            wrapper(optimizer)  # for its checks, so that what it refuses is not blamed on the optimizer
        make = _Handled(base.func, wrapper.func, tuple(sorted(wrapper.keywords.items())))
        optimizer = parametric(make, **base.keywords, **objects)
    return Experiment(problem, optimizer, trace, _seeds(config.seeds))


def _trace(config: DictConfig) -> Trace:
    recorded = config.trace._target_ == "asyncopt.runtime.record"
    if recorded and config.runtime is not None:
        with _errors_of("trace"):
            return traces.synchronous(config.trace.num_updates)
    if recorded:
        raise InputError(
            "trace: trace=recorded is of real runs, expected runtime=threads, or trace=file trace.path=..."
        )
    if config.runtime is not None:
        raise InputError(
            f"trace: a real run makes its own, expected no {config.trace._target_}, but trace.num_updates=..."
        )
    trace = _instantiate("trace", config.trace)
    if config.trace._target_ == "asyncopt.traces.rounds":
        _check_rounds("trace", config.handling, trace.num_workers)
    return trace


def _check_rounds(name: str, handling: DictConfig | None, num_workers: int) -> None:
    """Refuses an optimizer that would not step once a round with the mean of its gradients."""
    wanted = {"_target_": "asyncopt.optim.buffer_updates", "size": num_workers, "exponent": 0.0}
    if handling is None or OmegaConf.to_container(handling, resolve=True) != wanted:
        raise InputError(
            f"{name}: rounds are for an optimizer that steps once a round, expected +handling=buffer_updates "
            f"handling.size={num_workers} handling.exponent=0, as +method=synchronous_amsgrad sets it"
        )


@dataclasses.dataclass(frozen=True)
class _Handled:
    """A constructor of an optimizer in a wrapper; equal ones share a compilation."""

    base: Callable[..., optax.GradientTransformation]
    wrapper: Callable[..., optax.GradientTransformation]
    settings: tuple[tuple[str, Any], ...]  # of the wrapper

    def __call__(self, **base_settings: Any) -> optax.GradientTransformation:
        return self.wrapper(self.base(**base_settings), **dict(self.settings))


@functools.lru_cache(maxsize=1)
def _problem(settings: str, precision: str) -> Problem:
    """Makes a problem from its configuration in JSON; a sweep's next job with the same one need not read data again.

    Args:
      settings: all that it is made of.
      precision: of its arrays; JAX knows it already, but the cache must, too.
    """
    del precision
    return _instantiate("problem", OmegaConf.create(json.loads(settings)))


def _instantiate(group: str, settings: Any) -> Any:
    """Calls the ``_target_`` of ``settings`` with them."""
    with _errors_of(group):
        return _constructor(settings)()


def _constructor(settings: Any) -> functools.partial:
    """Returns the ``_target_`` of ``settings`` and its arguments; the caller adds objects that Hydra must not touch."""
    return instantiate(settings, _convert_="all", _partial_=True)


@contextlib.contextmanager
def _errors_of(group: str) -> Iterator[None]:
    """Turns what a constructor says about the user's input into an InputError that starts with the config group."""
    try:
        yield
    except (InstantiationException, InputError, OSError, TypeError) as error:
        said = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(said, InputError | OSError) or "unexpected keyword argument" in str(said):
            raise InputError(f"{group}: {said}") from error
        raise


def _check_staleness(config: DictConfig) -> None:
    """Refuses a rule that cannot be read, and one that the trace does not ask for: it would change nothing."""
    if config.staleness is None:
        return
    staleness.parse(config.staleness)
    unresolved = OmegaConf.to_container(config.trace, resolve=False)
    assert isinstance(unresolved, dict)
    if not any(str(value).startswith(("${staleness_or:", "${workers_or:")) for value in unresolved.values()):
        raise InputError(
            f"staleness is {config.staleness!r}, but the delays of {config.trace._target_} were set otherwise; "
            "expected staleness=null, or a trace with one such setting, left alone"
        )


def _seeds(seeds: int | ListConfig) -> Sequence[int]:
    if isinstance(seeds, ListConfig):
        return [check_integer("seeds", seed, at_least=0) for seed in seeds]
    return range(check_integer("seeds", seeds, at_least=1))
