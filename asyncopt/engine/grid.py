"""Step sizes and delays side by side, as one program."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import optax

from asyncopt.checks import InputError, check_number
from asyncopt.engine import progress as progress_bar
from asyncopt.engine.batch import replay_batch
from asyncopt.engine.prepare import PERCENT, Run, Settings
from asyncopt.engine.runner import seeds_of
from asyncopt.optim import parametric
from asyncopt.problems import Problem
from asyncopt.traces import Trace

if TYPE_CHECKING:
    import pandas as pd


def sweep(
    problem: Problem,
    optimizer: optax.GradientTransformation | Callable[[float], optax.GradientTransformation],
    trace: Trace | Callable[[Any], Trace],
    *,
    learning_rate: Sequence[float] | None = None,
    delay: Sequence[Any] | None = None,
    seeds: int | Iterable[int] = 1,
    eval_every: int | str | None = PERCENT,
    average: bool = True,
    progress: bool = False,
) -> "pd.DataFrame":
    """Replays all step sizes under all delays, in one compiled program that runs on all devices.

    Args:
      problem: what is minimised.
      optimizer: with ``learning_rate``, an optimizer's constructor, called with each of them: `asyncopt.apam`,
        ``optax.adam``, or a function of one's own with an argument ``learning_rate``. Else a transform.
      trace: with ``delay``, a function of each of them: ``lambda delay: asyncopt.traces.uniform(1000, delay)``, say,
        whose traces have one length. Else a trace.
      learning_rate: step sizes, each above 0.
      delay: what ``trace`` is called with.
      seeds: the number of seeds, from 0, or a list of them; see `asyncopt.replay`, also for the rest.
      eval_every: updates between evaluations; "percent", a hundredth of the run, makes curves to look at.
      average: whether F is also evaluated at the average of the iterates.
      progress: whether to show a progress bar on the standard error.

    Returns:
      One row for each run, seed and evaluation, with the columns of `asyncopt.load_runs`: ``run``, the settings
      ``optimizer.learning_rate`` and ``trace.delay``, ``summary.trace.mean_delay`` and ``summary.trace.max_delay``,
      ``summary.diverged_at``, and the measurements. `asyncopt.plot_runs` draws it.

    Raises:
      InputError: if nothing is swept, a list is empty, or ``optimizer`` or ``trace`` is no function of what is swept.
      Whatever `asyncopt.replay` raises.
    """
    import pandas as pd

    optimizers = _made("learning_rate", learning_rate, "optimizer", optimizer, optax.GradientTransformation, _with_rate)
    traces = _made("delay", delay, "trace", trace, Trace, lambda make, value: make(value))
    if learning_rate is None and delay is None:
        raise InputError("nothing is swept, expected learning_rate=[...], delay=[...], or both")
    cells = list(itertools.product(optimizers, traces))
    chosen = seeds_of(seeds)
    runs = [Run(problem, transform, one_trace, chosen) for (_, transform), (_, one_trace) in cells]
    with progress_bar.reporter(runs[0].trace.num_updates, len(runs) * len(chosen), progress) as report:
        results = replay_batch(runs, Settings(eval_every, average), report=report)
    frames = []
    for number, (((rate, _), (delayed, one_trace)), result) in enumerate(zip(cells, results, strict=True)):
        frame = result.to_frame()
        frame.insert(0, "run", str(number))
        if rate is not None:
            frame.insert(1, "optimizer.learning_rate", rate)
        if delayed is not None:
            frame.insert(list(frame.columns).index("seed"), "trace.delay", delayed)
        frame["summary.trace.mean_delay"] = one_trace.mean_delay
        frame["summary.trace.max_delay"] = one_trace.max_delay
        diverged_at = dict(zip(result.seeds, result.diverged_at, strict=True))
        frame["summary.diverged_at"] = frame["seed"].map(diverged_at)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _with_rate(make: Callable[..., optax.GradientTransformation], rate: float) -> optax.GradientTransformation:
    return parametric(make, learning_rate=float(check_number("learning_rate", rate, above=0)))


def _made(
    swept: str, values: Sequence[Any] | None, name: str, given: Any, made: type, make: Callable[[Any, Any], Any]
) -> list[tuple[Any, Any]]:
    """Returns each value with what is made of it; None with what was given, if nothing is swept."""
    if values is None:
        if not isinstance(given, made):
            raise InputError(f"{name} is {given!r}, expected a {made.__name__}, or {swept}=[...] to call it with")
        return [(None, given)]
    if isinstance(given, made) or not callable(given):
        raise InputError(f"{name} is {given!r}, expected a function of {swept}, since {swept} is swept")
    values = list(values)
    if not values:
        raise InputError(f"{swept} is empty, expected one value at least")
    return [(value, make(given, value)) for value in values]
