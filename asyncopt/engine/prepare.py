"""What a run is, and what it needs before it starts: checked input, a plan, keys, starts."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, DTypeLike, Int, Key, PyTree

from asyncopt.checks import InputError, check_flag, check_integer, check_seed, check_seeds
from asyncopt.engine import draws, loop
from asyncopt.engine.blocks import Blocks, leaf_blocks
from asyncopt.engine.layerwise import check_layers
from asyncopt.engine.operations import evaluation_cost
from asyncopt.engine.plan import Plan, plan
from asyncopt.engine.probes import Probe
from asyncopt.engine.shapes import by_shapes
from asyncopt.engine.state import Facts, LoopState, Schedule
from asyncopt.engine.work import Work
from asyncopt.optim.each_gradient import EachGradient
from asyncopt.problems import Problem
from asyncopt.traces import Trace

# The value of ``eval_every`` for an evaluation after every hundredth of the run. Before the first of them, F is
# evaluated so many times each time the number of updates doubles: fast changes at the start are recorded.
PERCENT = "percent"
_EARLY_EVALUATIONS_A_DOUBLING = 4
# Without ``eval_every``, evaluations take this share of a run's operations. A curve of few points may take more, but at
# most the second share.
_USUAL_SHARE, _LARGEST_SHARE = 1 / 40, 1 / 5
_FEW_POINTS = 6
_AS_OFTEN_AS_USEFUL = 10**9


@dataclasses.dataclass(frozen=True)
class Run:
    """A run: what is minimised, how it steps, when each gradient comes, and what is recorded for theorems.

    Args:
      problem: what is minimised.
      optimizer: how to step.
      trace: when each gradient comes, and from which iterate.
      seeds: seeds of the starts and the mini-batches, at least one.
      probes: what to record for theorems; whoever builds the optimizer chooses them.
      work: what a worker does in place of one gradient, such as `asyncopt.engine.local_steps`.
      blocks: which leaves of the parameters are the blocks of the trace, see `asyncopt.replay`.
    """

    problem: Problem
    optimizer: optax.GradientTransformation
    trace: Trace
    seeds: Sequence[int]
    probes: tuple[Probe, ...] = ()
    work: Work | None = None
    blocks: Blocks = None

    @property
    def has_steps(self) -> bool:
        """Whether several gradients may make a step, or a gradient has a weight."""
        return self.trace.step is not None or self.trace.weight is not None

    @property
    def num_keepers(self) -> int:
        """The number of workers that may keep something between their jobs; it sets the size of what they keep."""
        return self.trace.num_workers if self.work is not None else 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured of a run, how often, and in which precision; see `asyncopt.replay`."""

    eval_every: int | str | None = None
    average: bool = True
    param_dtype: DTypeLike | None = None
    history_dtype: DTypeLike | None = None

    def __post_init__(self):
        if isinstance(self.average, np.bool_):  # an array to JAX, which programs cannot depend on
            object.__setattr__(self, "average", bool(self.average))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared(Run):
    """A run that is ready to start: its input is checked, and its optimizer takes extra arguments.

    Args:
      slots: the plan of the history.
      steps: the number of updates made at each evaluation.
      starts: iterate 0 of each seed.
      batch_keys: for each seed, the keys of its mini-batches.
      average: whether the average of the iterates is kept.
      leaf_blocks: the block of each leaf of the parameters, if the trace's blocks are layers.
    """

    optimizer: optax.GradientTransformationExtraArgs
    seeds: tuple[int, ...]
    slots: Plan
    steps: Int[np.ndarray, " E"]
    starts: list[PyTree]
    batch_keys: list[Key[Array, " K"]]
    average: bool
    leaf_blocks: tuple[int, ...] | None = None

    @property
    def schedule(self) -> Schedule:
        """The trace and its plan as the loop takes them."""
        slots = self.slots
        read, write, backward = (
            None if values is None else jax.device_put(values.astype(np.int32))
            for values in (slots.read_slot, slots.write_slot, slots.backward_slot)
        )
        return Schedule(read, write, jax.device_put(self.facts), backward)  # type: ignore[arg-type]

    @property
    def facts(self) -> Facts:
        """What the trace says of each update besides its iterate, as NumPy arrays."""
        trace = self.trace
        worker = trace.worker.astype(np.int32)
        if not self.has_steps:
            facts = Facts(trace.delay.astype(np.int32), worker)  # type: ignore[arg-type]
            if self.leaf_blocks is None or trace.block_version is None:
                return facts
            delays = (np.arange(trace.num_updates)[:, None] - trace.block_version).astype(np.int32)
            return facts._replace(leaf_delay=delays[:, self.leaf_blocks])
        step = np.arange(trace.num_updates) if trace.step is None else trace.step
        largest = np.zeros(trace.num_steps, np.int32)
        np.maximum.at(largest, step, trace.step_delay)
        return Facts(largest[step], worker, trace.makes_step, trace.step_weight)  # type: ignore[arg-type]


