"""From a configuration to a run on disk."""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import optax
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from asyncopt import plots, resolvers, resume, staleness, store
from asyncopt.checks import InputError, check_integer
from asyncopt.optim import parametric, step_size
from asyncopt.problems import Problem
from asyncopt.replay import replay
from asyncopt.traces import Trace

resolvers.register()


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a configuration describes."""

    problem: Problem
    optimizer: optax.GradientTransformation
    trace: Trace
    seeds: Sequence[int]


def run(config: DictConfig, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Runs a configuration, prints a table, and writes the run folder.

    A run that the folder holds already, of the same configuration, trace and code, is not made again.

    Args:
      config: as in ``conf/config.yaml``.
      folder: made if need be.

    Returns:
      The folder, with ``config.yaml`` (resolved), ``metrics.parquet``, ``summary.json`` and, if asked
      for, ``curve.png``.

    Raises:
      InputError: if the configuration asks for something impossible.
      OSError: if a file cannot be read or written.
    """
    _check_staleness(config)  # first, since whatever looks at the configuration resolves it
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(f"{missing[0]} has no value, expected {missing[0]}=... on the command line")
    _prepare_jax(config.precision, config.threads, len(_seeds(config.seeds)))
    folder = pathlib.Path(folder)
    trace = _trace(config)
    fingerprint = resume.fingerprint(config, trace)
    record = None if config.force else resume.finished(folder, fingerprint)
    if record is None:
        record = _run(build(config, trace), config, folder, fingerprint)
    else:
        print(f"finished before, and not run again (force=true runs it): {folder}")
    if config.plot:
        plots.save(plots.curve(record), folder / "curve.png")
    print(store.table(record))
    print(f"\n{folder}")
    return folder


def _run(experiment: Experiment, config: DictConfig, folder: pathlib.Path, fingerprint: str) -> store.Record:
    """Replays, and writes what comes out."""
    result = replay(
        experiment.problem,
        experiment.optimizer,
        experiment.trace,
        seeds=experiment.seeds,
        eval_every=config.eval_every,
        record_bounds=config.record_bounds,
        param_dtype=config.param_dtype,
        history_dtype=config.history_dtype,
        progress=config.progress,
    )
    return store.save_run(folder, config, experiment.problem, experiment.trace, result, fingerprint)


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
    trace = _instantiate("trace", config.trace)
    if config.trace._target_ == "asyncopt.traces.rounds":
        _check_rounds(config.handling, trace.num_workers)
    return trace


def _check_rounds(handling: DictConfig | None, num_workers: int) -> None:
    """Refuses an optimizer that would not step once a round with the mean of its gradients."""
    wanted = {"_target_": "asyncopt.optim.buffer_updates", "size": num_workers, "exponent": 0.0}
    if handling is None or OmegaConf.to_container(handling, resolve=True) != wanted:
        raise InputError(
            "trace: rounds are for an optimizer that steps once a round, expected +handling=buffer_updates "
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


def _prepare_jax(precision: str, threads: int | None, num_runs: int) -> None:
    if precision not in ("float32", "float64"):
        raise InputError(f"precision is {precision!r}, expected float32 or float64")
    jax.config.update("jax_enable_x64", precision == "float64")
    num_cores = len(os.sched_getaffinity(0))
    if threads is None:
        threads = max(1, num_cores // max(1, num_runs))  # no seeds at all are refused later
    _share_out_cores(min(check_integer("threads", threads, at_least=1), num_cores), num_cores)


def _share_out_cores(threads: int, num_cores: int) -> None:
    """Makes devices of ``threads`` cores each, so that seeds run side by side; once, before JAX starts.

    An update of a small model is a row of kernels of a few microseconds, and handing them from thread to thread costs
    more than it gains (`benchmarks/sparse_logistic.py` shows both); a network has work enough for several.
    """
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("PJRT_NPROC", str(threads))
        with contextlib.suppress(RuntimeError):  # an earlier job of this process started JAX, which keeps its devices
            jax.config.update("jax_num_cpu_devices", num_cores // threads)
