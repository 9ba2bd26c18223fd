"""`replay`: checks what it is given, plans, and drives the compiled loop from one evaluation to the next."""

import functools
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import DTypeLike, Int, PyTree

from asyncopt.checks import InputError, check_integer
from asyncopt.problems import Problem
from asyncopt.replay import engine, measure, memory
from asyncopt.replay.plan import plan
from asyncopt.replay.result import Result
from asyncopt.traces import Trace

# Evaluations of a run when the caller does not say how often: this many evenly spaced, and before the first of them
# these many each time the number of updates doubles, so that what is quick at the start is seen.
_DEFAULT_EVALUATIONS = 100
_EARLY_EVALUATIONS_A_DOUBLING = 4
# A run is at most this many calls of the compiled loop: enough to show progress, too few to cost anything.
_MAX_CALLS = 1000


def replay(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    trace: Trace,
    *,
    seed: int = 0,
    seeds: Iterable[int] | None = None,
    eval_every: int | None = None,
    record_bounds: bool = True,
    param_dtype: DTypeLike | None = None,
    history_dtype: DTypeLike | None = None,
    progress: bool = False,
) -> Result:
    r"""Runs ``optimizer`` on ``problem``, each update with the gradient at the iterate that ``trace`` names.

    .. math::
      g_k = \nabla f(y_k; \xi_k), \quad y_k = x_{k - \tau_k}, \qquad
      x_{k+1} = x_k + \mathrm{optimizer}(g_k, x_k)

    Mini-batch ξ_k depends on the seed and ``trace.sample[k]`` alone, so that runs under different traces are
    paired. With zero delay this is the plain Optax loop. All traces of one length and one size of history share
    a compilation, as long as the optimizer is the same object.

    Args:
      problem: what is minimised.
      optimizer: any Optax transform. It is given ``delay`` (int32) and ``stale_params`` as extra arguments.
      trace: with consistent reads.
      seed: of the start and the mini-batches, 0 to 2³² - 1.
      seeds: several seeds, run as one program and spread over all local devices; in place of ``seed``.
      eval_every: evaluate F after so many updates, and at the end. Default: about 100 times evenly spaced, and
        closer together at the start.
      record_bounds: measure what the convergence bounds need, if the optimizer is `asyncopt.apam`.
      param_dtype: of the parameters, bfloat16, float32 or float64 (if JAX has it enabled). Default: what
        ``problem.init`` gives.
      history_dtype: of the iterates kept for stale reads, likewise; a gradient is then taken at the rounded iterate.
        Default: that of the parameters.
      progress: show a progress bar on the standard error.

    Returns:
      The run; with ``seeds``, its arrays have a leading axis of seeds.

    Raises:
      InputError: if an argument is out of range, the trace has inconsistent reads, the start is outside the
        optimizer's or the problem's constraint, or the history would not fit into memory.
      TypeError: if ``problem``, ``optimizer`` or ``trace`` is something else.
    """
    _check_types(problem, optimizer, trace)
    seed_numbers = [_check_seed(s) for s in ([seed] if seeds is None else seeds)]
    if not seed_numbers:
        raise InputError("seeds is empty, expected at least one seed")
    steps = _evaluation_steps(trace.num_updates, eval_every)
    slots = plan(trace)
    schedule = engine.Schedule(
        *(jnp.asarray(values, jnp.int32) for values in (slots.read_slot, slots.write_slot, trace.delay))
    )
    optimizer = optax.with_extra_args_support(optimizer)

    keys = [jax.random.key(s) for s in seed_numbers]
    starts = [problem.init(engine.init_key(key)) for key in keys]
    if param_dtype is not None:
        param_dtype = _check_dtype("param_dtype", param_dtype)
        starts = [jax.tree.map(lambda x: x.astype(param_dtype), start) for start in starts]
    if history_dtype is not None:
        history_dtype = _check_dtype("history_dtype", history_dtype)
    _check_starts(problem, starts)
    for params in starts:
        optimizer.init(params)  # which may refuse it; compiled, it could not
    settings = (slots.capacity, history_dtype, record_bounds)
    memory.check_fits(
        jax.eval_shape(lambda params: engine.start(optimizer, params, *settings), starts[0]), slots, len(keys)
    )
    samples = jnp.asarray(trace.sample, jnp.int32)
    batch_keys = [engine.batch_keys(key, samples) for key in keys]
    if seeds is None:
        start = functools.partial(engine.start_one, optimizer, starts[0], *settings)
        advance = functools.partial(engine.advance_one, problem, optimizer, schedule, batch_keys[0])
    else:
        mesh, (spread_keys, spread_starts) = _spread(list(zip(batch_keys, starts, strict=True)))
        start = functools.partial(engine.start_many, mesh, optimizer, spread_starts, *settings)
        advance = functools.partial(engine.advance_many, mesh, problem, optimizer, schedule, spread_keys)

    state, evaluations, seconds, updates_per_second = _drive(start, advance, steps, len(keys), progress)
    if seeds is not None:  # drop the copies that filled up the last device
        state, evaluations = jax.tree.map(lambda x: x[: len(keys)], (state, evaluations))
    optimum = None if problem.optimum is None else float(problem.optimum)
    return Result(
        params=state.params,
        average=state.average,
        optimizer_state=state.optimizer_state,
        step=steps,
        time=None if trace.time is None else np.concatenate([[0.0], trace.time])[steps],
        objective=np.asarray(evaluations.objective),
        grad_norm_sq=np.asarray(evaluations.grad_norm_sq),
        gap=None if optimum is None else np.asarray(evaluations.objective) - optimum,
        average_objective=np.asarray(evaluations.average_objective),
        average_gap=None if optimum is None else np.asarray(evaluations.average_objective) - optimum,
        drift=np.asarray(evaluations.drift),
        metrics={name: np.asarray(values) for name, values in evaluations.metrics.items()},
        bound_terms=_named(evaluations.bound_terms, evaluations.last_terms),
        diverged_at=np.asarray(state.diverged_at),
        seeds=tuple(seed_numbers),
        num_slots=slots.num_slots,
        seconds=seconds,
        updates_per_second=updates_per_second,
    )


