"""Training curves: means over seeds with intervals, what each setting costs, and speed-up to the same accuracy."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float, Real

from asyncopt.analysis.bootstrap import LEVEL, Estimate
from asyncopt.analysis.comparison import OURS, Comparison, first_crossing
from asyncopt.analysis.fits import EXACT
from asyncopt.analysis.measures import Measures


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """Training curves of runs that differ in one setting and in seeds.

    Args:
      name: problem and method, in words.
      by: the setting that differs.
      quantity: what was measured.
      settings: values of the setting, in order.
      step: real[E], updates made, or the same in another unit.
      values: for each setting, float[S, E], a row a seed; the same seeds in all.
    """

    name: str
    by: str
    quantity: str
    settings: list[Any]
    step: Real[np.ndarray, " E"]
    values: list[Float[np.ndarray, "S E"]]

    @property
    def num_seeds(self) -> int:
        """The number of seeds, S."""
        return len(self.values[0])

    @functools.cached_property
    def intervals(self) -> list[list[Estimate]]:
        """For each setting, the mean at each evaluation with its interval."""
        return [intervals(values) for values in self.values]

    @property
    def ends(self) -> list[Float[np.ndarray, " S"]]:
        """For each setting, the last measurement of each seed."""
        return [values[:, -1] for values in self.values]

    @property
    def means_over_run(self) -> list[Float[np.ndarray, " S"]]:
        """For each setting, the mean of each seed over the run, by the trapezoidal rule."""
        length = self.step[-1] - self.step[0]
        return [np.trapezoid(values, self.step, axis=1) / length for values in self.values]

    def scaled(self, factor: float) -> "Curves":
        """Returns the curves in another unit, in double precision."""
        return dataclasses.replace(self, values=[factor * values.astype(float) for values in self.values])

    def to_frame(self, axis: str = "step") -> pd.DataFrame:
        """Returns one row for each setting and evaluation: both, and the mean with its interval."""
        return pd.DataFrame([
            {self.by: setting, axis: step, **estimate._asdict()}
            for setting, estimates in zip(self.settings, self.intervals, strict=True)
            for step, estimate in zip(self.step, estimates, strict=True)
        ])  # fmt: skip


def intervals(values: Float[np.ndarray, "S E"]) -> list[Estimate]:
    """Returns the mean over seeds in each column, with Student's 95 % interval: seeds of networks are few."""
    number, mean = len(values), values.mean(axis=0)
    reach = np.full(values.shape[1], np.nan)
    if number > 1:
        reach = scipy.stats.t.ppf((1 + LEVEL) / 2, number - 1) * values.std(axis=0, ddof=1) / np.sqrt(number)
    return [Estimate(*map(float, ends)) for ends in zip(mean, mean - reach, mean + reach, strict=True)]


def interval(values: Float[np.ndarray, " S"]) -> Estimate:
    """Returns the mean over seeds with Student's 95 % interval."""
    return intervals(values[:, None])[0]


def less_first(values: Sequence[Float[np.ndarray, " S"]]) -> list[Float[np.ndarray, " S"]]:
    """Returns the differences from the first setting, seed by seed, on the same mini-batches."""
    return [mine - values[0] for mine in values]


def speedups_to_loss(losses: Curves, clock: Curves, progress: float) -> tuple[float, dict[Any, Estimate]]:
    """Returns the speed-up in simulated seconds to a training loss.

    Args:
      losses: training losses by the number of workers.
      clock: simulated seconds at the same evaluations of the same runs.
      progress: the loss to reach is the first setting's mean when this part of its run is over, in [0, 1].

    Returns:
      The loss to reach, and for each number of workers the first one's seconds over its own, seed by seed.
    """
    alone = losses.values[0].mean(axis=0)
    target = float(alone[round(progress * (len(alone) - 1))])
    seconds = [first_crossing(c[0], v, target) for c, v in zip(clock.values, losses.values, strict=True)]
    return target, {p: interval(seconds[0] / mine) for p, mine in zip(losses.settings, seconds, strict=True)}


def speedups_to_accuracy(measures: Measures) -> pd.DataFrame:
    """Returns the speed-ups of a study: throughput over the run without delay's, divided by the inflation.

    There is one row for each cell with a clock and several workers whose inflation is known, with ``throughput`` over
    that without delay, and the speed-up's ``value``, ``low`` and ``high``.
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
    """Returns what each number of workers would need if staleness cost nothing, on the axis "time" or "step".

    None if the fewest workers do not reach the target.
    """
    workers = np.array(comparison.num_workers)
    alone = comparison.estimate(comparison.reach(OURS, clock, int(workers[0]), quantity, axis)).value
    needed = alone * workers[0] / workers if axis == "time" else np.full(len(workers), alone)
    return needed if np.isfinite(alone) else None
