"""Step sizes and delays side by side, as one program."""

import inspect
import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import optax

from asyncopt.checks import InputError, check_distinct, check_number, check_seeds
from asyncopt.engine import minimum
from asyncopt.engine import progress as progress_bar
from asyncopt.engine.batch import replay_batch
from asyncopt.engine.prepare import PERCENT, Run, Settings
from asyncopt.engine.work import Work
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
    work: Work | None = None,
) -> "pd.DataFrame":
    """Replays all step sizes under all delays, in one compiled program that runs on all devices.

    Args:
      problem: what is minimised.
      optimizer: with ``learning_rate``, an optimizer's constructor, called with each of them: `asyncopt.apam`,
        ``optax.adam``, or a function of one's own with an argument ``learning_rate``. Else a transform.
      trace: with ``delay``, a function of each of them: ``lambda delay: asyncopt.traces.uniform(1000, delay)``, say,
        whose traces have one length. Else a trace.
      learning_rate: step sizes, each above 0.
      delay: numbers or texts, with each of which ``trace`` is called.
      seeds: the number of seeds, from 0, or a list of them.
      eval_every: updates between evaluations; "percent", a hundredth of the run, makes curves to look at.
      average: whether F is also evaluated at the average of the iterates.
      progress: whether to show a progress bar on the standard error.
      work: what a worker does in place of one gradient, such as `asyncopt.engine.local_steps`.

    Returns:
      One row for each run, seed and evaluation, with the columns of `asyncopt.load_runs`: ``run``, the settings
      ``optimizer.learning_rate`` and ``trace.delay``, ``summary.trace.mean_delay`` and ``summary.trace.max_delay``,
      ``summary.diverged_at``, and the measurements. `asyncopt.plot_runs` draws it.

    Raises:
      InputError: if nothing is swept, a list is empty or has a value twice, ``optimizer`` or ``trace`` does not
        accept the swept argument, or the traces differ in length.
      Whatever `asyncopt.replay` raises.
    """
    import pandas as pd

    if learning_rate is None and delay is None:
        raise InputError("nothing is swept, expected learning_rate=[...], delay=[...], or both")
    optimizers, traces = _optimizers(optimizer, learning_rate), _traces(trace, delay)
    cells = list(itertools.product(optimizers, traces))
    chosen = check_seeds("seeds", seeds)
    runs = [Run(problem, transform, one_trace, chosen, work=work) for (_, transform), (_, one_trace) in cells]
    with progress_bar.reporter(runs[0].trace.num_updates, len(runs) * len(chosen), progress) as report:
        try:
            results = replay_batch(runs, Settings(eval_every, average), report=report)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            raise InputError(
                "optimizer uses learning_rate as a Python number, expected jax.numpy without if, float() and math: "
                "all step sizes share one program"
            ) from error
    frames = []
    for number, (((rate, _), (delayed, one_trace)), result) in enumerate(zip(cells, results, strict=True)):
        minimum.check(problem, result.params, result)
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


def _optimizers(optimizer: Any, learning_rate: Any) -> list[tuple[float | None, optax.GradientTransformation]]:
    """Returns each step size with its optimizer; None with the optimizer, if no step size is swept."""
    is_transform = isinstance(optimizer, optax.GradientTransformation)
    if learning_rate is None:
        if not is_transform:
            raise InputError(
                f"optimizer is {optimizer!r}, expected a GradientTransformation, or learning_rate=[...] to call it with"
            )
        return [(None, optimizer)]
    if is_transform or not callable(optimizer):
        raise InputError(
            f"optimizer is {optimizer!r}, expected a function of learning_rate: optax.adam, say, in place of "
            "optax.adam(0.1)"
        )
    _check_call("optimizer", optimizer, "learning_rate=...", learning_rate=1.0)
    rates = [float(check_number("learning_rate", rate, above=0)) for rate in _listed("learning_rate", learning_rate)]
    if not isinstance(made := optimizer(learning_rate=rates[0]), optax.GradientTransformation):
        raise InputError(f"optimizer made {made!r} of learning_rate {rates[0]!r}, expected a GradientTransformation")
    return [(rate, parametric(optimizer, learning_rate=rate)) for rate in rates]


def _traces(trace: Any, delay: Any) -> list[tuple[Any, Trace]]:
    """Returns each delay with its trace, all of one length; None with the trace, if no delay is swept."""
    if delay is None:
        if not isinstance(trace, Trace):
            raise InputError(f"trace is {trace!r}, expected a Trace, or delay=[...] to call it with")
        return [(None, trace)]
    if isinstance(trace, Trace) or not callable(trace):
        raise InputError(f"trace is {trace!r}, expected a function of delay, since delay is swept")
    _check_call("trace", trace, "a delay", 0)
    made = []
    for value in _listed("delay", delay):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InputError(f"delay has {value!r}, expected numbers or texts, which a table can hold")
        made.append((value, trace(value)))
        if not isinstance(made[-1][1], Trace):
            raise InputError(f"trace made {made[-1][1]!r} of delay {value!r}, expected a Trace")
        first, last = made[0][1].num_updates, made[-1][1].num_updates
        if last != first:
            raise InputError(
                f"trace made {first} updates of delay {made[0][0]!r} and {last} of {value!r}, expected one number"
            )
    return made


def _check_call(name: str, function: Callable[..., Any], wanted: str, *arguments: Any, **named: Any) -> None:
    """Refuses a function that does not take these arguments."""
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError as error:
        raise InputError(f"{name} is {function!r}, expected a function that takes {wanted}: {error}") from None
    except ValueError:  # some functions of C do not say what they take
        pass


def _listed(name: str, values: Any) -> list[Any]:
    """Returns the values of a list, a range or an array, each of which is there once."""
    if isinstance(values, str) or not isinstance(values, Iterable) or getattr(values, "shape", None) == ():
        raise InputError(f"{name} is {values!r}, expected a list: {name}=[{values!r}]")
    listed = [value.item() if isinstance(value, np.generic | jax.Array) else value for value in values]
    if not listed:
        raise InputError(f"{name} is empty, expected one value at least")
    check_distinct(name, (value if isinstance(value, Hashable) else str(value) for value in listed))
    return listed