def prepare(run: Run, settings: Settings, num_updates: int | None = None) -> Prepared:
    """Checks a run, and makes what it starts from.

    Args:
      run: the run.
      settings: what is measured, how often, and in which precision.
      num_updates: evaluations are spaced for so many updates; None: for those of the trace. The last step of a real
        run may use more gradients than were asked for.

    Raises:
      InputError: if something is out of range, the start or the minimiser is outside the problem's constraint, or the
        minimiser has not the shapes of the start.
      TypeError: if problem, optimizer or trace has another type.
    """
    _check_types(run.problem, run.optimizer, run.trace, run.probes)
    _check_workers(run)
    _check_passes(run)
    check_flag("average", settings.average)
    seeds = tuple(check_seeds("seeds", [_check_seed(seed) for seed in run.seeds]))
    optimizer = optax.with_extra_args_support(run.optimizer)
    keys = [jax.random.key(seed) for seed in seeds]
    starts = [run.problem.init(draws.init_key(key)) for key in keys]
    if run.trace.backward_version is not None:
        check_layers(run.problem, starts[0])
    if settings.param_dtype is not None:
        param_dtype = _check_dtype("param_dtype", settings.param_dtype)
        starts = [jax.tree.map(lambda x: x.astype(param_dtype), start) for start in starts]
    if settings.history_dtype is not None:
        _check_dtype("history_dtype", settings.history_dtype)
    _check_starts(run.problem, starts)
    _check_minimiser(run.problem, starts[0])
    # An optimizer may refuse a start, which it cannot do once compiled. A probe may refuse the optimizer.
    optimizer_state = optimizer.init(starts[0])
    for params in starts[1:]:
        optimizer.init(params)
    for probe in run.probes:
        probe.init(starts[0], optimizer_state)
    _check_tables(optimizer, optimizer_state, run.trace)
    if run.has_steps:
        _check_takes_sums(optimizer, optimizer_state, starts[0])
    blocks = leaf_blocks(run.problem, starts[0], run.trace, run.blocks)
    tells_leaves = blocks is not None and not run.has_steps
    # What theorems bound is a mean over the run; a few points of a curve would give a wrong one.
    eval_every = PERCENT if settings.eval_every is None and run.probes else settings.eval_every
    steps = evaluation_steps(
        run.trace.num_updates if num_updates is None else num_updates,
        eval_every,
        lambda: evaluation_cost(run.problem, optimizer, starts[0], settings.average, tells_leaves),
    )
    if run.trace.step is not None:
        steps = at_ends_of_steps(steps, run.trace)
    samples = jax.device_put(run.trace.sample.astype(np.int32))
    batch_keys = [draws.batch_keys(key, samples) for key in keys]
    return Prepared(
        problem=run.problem,
        optimizer=optimizer,
        trace=run.trace,
        seeds=seeds,
        probes=run.probes,
        work=run.work,
        blocks=run.blocks,
        slots=plan(run.trace, blocks),
        steps=steps,
        starts=starts,
        batch_keys=batch_keys,
        average=settings.average,
        leaf_blocks=blocks,
    )


def slots_of(run: Run) -> Plan:
    """Returns the plan of a run's history."""
    return plan(run.trace, leaf_blocks(run.problem, param_shapes(run.problem), run.trace, run.blocks))


@by_shapes
def param_shapes(problem: Problem) -> PyTree:
    """Returns shapes and dtypes of the start that `Problem.init` gives."""
    return eqx.filter_eval_shape(lambda problem: problem.init(jax.random.key(0)), problem)