def _check_types(problem: Any, optimizer: Any, trace: Any) -> None:
    missing = [n for n in ("init", "sample", "loss", "objective", "optimum") if not hasattr(problem, n)]
    if missing:
        raise TypeError(f"problem is {problem!r}, expected an asyncopt.problems.Problem; it has no {missing}")
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(f"optimizer is {optimizer!r}, expected an optax.GradientTransformation")
    if not isinstance(trace, Trace):
        raise TypeError(f"trace is {trace!r}, expected an asyncopt.traces.Trace")
    if not trace.is_consistent:
        k = int(np.flatnonzero(trace.read_end != trace.read_version)[0])
        raise InputError(
            f"update {k} of the trace reads a mixture of iterates {trace.read_version[k]} to {trace.read_end[k]}, "
            "expected consistent reads (read_end equal to read_version)"
        )


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


def _evaluation_steps(num_updates: int, eval_every: int | None) -> Int[np.ndarray, " E"]:
    """Returns 0, eval_every, 2 eval_every, ..., and K; by default with a geometric progression up to eval_every."""
    if eval_every is not None:
        eval_every = check_integer("eval_every", eval_every, at_least=1)
        return np.append(np.arange(0, num_updates, eval_every), num_updates)
    spacing = -(-num_updates // _DEFAULT_EVALUATIONS)
    exponents = np.arange(0, np.log2(spacing), 1 / _EARLY_EVALUATIONS_A_DOUBLING)
    early = np.round(2.0**exponents).astype(int)
    return np.unique(np.concatenate([np.arange(0, num_updates, spacing), early, [num_updates]]))


def _spread(runs: list[Any]) -> tuple[Mesh, Any]:
    """Stacks what the runs need and places equal parts of it on the local devices; the last run fills up."""
    devices = jax.local_devices()[: len(runs)]
    filling = -len(runs) % len(devices)
    mesh = Mesh(np.array(devices), (engine.RUNS,))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs, *runs[-1:] * filling)
    return mesh, jax.device_put(stacked, NamedSharding(mesh, PartitionSpec(engine.RUNS)))


def _drive(
    start: Callable[[], engine.LoopState],
    advance: Callable[..., tuple[engine.LoopState, engine.Evaluation]],
    steps: Int[np.ndarray, " E"],
    num_runs: int,
    progress: bool,
) -> tuple[engine.LoopState, engine.Evaluation, float, float]:
    """Calls the compiled loop from stop to stop.

    Returns:
      The last state, all evaluations as NumPy arrays whose last axis is E, and what passed after the first call
      (which compiles, and only evaluates the start): seconds, and updates a second of all runs together.
    """
    per_call = -(-len(steps) // _MAX_CALLS)
    collected = []
    state = start()  # made here, so that nobody else holds on to its memory
    began, made = time.perf_counter(), 0
    with tqdm.tqdm(
        total=int(steps[-1]) * num_runs,
        unit=" updates",
        unit_scale=True,
        disable=not progress,
        mininterval=0.2 if sys.stderr.isatty() else 10.0,
        file=sys.stderr,
    ) as bar:
        for wanted in (steps[:1], *np.split(steps[1:], range(per_call, len(steps) - 1, per_call))):
            # Every call has the same shape, so that the loop is compiled once.
            stops = np.append(wanted, np.repeat(wanted[-1], per_call - len(wanted)))
            state, evaluation = advance(state, jnp.asarray(made, jnp.int32), jnp.asarray(stops, jnp.int32))
            kept = len(wanted)
            collected.append(jax.tree.map(lambda x, kept=kept: np.asarray(x)[..., :kept], evaluation))
            if len(collected) == 1:
                began = time.perf_counter()
            bar.update((int(stops[-1]) - made) * num_runs)
            made = int(stops[-1])
    seconds = time.perf_counter() - began
    evaluations = jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *collected)
    return state, evaluations, seconds, int(steps[-1]) * num_runs / seconds


def _named(*terms: measure.BoundTerms | measure.LastTerms | None) -> dict[str, np.ndarray] | None:
    present = [part._asdict() for part in terms if part is not None]
    return {name: values for part in present for name, values in part.items()} or None
