"""Training curves: means over seeds with intervals, the cost of each setting, and speed-ups to an accuracy."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float, Real

from asyncopt.analysis.bootstrap import LEVEL, Estimate
from asyncopt.analysis.comparison import Comparison, first_crossing
from asyncopt.analysis.fits import EXACT
from asyncopt.analysis.measures import Measures


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """Training curves of runs that differ in a few settings and in seeds."""

    name: str  #: problem and method in words
    by: tuple[str, ...]  #: the settings that differ
    quantity: str  #: what was measured
    combinations: list[tuple[Any, ...]]  #: the values of these settings, in order; each combination has a curve
    step: Real[np.ndarray, " E"]  #: the number of updates at each evaluation, or its equivalent in another unit
    values: list[Float[np.ndarray, "S E"]]  #: for each combination, a row for each seed; all have the same seeds
    axis: str = "step"  #: what ``step`` counts: updates ("step"), seconds ("time") or gradients ("computed")

    @property
    def settings(self) -> list[Any]:
        """The values of the setting, if only one differs."""
        return [setting for (setting,) in self.combinations]

    @property
    def num_seeds(self) -> int:
        """The number of seeds, S."""
        return len(self.values[0])

    @functools.cached_property
    def intervals(self) -> list[list[Estimate]]:
        """For each combination, the mean at each evaluation with its interval."""
        return [intervals(values) for values in self.values]

    @property
    def ends(self) -> list[Float[np.ndarray, " S"]]:
        """For each combination, the last measurement of each seed."""
        return [values[:, -1] for values in self.values]

    @property
    def means_over_run(self) -> list[Float[np.ndarray, " S"]]:
        """For each combination, the mean of each seed over the run, by the trapezoidal rule."""
        length = self.step[-1] - self.step[0]
        return [np.trapezoid(values, self.step, axis=1) / length for values in self.values]

    def scaled(self, factor: float) -> "Curves":
        """Returns the curves times a factor, in double precision."""
        return dataclasses.replace(self, values=[factor * values.astype(float) for values in self.values])

    def to_frame(self, axis: str | None = None) -> pd.DataFrame:
        """Returns a row for each combination and evaluation, with the mean and its interval."""
        pairs = zip(itertools.product(self.combinations, self.step), itertools.chain(*self.intervals), strict=True)
        names = (*self.by, axis or self.axis)
        rows = [{**dict(zip(names, (*values, step), strict=True)), **mean._asdict()} for (values, step), mean in pairs]
        return pd.DataFrame(rows)


def intervals(values: Float[np.ndarray, "S E"]) -> list[Estimate]:
    """Returns each column's mean over seeds with Student's 95 % interval, since networks are trained with few seeds."""
    number, mean = len(values), values.mean(axis=0)
    reach = np.full(values.shape[1], np.nan)
    if number > 1:
        reach = scipy.stats.t.ppf((1 + LEVEL) / 2, number - 1) * values.std(axis=0, ddof=1) / np.sqrt(number)
    return [Estimate(*map(float, ends)) for ends in zip(mean, mean - reach, mean + reach, strict=True)]


def interval(values: Float[np.ndarray, " S"]) -> Estimate:
    """Returns the mean over seeds with Student's 95 % interval."""
    return intervals(values[:, None])[0]


def less_first(values: Sequence[Float[np.ndarray, " S"]]) -> list[Float[np.ndarray, " S"]]:
    """Returns the differences from the first setting, seed by seed, since a seed has the same mini-batches in all."""
    return [of_setting - values[0] for of_setting in values]


def speedups_to_loss(losses: Curves, clock: Curves, progress: float) -> tuple[float, dict[Any, Estimate]]:
    """Returns a training loss to reach, and for each number of workers the speed-up in simulated seconds to it.

    The loss is the mean of the first setting after a part of its run, ``progress`` in [0, 1]. ``clock`` has the seconds
    of the same evaluations. A speed-up is the first setting's seconds over those of another, paired by seed.
    """
    alone = losses.values[0].mean(axis=0)
    target = float(alone[round(progress * (len(alone) - 1))])
    seconds = [first_crossing(c[0], v, target) for c, v in zip(clock.values, losses.values, strict=True)]
    return target, {p: interval(seconds[0] / mine) for p, mine in zip(losses.settings, seconds, strict=True)}


def speedups_to_accuracy(measures: Measures) -> pd.DataFrame:
    """Returns the speed-ups of a study: the throughput over that without delay, divided by the inflation.

    Each cell with a clock, several workers and an exact inflation has a row: ``num_updates``, ``num_workers``, the
    ratio of ``throughput``, and the speed-up's ``value``, ``low`` and ``high``.
    """
    cells, (inflation, side), rows = measures.study.cells, measures.inflation, []
    for cell, partner in enumerate(measures.partner):
        facts, known = cells.iloc[cell], np.isfinite(inflation[0, cell]) and side[0, cell] == EXACT
        if partner >= 0 and known and facts["num_workers"] > 1 and not np.isnan(facts["throughput"]):
            faster = facts["throughput"] / cells["throughput"].iloc[partner]
            speedup = measures.estimate(faster / inflation[:, cell])
            row = {name: facts[name] for name in ("num_updates", "num_workers")}
            rows.append({**row, "throughput": faster, **speedup._asdict()})
    return pd.DataFrame(rows)


def linear_speedup(comparison: Comparison, clock: str, quantity: str, axis: str) -> Float[np.ndarray, " p"] | None:
    """Returns what each number of workers would need on ``axis`` ("time" or "step") if staleness cost nothing.

    It is None if the smallest number of workers does not reach the target.
    """
    workers = np.array(comparison.num_workers)
    alone = comparison.reach(comparison.ours, clock, int(workers[0]), quantity, axis).estimate().value
    needed = alone * workers[0] / workers if axis == "time" else np.full(len(workers), alone)
    return needed if np.isfinite(alone) else None