def state_shapes(run: Run, params: PyTree, capacity: int | tuple[int, ...], settings: Settings) -> LoopState:
    """Returns shapes and dtypes of everything that a run carries from update to update.

    Args:
      run: the run.
      params: iterate 0, or its shapes and dtypes.
      capacity: slots of the history, or of that of each leaf.
      settings: the precision of the history.
    """
    optimizer = optax.with_extra_args_support(run.optimizer)
    more = (run.has_steps, run.work, run.num_keepers)
    return _state_shapes(optimizer, params, capacity, settings.history_dtype, run.probes, settings.average, *more)


_state_shapes = by_shapes(functools.partial(eqx.filter_eval_shape, loop.start_one))


def _check_types(problem: Any, optimizer: Any, trace: Any, probes: Any) -> None:
    missing = [n for n in ("init", "sample", "loss", "objective", "optimum") if not hasattr(problem, n)]
    if missing:
        raise TypeError(f"problem is {problem!r}, expected an asyncopt.problems.Problem; it has no {missing}")
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer is {optimizer!r}, expected an optax.GradientTransformation")
    if not isinstance(trace, Trace):
        raise TypeError(f"trace is {trace!r}, expected an asyncopt.traces.Trace")
    for probe in probes:
        if isinstance(probe, type) or not isinstance(probe, Probe):
            raise TypeError(f"probes has {probe!r}, expected objects with the methods of asyncopt.engine.Probe")


def _check_workers(run: Run) -> None:
    """Refuses what does not go together with a trace's workers and steps, or with data of workers."""
    if run.work is not None and (isinstance(run.work, type) or not isinstance(run.work, Work)):
        raise TypeError(f"work is {run.work!r}, expected an object with init and direction, such as local_steps(...)")
    owners, num_workers = getattr(run.problem, "num_workers", 1), run.trace.num_workers
    if owners not in (1, num_workers):
        raise InputError(
            f"the problem's data are divided among {owners} workers, and the trace has {num_workers}, expected one "
            "number"
        )
    if run.probes and (run.has_steps or run.work is not None or draws.knows_workers(run.problem)):
        raise InputError(
            "probes record what theorems need, which are about one gradient for each step, drawn from all data; "
            "expected no probes and no record_bounds with a trace of several gradients a step, with work, or with data "
            "of workers"
        )


def _check_passes(run: Run) -> None:
    """Refuses a trace whose backward pass reads other iterates, if the run cannot take such a gradient."""
    if run.trace.backward_version is None:
        return
    if not getattr(run.problem, "layers", None):
        raise InputError(
            f"the trace has backward_version, and the problem {run.problem!r} has no layers, expected a problem that "
            "has them, such as char_lm, or a trace with stashing=true"
        )
    if run.work is not None or run.probes or callable(run.blocks):
        raise InputError(
            "the trace has backward_version, expected no work, no probes or record_bounds, and layers as blocks: its "
            "gradient is not taken at one iterate"
        )


def _check_tables(optimizer: optax.GradientTransformation, optimizer_state: PyTree, trace: Trace) -> None:
    """Refuses an optimizer that keeps something for another number of workers, or that would ignore weights."""
    for state in jax.tree.leaves(optimizer_state, is_leaf=lambda node: hasattr(node, "num_workers")):
        number = getattr(state, "num_workers", trace.num_workers)
        if number != trace.num_workers:
            raise InputError(
                f"the optimizer keeps a table for {number} workers, and the trace has {trace.num_workers}, expected "
                "one number"
            )
    if trace.weight is not None:
        check_uses_weights(optimizer)


def _check_takes_sums(optimizer: optax.GradientTransformationExtraArgs, optimizer_state: PyTree, start: PyTree) -> None:
    """Refuses an optimizer that needs to know the worker or the stale iterate: of a step there may be several."""
    if isinstance(optimizer, EachGradient):
        return
    try:
        jax.eval_shape(lambda state, x: optimizer.update(x, state, x, delay=jnp.int32(0)), optimizer_state, start)
    except TypeError as error:
        raise InputError(
            f"the optimizer does not take steps of several gradients, which the trace has: {error}"
        ) from error


def check_uses_weights(optimizer: optax.GradientTransformation) -> None:
    """Refuses an optimizer that would ignore the weights of gradients."""
    if isinstance(optimizer, EachGradient):
        raise InputError(
            "the trace has weights, which an optimizer that takes each gradient by itself does not use; expected a "
            "trace without weight"
        )


