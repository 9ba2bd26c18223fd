"""What one run needs before it starts: checked input, plan, keys, starts."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, DTypeLike, Int, Key, PyTree

from asyncopt.checks import InputError, check_integer
from asyncopt.engine import loop
from asyncopt.engine.plan import Plan, plan
from asyncopt.problems import Problem
from asyncopt.traces import Trace

# Evaluations of a run when the caller does not say how often: this many evenly spaced, and before the first of them
# these many each time the number of updates doubles, so that what is quick at the start is seen.
_DEFAULT_EVALUATIONS = 100
_EARLY_EVALUATIONS_A_DOUBLING = 4


@dataclasses.dataclass(frozen=True)
class Run:
    """What is run: a problem, an optimizer, a trace, and seeds of starts and mini-batches."""

    problem: Problem
    optimizer: optax.GradientTransformation
    trace: Trace
    seeds: Sequence[int]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How it is run and measured; see `asyncopt.replay.replay`."""

    eval_every: int | None = None
    record_bounds: bool = True
    param_dtype: DTypeLike | None = None
    history_dtype: DTypeLike | None = None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A run that is ready to start.

    Args:
      problem: of the run.
      optimizer: that takes extra arguments.
      trace: of the run.
      seeds: as integers.
      slots: the plan of the history.
      steps: updates made at each evaluation.
      starts: iterate 0 of each seed.
      batch_keys: of the mini-batches of each seed.
    """

    problem: Problem
    optimizer: optax.GradientTransformationExtraArgs
    trace: Trace
    seeds: tuple[int, ...]
    slots: Plan
    steps: Int[np.ndarray, " E"]
    starts: list[PyTree]
    batch_keys: list[Key[Array, " K"]]

    @property
    def schedule(self) -> loop.Schedule:
        """The trace and its plan as the loop takes them."""
        columns = (self.slots.read_slot, self.slots.write_slot, self.trace.delay)
        return loop.Schedule(*(jnp.asarray(values, jnp.int32) for values in columns))


def prepare(run: Run, settings: Settings) -> Prepared:
    """Checks what is to be run, and makes what it starts from.

    Raises:
      InputError: if something is out of range, or the start is outside a constraint.
      TypeError: if problem, optimizer or trace is something else.
    """
    _check_types(run.problem, run.optimizer, run.trace)
    seeds = tuple(_check_seed(seed) for seed in run.seeds)
    if not seeds:
        raise InputError("seeds is empty, expected at least one seed")
    steps = evaluation_steps(run.trace.num_updates, settings.eval_every)
    optimizer = optax.with_extra_args_support(run.optimizer)
    keys = [jax.random.key(seed) for seed in seeds]
    starts = [run.problem.init(loop.init_key(key)) for key in keys]
    if settings.param_dtype is not None:
        param_dtype = _check_dtype("param_dtype", settings.param_dtype)
        starts = [jax.tree.map(lambda x: x.astype(param_dtype), start) for start in starts]
    if settings.history_dtype is not None:
        _check_dtype("history_dtype", settings.history_dtype)
    _check_starts(run.problem, starts)
    for params in starts:
        optimizer.init(params)  # which may refuse it; compiled, it could not
    samples = jnp.asarray(run.trace.sample, jnp.int32)
    batch_keys = [loop.batch_keys(key, samples) for key in keys]
    return Prepared(run.problem, optimizer, run.trace, seeds, plan(run.trace), steps, starts, batch_keys)


def param_shapes(problem: Problem) -> PyTree:
    """Returns shapes and dtypes of what `Problem.init` gives."""
    return jax.eval_shape(problem.init, jax.random.key(0))


def state_shapes(
    optimizer: optax.GradientTransformationExtraArgs, params: PyTree, capacity: int, settings: Settings
) -> loop.LoopState:
    """Returns shapes and dtypes of all that a run carries; of ``params``, too, they are enough."""
    # Of the compiled function, which need not be traced again if it has been, or is to be, called.
    how = (capacity, settings.history_dtype, settings.record_bounds)
    return eqx.filter_eval_shape(loop.start_one, optimizer, params, *how)


def _check_types(problem: Any, optimizer: Any, trace: Any) -> None:
    missing = [n for n in ("init", "sample", "loss", "objective", "optimum") if not hasattr(problem, n)]
    if missing:
        raise TypeError(f"problem is {problem!r}, expected an asyncopt.problems.Problem; it has no {missing}")
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer is {optimizer!r}, expected an optax.GradientTransformation")
    if not isinstance(trace, Trace):
        raise TypeError(f"trace is {trace!r}, expected an asyncopt.traces.Trace")


def _check_seed(seed: int) -> int:
    seed = check_integer("seed", seed, at_least=0)
    if seed >= 2**32:
        raise InputError(f"seed is {seed}, expected at most {2**32 - 1}")
    return seed


def _check_starts(problem: Problem, starts: list[PyTree]) -> None:
    constraint = getattr(problem, "constraint", None)
    if constraint is not None:
        for start in starts:
            if not constraint.contains(start):
                raise InputError(f"the start is outside the problem's constraint {constraint}: {start}")


def _check_dtype(name: str, dtype: DTypeLike) -> np.dtype:
    known = ["bfloat16", "float32"] + (["float64"] if jax.config.read("jax_enable_x64") else [])
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.name not in known:
        raise InputError(f"{name} is {dtype!r}, expected one of {known}")
    return found


def evaluation_steps(num_updates: int, eval_every: int | None) -> Int[np.ndarray, " E"]:
    """Returns 0, eval_every, 2 eval_every, ..., and K; by default with a geometric progression up to eval_every."""
    if eval_every is not None:
        eval_every = check_integer("eval_every", eval_every, at_least=1)
        return np.append(np.arange(0, num_updates, eval_every), num_updates)
    spacing = -(-num_updates // _DEFAULT_EVALUATIONS)
    exponents = np.arange(0, np.log2(spacing), 1 / _EARLY_EVALUATIONS_A_DOUBLING)
    early = np.round(2.0**exponents).astype(int)
    return np.unique(np.concatenate([np.arange(0, num_updates, spacing), early, [num_updates]]))
