"""From a configuration to a run on disk."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import optax
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from asyncopt import plots, store
from asyncopt.checks import InputError, check_integer
from asyncopt.optim import step_size
from asyncopt.problems import Problem
from asyncopt.replay import Result, replay
from asyncopt.traces import Trace


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a configuration describes."""

    problem: Problem
    optimizer: optax.GradientTransformation
    trace: Trace
    seeds: Sequence[int]


def run(config: DictConfig, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Runs a configuration, prints a table, and writes the run folder.

    Args:
      config: as in ``conf/config.yaml``.
      folder: made if need be.

    Returns:
      The folder, with ``config.yaml`` (resolved), ``metrics.parquet``, ``summary.json`` and ``curve.png``.

    Raises:
      InputError: if the configuration asks for something impossible.
      OSError: if a file cannot be read or written.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(f"{missing[0]} has no value, expected {missing[0]}=... on the command line")
    _prepare_jax(config.precision)
    experiment = build(config)
    result = replay(
        experiment.problem,
        experiment.optimizer,
        experiment.trace,
        seeds=experiment.seeds,
        eval_every=config.eval_every,
        record_bounds=config.record_bounds,
        progress=config.progress,
    )
    folder = pathlib.Path(folder)
    record = store.save_run(folder, config, experiment.problem, experiment.trace, result)
    plots.save(plots.curve(record), folder / "curve.png")
    print(store.table(record))
    print(f"\n{folder}")
    return folder


def build(config: DictConfig) -> Experiment:
    """Makes the objects that a configuration names.

    Raises:
      InputError: if one of them refuses its settings; the message starts with the config group.
    """
    trace = _instantiate("trace", config.trace)
    problem = _instantiate("problem", config.problem)
    settings = dict(config.optimizer)
    if config.constraint is not None and "constraint" not in settings:
        raise InputError(f"optimizer: {settings['_target_']} keeps no constraint, expected optimizer=apam")
    try:
        settings["learning_rate"] = step_size(
            settings.pop("schedule", "constant"), settings["learning_rate"], trace.num_updates
        )
    except InputError as error:
        raise InputError(f"optimizer: {error}") from error
    if "constraint" in settings:
        settings["constraint"] = getattr(problem, "constraint", None)
    optimizer = _instantiate("optimizer", settings)
    return Experiment(problem, optimizer, trace, _seeds(config.seeds))


def _instantiate(group: str, settings: Any) -> Any:
    try:
        return instantiate(settings, _convert_="all")
    except InstantiationException as error:
        # Hydra wraps what the constructor said; these three are about the user's input.
        cause = error.__cause__
        if isinstance(cause, InputError | OSError | TypeError):
            raise InputError(f"{group}: {cause}") from error
        raise


def _seeds(seeds: int | ListConfig) -> Sequence[int]:
    if isinstance(seeds, ListConfig):
        return [check_integer("seeds", seed, at_least=0) for seed in seeds]
    return range(check_integer("seeds", seeds, at_least=1))


def _prepare_jax(precision: str) -> None:
    if precision not in ("float32", "float64"):
        raise InputError(f"precision is {precision!r}, expected float32 or float64")
    jax.config.update("jax_enable_x64", precision == "float64")
    _one_device_a_core()


@functools.cache
def _one_device_a_core() -> None:
    """Makes each core a JAX device of its own, so that seeds run side by side; once, before JAX starts."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