def _check_seed(seed: int) -> int:
    seed = check_seed("seed", seed)
    if seed >= 2**32:
        raise InputError(f"seed is {seed}, expected at most {2**32 - 1}")
    return seed


def _check_starts(problem: Problem, starts: list[PyTree]) -> None:
    for path, leaf in jax.tree.leaves_with_path(starts):
        if not np.isfinite(leaf).all():
            raise InputError(f"the start{jax.tree_util.keystr(path[1:])} is not finite: {leaf}")
    constraint = getattr(problem, "constraint", None)
    if constraint is not None:
        for start in starts:
            if not constraint.contains(start):
                raise InputError(f"the start is outside the problem's constraint {constraint}: {start}")


def _check_minimiser(problem: Problem, params: PyTree) -> None:
    minimiser, constraint = getattr(problem, "minimiser", None), getattr(problem, "constraint", None)
    if minimiser is None:
        return
    shapes, expected = (jax.tree.map(np.shape, tree) for tree in (minimiser, params))
    if shapes != expected:
        raise InputError(f"the problem's minimiser has the shapes {shapes}, expected those of its start, {expected}")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(minimiser)):
        raise InputError(f"the problem's minimiser is {minimiser}, expected finite numbers, or None if it is unknown")
    # In single precision: a solver's minimiser keeps a constraint to its own tolerance.
    rounded = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), minimiser)
    if constraint is not None and not constraint.contains(rounded):
        raise InputError(f"the problem's minimiser is outside its constraint {constraint}: {minimiser}")


def _check_dtype(name: str, dtype: DTypeLike) -> np.dtype:
    allowed = ["bfloat16", "float32"] + (["float64"] if jax.config.read("jax_enable_x64") else [])
    try:
        parsed = jnp.dtype(dtype)
    except TypeError:
        parsed = None
    if parsed is None or parsed.name not in allowed:
        raise InputError(f"{name} is {dtype!r}, expected one of {allowed}")
    return parsed


def evaluation_steps(
    num_updates: int, eval_every: int | str | None, cost: Callable[[], float]
) -> Int[np.ndarray, " E"]:
    """Returns the numbers of updates after which F is evaluated, from 0 to K.

    Without ``eval_every``, a quarter of the evaluations form a geometric progression before the first of the others,
    which are evenly spaced, at most a hundred.

    Args:
      num_updates: K.
      eval_every: updates between evaluations, "percent", or None.
      cost: how many updates take as many operations as one evaluation; called if it is needed.

    Raises:
      InputError: if ``eval_every`` is something else.
    """
    if isinstance(eval_every, str) and eval_every != PERCENT:
        raise InputError(f"eval_every is {eval_every!r}, expected a number of updates, or {PERCENT}")
    if eval_every not in (None, PERCENT):
        eval_every = min(check_integer("eval_every", eval_every, at_least=1, at_most=None), num_updates)
        return np.append(np.arange(0, num_updates, eval_every), num_updates)
    number = _AS_OFTEN_AS_USEFUL if eval_every == PERCENT else _affordable(num_updates, cost())
    spacing = -(-num_updates // min(max(number * 3 // 4, 1), 100))
    doublings = np.arange(0, np.log2(spacing), 1 / _EARLY_EVALUATIONS_A_DOUBLING)
    if number // 4 < len(doublings):
        doublings = np.linspace(0, np.log2(spacing), number // 4, endpoint=False)
    steps = [np.arange(0, num_updates, spacing), np.round(2.0**doublings).astype(int), [num_updates]]
    return np.unique(np.concatenate(steps))


def at_ends_of_steps(steps: Int[np.ndarray, " E"], trace: Trace) -> Int[np.ndarray, " e"]:
    """Returns the evaluations, each moved to the end of the step that it falls into: the time of an update is that."""
    ends = np.append(0, np.flatnonzero(trace.makes_step) + 1)
    return np.unique(ends[np.searchsorted(ends, steps)])


def _affordable(num_updates: int, cost: float) -> int:
    """Returns the number of evaluations that take the usual share of a run's operations, or more for a curve."""
    usual, most = (int(share / (1 - share) * num_updates / cost) for share in (_USUAL_SHARE, _LARGEST_SHARE))
    return max(usual, min(most, _FEW_POINTS))
