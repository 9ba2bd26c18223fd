"""Compares methods on one simulated clock, each with its tuned step size, by the time to a common target.

A setting is one clock and one number of workers. Step sizes are chosen on half of the seeds and results come from the
other half, over many such splits. So no time to the target comes from the runs that chose the step size. The target,
and whether a grid is wide enough, come from all runs.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from asyncopt.analysis import comparison_draws, settings
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.comparison_draws import Draws, Replicates

Method = TypeVar("Method", bound=Callable[..., Any])

OURS, SYNCHRONOUS = "APAM", "synchronous AMSGrad"
# Ends the name of a synchronous method whose gradients a round are tuned, too.
FIRST = ", first m of p"
# What falls during training: F, and the share of held-out rows that are classified wrongly.
QUANTITIES = {"loss": "objective $F(x_k)$", "error": "held-out error"}
RANDOM, STEADY = "exponential times", "constant times"  # two clocks, as `Trial.clock` names them
CLOCKS = {"time": "simulated seconds", "step": "gradients"}
# The target lies at this share of the way from the start to the best final value.
PROGRESS = 0.95


def _remembered(method: Method) -> Method:
    """Returns a method that keeps its results with its object: `functools.cache` would keep the object, too."""

    @functools.wraps(method)
    def remembering(self: Any, *arguments: Any) -> Any:
        results = self.__dict__.setdefault("_results", {})
        key = (method.__name__, *arguments)
        if key not in results:
            results[key] = method(self, *arguments)
        return results[key]

    return cast(Method, remembering)


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """One method in one setting with one step size: a run for each clock and seed, in the same order in all trials."""

    method: str  #: the method's name
    clock: str  #: how long gradients take, in words
    num_workers: int  #: p
    learning_rate: float  #: α
    taken: int | None  #: m, the gradients that a round applies; None without rounds
    trace: Mapping[str, Any]  #: the configuration of the trace, but for its seed
    step: Int[np.ndarray, " E"]  #: the number of gradients applied until each evaluation
    clocks: tuple[int, ...]  #: the seed of each run's trace; 0 if it has no influence
    seeds: tuple[int, ...]  #: the seed of each run's mini-batches
    time: Float[np.ndarray, "N E"]  #: simulated seconds at each evaluation
    values: Mapping[str, Float[np.ndarray, "N E"]]  #: for each measured key of `QUANTITIES`, a row for each run

    @property
    def throughput(self) -> float:
        """Gradients per simulated second."""
        return float(self.step[-1] / self.time[:, -1].mean())

    @functools.cached_property
    def is_random(self) -> bool:
        """Whether the clock depends on the trace's seed."""
        return settings.is_random(settings.clock(self.trace))

    @functools.cached_property
    def draws(self) -> Draws:
        """The splits and resamples of the runs."""
        return comparison_draws.draws(self.clocks, self.seeds, self.is_random)

    @functools.cached_property
    def mean_time(self) -> Float[np.ndarray, "2 D E"]:
        """Seconds at each evaluation, the mean over each half of each draw."""
        return self.draws.means(self.time)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """All trials on one problem with the same number of gradients."""

    name: str  #: the problem in words
    num_updates: int  #: K, the gradients of each run
    trials: tuple[Trial, ...]  #: at least one
    progress: float  #: where the target lies, as `PROGRESS`
    ours: str = OURS  #: the method that the others are compared with
    kept_apart: tuple[tuple[str, str], ...] = ()  #: runs that are not pooled with others, and in which key they differ

    @functools.cached_property
    def methods(self) -> list[str]:
        """Every method, ours first, then in alphabetical order."""
        every = {trial.method for trial in self.trials if trial.taken in (None, trial.num_workers)}
        every |= {trial.method + FIRST for trial in self.trials if trial.taken not in (None, trial.num_workers)}
        return sorted(every, key=lambda method: (method != self.ours, method))

    @functools.cached_property
    def clocks(self) -> list[str]:
        """Every clock, in alphabetical order."""
        return sorted({trial.clock for trial in self.trials})

    @functools.cached_property
    def num_workers(self) -> list[int]:
        """Every p, in order."""
        return sorted({trial.num_workers for trial in self.trials})

    @functools.cached_property
    def quantities(self) -> list[str]:
        """What all trials measured."""
        return [name for name in QUANTITIES if all(name in trial.values for trial in self.trials)]

    def num_clocks(self, clock: str, num_workers: int) -> int | None:
        """Returns how many random clocks a setting has; None if its clock is not random."""
        trial = next(one for one in self.trials if (one.clock, one.num_workers) == (clock, num_workers))
        return len(set(trial.clocks)) if trial.is_random else None

    def tried(self, method: str, clock: str, num_workers: int) -> list[Trial]:
        """Returns the trials of a method in a setting, by gradients a round and step size.

        Those of a name that ends in `FIRST` are of every number of gradients a round, those of another of all p.
        """
        name, takes_any = method.removesuffix(FIRST), method.endswith(FIRST)
        tried = [
            trial
            for trial in self.trials
            if (trial.method, trial.clock, trial.num_workers) == (name, clock, num_workers)
            and (takes_any or trial.taken in (None, num_workers))
        ]
        return sorted(tried, key=lambda trial: (trial.taken or 0, trial.learning_rate))

    @_remembered
    def target(self, quantity: str) -> float:
        """Returns the value to reach, which is the same for all methods."""
        start = np.mean([trial.values[quantity][:, 0].mean() for trial in self.trials])
        best = np.nanmin([trial.values[quantity][:, -1].mean() for trial in self.trials])
        return float(start + self.progress * (best - start))

    @_remembered
    def tuned(self, method: str, clock: str, num_workers: int, quantity: str) -> Trial | None:
        """Returns the trial whose mean over all runs reaches the target first, or else ends lowest."""
        tried = self.tried(method, clock, num_workers)
        if not tried:
            return None
        means = [trial.values[quantity].mean(axis=0)[None] for trial in tried]
        reached = [
            first_crossing(trial.time.mean(axis=0), mean, self.target(quantity))
            for trial, mean in zip(tried, means, strict=True)
        ]
        return tried[int(_best(np.array(reached), np.array([mean[:, -1] for mean in means]))[0])]

    @_remembered
    def reach(self, method: str, clock: str, num_workers: int, quantity: str, axis: str) -> Replicates:
        """Returns when the mean over the reporting half reaches the target, with the step size tuned on the other.

        For each draw it is the geometric mean over both roles of the halves: inf where the target was not reached, NaN
        if there is no such trial. ``axis`` is "time" or "step", ``quantity`` a key of `QUANTITIES`.
        """
        tried = self.tried(method, clock, num_workers)
        if not tried:
            number = comparison_draws.NUM_SPLITS + comparison_draws.NUM_RESAMPLES
            return Replicates(np.full(number, np.nan), 0, 0)
        times, steps, ends = (
            np.stack(parts) for parts in zip(*(self._halves(t, quantity) for t in tried), strict=True)
        )
        chosen = _best(times, ends)[::-1]  # each half is judged with the choice of the other
        reached = np.take_along_axis(times if axis == "time" else steps, chosen[None], axis=0)[0]
        return tried[0].draws.replicates(np.exp(np.log(reached).mean(axis=0)))

    @_remembered
    def _halves(self, trial: Trial, quantity: str) -> tuple[Float[np.ndarray, "2 D"], ...]:
        """Returns time and step to the target, and the final value, of the mean over each half in each draw."""
        curves, target = trial.draws.means(trial.values[quantity]), self.target(quantity)
        shape, flat = curves.shape[:2], curves.reshape(-1, curves.shape[-1])
        time = first_crossing(trial.mean_time.reshape(flat.shape), flat, target).reshape(shape)
        step = first_crossing(trial.step.astype(float), flat, target).reshape(shape)
        return np.maximum(time, _SOONEST), np.maximum(step, _SOONEST), curves[..., -1]

    def advantage(self, rival: str, clock: str, num_workers: int, quantity: str) -> Replicates:
        """Returns the rival's time to the target over ours; NaN where neither reaches it."""
        ours, other = (self.reach(method, clock, num_workers, quantity, "time") for method in (self.ours, rival))
        return other / ours

    def ends(self, trial: Trial, quantity: str) -> Estimate:
        """Returns the mean at the end, over all runs."""
        final = trial.draws.means(trial.values[quantity][:, -1:])[..., 0]
        return trial.draws.replicates(final.mean(axis=0)).estimate()


