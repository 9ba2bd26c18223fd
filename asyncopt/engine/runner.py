"""`replay`: one run, or several seeds of it."""

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import optax
from jaxtyping import DTypeLike

from asyncopt.checks import InputError, check_flag, check_seeds
from asyncopt.engine import loop, memory, minimum
from asyncopt.engine import probes as probing
from asyncopt.engine import progress as progress_bar
from asyncopt.engine.batch import replay_batch
from asyncopt.engine.blocks import Blocks
from asyncopt.engine.checkpoint import Checkpoint
from asyncopt.engine.drive import Check, OnEvaluation, Report, drive
from asyncopt.engine.prepare import Prepared, Run, Settings, prepare, state_shapes
from asyncopt.engine.probes import Probe
from asyncopt.engine.result import Result, measured, result_of
from asyncopt.engine.state import Evaluation, Inputs
from asyncopt.engine.stepwise import replay_exactly
from asyncopt.engine.work import Work
from asyncopt.problems import Problem
from asyncopt.traces import Trace

# A run whose F is more than so many times that of the start is most likely a mistake.
_PLAUSIBLE_GROWTH = 1000


def replay(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    trace: Trace,
    *,
    seed: int = 0,
    seeds: int | Iterable[int] | None = None,
    eval_every: int | str | None = None,
    average: bool = True,
    record_bounds: bool | str = False,
    probes: Iterable[Probe] = (),
    param_dtype: DTypeLike | None = None,
    history_dtype: DTypeLike | None = None,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
    on_evaluation: Callable[[int, dict[str, Any]], object] | None = None,
    work: Work | None = None,
    blocks: Blocks = None,
    exact: bool = False,
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
      optimizer: any Optax transform. It is given ``delay`` (int32), ``stale_params`` and ``worker`` (int32) as extra
        arguments. Where several gradients make a step of the trace, it is given their weighted sum, the largest of
        their delays in steps, and no more, unless it is an `asyncopt.optim.EachGradient`.
      trace: when each gradient came, and from which iterate; its reads may be inconsistent.
      seed: seed of the start and the mini-batches, 0 to 2³² - 1.
      seeds: several seeds, run as one program and spread over all local devices; in place of ``seed``. A number: so
        many, from 0.
      eval_every: evaluate F every so many updates, and at the end (of the step of several gradients that such an
        update belongs to); "percent" for every hundredth of the run, and more
        often at the start. Default: so often that evaluations take about a fortieth of the run's operations, and at
        most a fifth. Operations are counted, not timed: the choice is the same on every machine. With probes, default
        "percent".
      average: keep the average of the iterates, and evaluate F there, as the convex theorem asks.
      record_bounds: record what the convergence bounds of APAM need, if `asyncopt.apam` returned ``optimizer`` and it
        has no bias correction: an update then takes up to twice as long. With "full", record every line of the
        theorem's proof, too; this takes full gradients in every update.
      probes: what else to record; see `asyncopt.engine.Probe`. An APAM inside another transform needs an
        `asyncopt.engine.ApamProbe` that is told where its state is.
      param_dtype: dtype of the parameters, bfloat16, float32 or float64 (if JAX has it enabled). Default: what
        ``problem.init`` gives.
      history_dtype: dtype of the iterates kept for stale reads; a gradient is then taken at the rounded iterate.
        Default: the dtype of the parameters.
      progress: show a progress bar on the standard error.
      checkpoint: keep the run in this file while it runs, also when it is interrupted, and resume it from there.
      on_evaluation: a function of (step, values), called soon after each evaluation, in their order. ``step`` is the
        number of updates made; ``values`` maps each name of `Result.to_frame` to a float, or with ``seeds`` to a
        float[S]. A run that is resumed after Ctrl-C calls it for the evaluations that it was not yet called for; after
        any other end, for those since its last checkpoint.
      work: what a worker does in place of one gradient, such as `asyncopt.engine.local_steps`.
      blocks: which leaves of the parameters are the B blocks of a trace whose reads are inconsistent. "layers": of L
        layers, block b has those with ⌊l B / L⌋ = b; `asyncopt.traces.pipeline` asks for it itself. A function: it
        is given the path of a leaf, such as ".blocks[0].weight", and returns its block. The optimizer is then given
        ``leaf_delay``, too, a pytree of int32 like the parameters. Default: what the trace says.
      exact: make one update at a time, with the compiled functions of `asyncopt.runtime`, so that the replay of a
        recorded run is bit-identical; slower, for one ``seed``. Otherwise the replay agrees with the run to rounding.

    Returns:
      The run; with ``seeds``, its arrays have a leading axis of seeds.

    Raises:
      InputError: if an argument is out of range, the start is outside the optimizer's or the problem's
        constraint, so is the problem's minimiser, F becomes less than its minimum, a probe cannot observe the
        optimizer or its columns are not scalars of their own, or memory is too small for the history.
      TypeError: if ``problem``, ``optimizer`` or ``trace`` has another type.
    """
    check_flag("exact", exact)
    if on_evaluation is not None and not callable(on_evaluation):
        raise InputError(f"on_evaluation is {on_evaluation!r}, expected a function of a step and a dict")
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise InputError(f"checkpoint is {checkpoint!r}, expected asyncopt.engine.Checkpoint(path, tag, every)")
    settings = Settings(eval_every, average, param_dtype, history_dtype)
    chosen = probing.chosen(optimizer, problem, record_bounds, probes)
    run = Run(problem, optimizer, trace, [seed] if seeds is None else check_seeds("seeds", seeds), chosen, work, blocks)
    prepared = prepare(run, settings)
    if exact:
        if any(given is not None for given in (seeds, history_dtype, checkpoint, on_evaluation, work)):
            raise InputError(
                "exact is for one seed, without history_dtype, checkpoint, on_evaluation and work; expected seed=..."
            )
        with progress_bar.reporter(trace.num_updates, 1, progress) as report:
            result = replay_exactly(prepared, report)
    else:
        check = functools.partial(minimum.check, prepared.problem, prepared.starts[0])
        tell = None if on_evaluation is None else functools.partial(_tell, prepared, seeds is not None, on_evaluation)
        with progress_bar.reporter(trace.num_updates, len(prepared.seeds), progress) as report:
            if seeds is None:
                result = _replay_one(prepared, settings, report, checkpoint, check, tell)
            else:
                (result,) = replay_batch(
                    [prepared], settings, report=report, checkpoint=checkpoint, check=check, on_evaluation=tell
                )
    _warn_of_growth(result)
    return result


def _tell(
    prepared: Prepared, has_lanes: bool, tell: Callable[[int, dict[str, Any]], object], step: int, now: Evaluation
) -> None:
    """Hands an evaluation to the user's function."""
    optimum = prepared.problem.optimum
    columns = measured(now, None if optimum is None else float(optimum))
    if has_lanes:  # some fill up the last device
        tell(step, {name: values[: len(prepared.seeds)] for name, values in columns.items()})
    else:
        tell(step, {name: values.item() for name, values in columns.items()})


def _replay_one(
    prepared: Prepared,
    settings: Settings,
    report: Report,
    checkpoint: Checkpoint | None,
    check: Check,
    tell: OnEvaluation | None,
) -> Result:
    """Runs the only seed of a run, without an axis of runs."""
    capacity, probes = prepared.slots.capacity, prepared.probes
    (start,), (batch_keys,) = prepared.starts, prepared.batch_keys
    shapes = state_shapes(prepared, start, capacity, settings)
    memory.check(shapes, prepared.slots, 1)
    inputs = Inputs(prepared.problem, prepared.optimizer, prepared.work, prepared.schedule, batch_keys)
    more = (prepared.has_steps, prepared.work, prepared.num_keepers)
    snapshot, share = drive(
        functools.partial(
            loop.start_one, prepared.optimizer, start, capacity, settings.history_dtype, probes, settings.average, *more
        ),
        functools.partial(loop.advance_one, probes, inputs),
        prepared.steps,
        report,
        checkpoint,
        check,
        tell,
    )
    return result_of(prepared, snapshot.state, snapshot.evaluations[0], snapshot.seconds, share * snapshot.seconds)


def _warn_of_growth(result: Result) -> None:
    """Warns of seeds at whose end F is finite, but so large that the run has learnt nothing."""
    first, last = np.atleast_1d(result.objective[..., 0]), np.atleast_1d(result.objective[..., -1])
    # Not relative to a start near a minimum, where F may be near 0.
    grown = np.isfinite(last) & (last / _PLAUSIBLE_GROWTH > np.maximum(first, 1.0))
    if grown.any():
        seeds = ", ".join(map(str, np.asarray(result.seeds)[grown]))
        warnings.warn(
            f"F is up to {last[grown].max():.3g} at the end, more than {_PLAUSIBLE_GROWTH} times as much as at the "
            f"start (seeds {seeds}); is the step size too large?",
            stacklevel=3,
        )
