"""Calls the compiled loop again and again; between two calls, progress is shown and checkpoints are written."""

import time
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Int

from asyncopt import stopping
from asyncopt.engine.checkpoint import Checkpoint, Snapshot
from asyncopt.engine.state import Evaluation, LoopState, Stops

# A call of the compiled loop begins with a copy of the history. So it evaluates several times if time allows, and a run
# takes at most about _MAX_CALLS calls.
_STOPS_A_CALL = 16
_MAX_CALLS = 1000
# Seconds that a call should take at most: the user waits so long for a sign of progress, and after Ctrl-C.
_CALL_SECONDS = 0.5
# The first calls measure how many updates that is; each makes at most this many times as many as the last.
_GROWTH = 64

Advance = Callable[[LoopState, Stops], tuple[LoopState, Evaluation]]
# Called with the updates made since the last call, and the share of the time so far that went into evaluations.
Report = Callable[[int, float], object]
# Called with new evaluations, as NumPy arrays whose last axis counts them. It may raise to end the run.
Check = Callable[[Evaluation], object]
# Called once for each evaluation, with the updates made before it and its numbers. It may raise to end the run.
OnEvaluation = Callable[[int, Evaluation], object]


def drive(
    start: Callable[[], LoopState],
    advance: Advance,
    steps: Int[np.ndarray, " E"],
    report: Report,
    checkpoint: Checkpoint | None = None,
    check: Check = lambda evaluations: None,
    on_evaluation: OnEvaluation | None = None,
) -> tuple[Snapshot, float]:
    """Runs to the last of ``steps`` and evaluates at each.

    The results do not depend on where a call of the loop ends.

    Args:
      start: makes the state before the first update.
      advance: the compiled loop.
      steps: updates made at each evaluation, from 0 on, increasing.
      report: see `Report`.
      checkpoint: where to keep the run, also when it is interrupted; it is resumed from there if possible.
      check: see `Check`.
      on_evaluation: see `OnEvaluation`.

    Returns:
      The run after its last update, with its evaluations in one part; and the share of its seconds that went into
      evaluations: their number times the seconds of one, which is timed at the start.
    """
    per_call = max(_STOPS_A_CALL, -(-len(steps) // _MAX_CALLS))
    # The first call is not timed: it compiles, and memory is not yet mapped.
    begin = _call(advance, Snapshot(start(), (), 0, 0, 0.0), np.array([0]), [True], per_call)
    begin = begin._replace(evaluations=(), seconds=0.0)
    now = _call(advance, begin, np.array([0]), [True], per_call)
    nothing_done = _call(advance, begin, np.array([0]), [False], per_call)
    seconds_each = max(now.seconds - nothing_done.seconds, 0.0)

    def num_evaluations() -> int:
        return int(np.searchsorted(steps, now.evaluated, side="right"))

    def share() -> float:
        return min(num_evaluations() * seconds_each / max(now.seconds, 1e-9), 1.0)

    def tell() -> None:
        """Checks the last part of the evaluations, and tells of each in it that was not yet told."""
        nonlocal now
        number, last_part = num_evaluations(), now.evaluations[-1]
        check(last_part)
        if on_evaluation is None:
            return
        earlier = number - jax.tree.leaves(last_part)[0].shape[-1]  # evaluations in the parts before
        for i in range(now.told, number):
            now = now._replace(told=i + 1)  # before the call, which may raise: none is told twice
            on_evaluation(int(steps[i]), jax.tree.map(lambda x, place=i - earlier: x[..., place], last_part))

    if checkpoint is not None and (saved := checkpoint.load(now)) is not None:
        now = saved
        report(now.made, share())
    budget = 1
    try:
        tell()
        while now.made < steps[-1]:
            stopping.check()
            stops, wanted = _next_stops(steps, now.made, now.made + budget, per_call)
            before = now
            now = _call(advance, now, stops, wanted, per_call)
            if any(wanted):
                tell()
            report(now.made - before.made, share())
            took = max(now.seconds - before.seconds, 1e-6)
            budget = max(1, int((now.made - before.made) * min(_CALL_SECONDS / took, _GROWTH)))
            if checkpoint is not None and checkpoint.is_due and now.made < steps[-1]:
                checkpoint.save(now)
    except KeyboardInterrupt:
        if checkpoint is not None and (now.made > 0 or now.told > 0):
            checkpoint.save(now)
        raise
    return now.in_one_part(), share()


def _next_stops(
    steps: Int[np.ndarray, " E"], made: int, horizon: int, per_call: int
) -> tuple[Int[np.ndarray, " stops"], list[bool]]:
    """Returns the next evaluations up to ``horizon``, or else the horizon as a stop without evaluation."""
    first = int(np.searchsorted(steps, made, side="right"))
    stops = steps[first : first + per_call]
    stops = stops[stops <= horizon]
    return (stops, [True] * len(stops)) if len(stops) else (np.array([horizon]), [False])


def _call(
    advance: Advance, now: Snapshot, stops: Int[np.ndarray, " stops"], wanted: list[bool], per_call: int
) -> Snapshot:
    """Calls the loop once, and waits for it. Every call has the same shape, so that the loop is compiled once."""
    began = time.perf_counter()
    filling = per_call - len(stops)
    state, evaluation = advance(
        now.state,
        Stops(
            np.asarray(now.made, np.int32),
            np.asarray(now.evaluated, np.int32),
            np.append(stops, np.repeat(stops[-1], filling)).astype(np.int32),
            np.array([*wanted, *[False] * filling]),
        ),
    )
    jax.block_until_ready(state)
    evaluations = now.evaluations
    if any(wanted):
        evaluations += (jax.tree.map(lambda x: np.asarray(x)[..., : len(wanted)], evaluation),)
    made = int(stops[-1])
    evaluated = made if wanted[-1] else now.evaluated
    seconds = now.seconds + time.perf_counter() - began
    return now._replace(state=state, evaluations=evaluations, made=made, evaluated=evaluated, seconds=seconds)