# A target that is reached at the start would have no logarithm.
_SOONEST = 1e-300


def _best(reached: Float[np.ndarray, "T *D"], ends: Float[np.ndarray, "T *D"]) -> Int[np.ndarray, " *D"]:
    """Returns which trial reaches the target first, or ends lowest where none reaches it."""
    none_reaches = ~np.isfinite(reached).any(axis=0)
    return np.argmin(np.where(none_reaches, np.where(np.isnan(ends), np.inf, ends), reached), axis=0)


def first_crossing(
    clock: Float[np.ndarray, "*R E"], curves: Float[np.ndarray, "R E"], target: float
) -> Float[np.ndarray, " R"]:
    """Returns when each curve first reaches the target, by straight lines between evaluations; inf if it never does.

    ``clock`` has the time of each evaluation, for all curves or for each.
    """
    below, rows = curves <= target, np.arange(len(curves))
    after = np.argmax(below, axis=1)
    before = np.maximum(after - 1, 0)
    high, low = curves[rows, before], curves[rows, after]
    clock = np.broadcast_to(clock, curves.shape)
    start, end = clock[rows, before], clock[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(np.isfinite(high), (high - target) / (high - low), 1.0)
        crossed = start + np.where(after > 0, part, 0.0) * (end - start)
    return np.where(below.any(axis=1), crossed, np.inf)


def table(comparison: Comparison) -> pd.DataFrame:
    """Returns a row for each trial: its setting, its end, and for tuned step sizes when the target was reached."""
    rows, order = [], ["clock", "num_workers", "method", "taken", "learning_rate"]
    for trial in comparison.trials:
        row: dict[str, Any] = {name: getattr(trial, name) for name in (*order, "throughput")}
        row |= {"clocks": len(set(trial.clocks)), "runs": len(trial.seeds)}
        for quantity in comparison.quantities:
            row |= _columns(f"final_{quantity}", comparison.ends(trial, quantity))
            names = [trial.method] if trial.taken in (None, trial.num_workers) else []
            names += [trial.method + FIRST] if trial.method + FIRST in comparison.methods else []
            tuned = [
                name for name in names if comparison.tuned(name, trial.clock, trial.num_workers, quantity) is trial
            ]
            row[f"tuned_for_{quantity}"] = bool(tuned)
            for axis in CLOCKS if tuned else ():
                reached = comparison.reach(tuned[0], trial.clock, trial.num_workers, quantity, axis)
                row |= _columns(f"{axis}_to_{quantity}", reached.estimate())
        rows.append(row)
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def runs_of(trials: Sequence[Trial | None]) -> int:
    """Returns the number of runs of these trials."""
    return sum(len(trial.seeds) for trial in trials if trial is not None)
