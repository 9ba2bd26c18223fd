"""Splits and resamples of clocks and mini-batches, so that tuning and reporting never share a run.

In each draw the seeds of a setting are cut at random into two halves of equal size, and so are its clocks, if there are
four or more. A run belongs to a half if both its seeds do. The step size chosen on one half is
judged on the other, then the halves change places. The first draws are such splits alone; their median is the estimate.
The other draws also resample, within each half, clocks and mini-batches. So their spread is that of the whole
procedure, tuning included. It also contains the spread over splits, which the median averages: intervals are wide
rather than narrow.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float, Shaped

from asyncopt.analysis.bootstrap import LEVEL, Estimate

NUM_SPLITS = 40
NUM_RESAMPLES = 1000
# Half of these tune, and half of them report.
FEWEST_UNITS = 4
# The normal quantile of an end of an interval.
_NORMAL = float(scipy.stats.norm.ppf((1 + LEVEL) / 2))
# If a larger share of the draws is undefined, there is no estimate, or no interval.
_MOST_UNDEFINED, _MOST_UNDEFINED_RESAMPLES = 0.5, 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Replicates:
    """A positive number for each draw; inf where the target was not reached, NaN where undefined."""

    values: Float[np.ndarray, " D"]  #: the splits, then the resamples
    num_units: int  #: independent units (clocks or seeds) that were drawn from
    num_seeds: int  #: independent mini-batches, which decide whether a target is reached at all

    def __truediv__(self, other: "Replicates") -> "Replicates":
        """Returns the ratio, draw by draw; NaN for inf over inf."""
        with np.errstate(invalid="ignore"):
            units, seeds = min(self.num_units, other.num_units), min(self.num_seeds, other.num_seeds)
            return Replicates(self.values / other.values, units, seeds)

    def estimate(self) -> Estimate:
        """Returns the median over the splits, with an interval over clocks and mini-batches.

        The percentiles of the resamples are stretched about the estimate on a log scale, by the ratio of Student's
        quantile with n - 2 degrees of freedom to the normal one: the variances of both halves are estimated.
        """
        value, low, high = self._percentiles()
        if math.isnan(low):
            return Estimate(value, low, high)
        stretch = scipy.stats.t.ppf((1 + LEVEL) / 2, self.num_units - 2) / _NORMAL
        return Estimate(value, _stretched(value, low, stretch), _stretched(value, high, stretch))

    def p_above_one(self) -> float:
        """Returns the smallest one-sided level at which the interval of `estimate` is above 1; NaN without one.

        Where the rival does not reach the target there is no logarithm to go by, but the share of the resamples at most
        1. If the rival reaches the target in no resample at all, n seeds that agree count as n coins that fall alike.
        """
        value, low, _ = self._percentiles()
        if math.isnan(low):
            return math.nan
        if math.isinf(value):
            resamples = self.values[NUM_SPLITS:]
            if np.isinf(resamples).all():
                return min(0.5**self.num_seeds, (1 - LEVEL) / 2)
            deviations = scipy.stats.norm.isf((1 + np.sum(resamples <= 1)) / (1 + len(resamples)))
            return float(scipy.stats.t.sf(deviations, self.num_units - 2))
        if low <= 0:
            return 1.0
        spread = math.log(value / low) / _NORMAL
        if spread == 0:
            return 0.0 if value > 1 else 1.0
        return float(scipy.stats.t.sf(math.log(value) / spread, self.num_units - 2))

    def _percentiles(self) -> Estimate:
        """Returns the median over the splits and the percentiles of the resamples; NaN where there are none."""
        splits, resamples = self.values[:NUM_SPLITS], self.values[NUM_SPLITS:]
        known = resamples[~np.isnan(resamples)]
        if np.isnan(splits).mean() > _MOST_UNDEFINED:
            return Estimate(np.nan, np.nan, np.nan)
        value = _median(splits[~np.isnan(splits)])
        if self.num_units < FEWEST_UNITS or len(known) < (1 - _MOST_UNDEFINED_RESAMPLES) * len(resamples):
            return Estimate(value, np.nan, np.nan)
        # Order statistics, not interpolated: between a number and inf there is nothing to interpolate.
        ordered = np.sort(known)
        index = int((1 - LEVEL) / 2 * len(ordered))
        low, high = float(ordered[index]), float(ordered[-1 - index])
        # Where all percentiles are on one side of the estimate, the other side reaches as far.
        if high < value and low > 0:
            high = value * (value / low)
        elif low > value > 0 and not math.isinf(high):
            low = value * (value / high)
        return Estimate(value, min(low, value), max(high, value))


def _stretched(value: float, end: float, stretch: float) -> float:
    """Returns the end of an interval moved away from ``value`` on a log scale; inf and 0 stay what they are."""
    if end <= 0 or value <= 0 or math.isinf(value):
        return float(end)
    return float(value * (end / value) ** stretch)


def _median(values: Float[np.ndarray, " n"]) -> float:
    """Returns the upper median: between a number and inf there is nothing to interpolate."""
    return float(np.sort(values)[len(values) // 2])


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """The weights of a setting's runs in each draw."""

    weights: Float[np.ndarray, "2 D N"]  #: for both halves; each sums to 1 over the runs, or is NaN
    num_units: int  #: independent units that were drawn from
    num_seeds: int  #: different seeds of mini-batches

    def replicates(self, values: Float[np.ndarray, " D"]) -> Replicates:
        """Returns a number for each draw, with what its interval needs to know of the runs."""
        return Replicates(values, self.num_units, self.num_seeds)

    def means(self, values: Float[np.ndarray, "N E"]) -> Float[np.ndarray, "2 D E"]:
        """Returns the weighted means over the runs. A run that diverged (inf or NaN) counts only where it is drawn."""
        values = np.where(np.isnan(values), np.inf, values)
        finite = np.isfinite(values)
        # Not as a matrix product, whose rounding depends on how BLAS splits it.
        total = np.einsum("hdn,ne->hde", self.weights, np.where(finite, values, 0.0), optimize=False)
        if not finite.all():
            total[np.einsum("hdn,ne->hde", self.weights > 0, ~finite, optimize=False)] = np.inf
        return total


@functools.lru_cache(maxsize=64)
def draws(clocks: tuple[int, ...], seeds: tuple[int, ...], is_random: bool) -> Draws:
    """Returns the draws for runs with these clocks (seeds of their traces) and these seeds of mini-batches.

    Draws are the same in every call, so methods that are compared share them. If every clock has mini-batches of its
    own, clocks are drawn with all their runs. If clocks share mini-batches, both are drawn independently, and a run's
    weight is the product. With one clock, or with constant times, mini-batches alone are drawn.

    References:
      Owen, `The pigeonhole bootstrap <https://doi.org/10.1214/07-AOAS122>`_, Ann. Appl. Stat. 1(2), 2007.
    """
    factors = _factors(clocks, seeds, is_random)
    generator = np.random.default_rng(0)
    weights = np.stack([_weights(generator, factors, draw >= NUM_SPLITS) for draw in range(NUM_SPLITS + NUM_RESAMPLES)])
    with np.errstate(invalid="ignore"):
        weights /= weights.sum(axis=-1, keepdims=True)
    units = [len(np.unique(factor)) for factor in factors]
    # Two or three clocks are resampled, but claims about so few are never decided.
    num_units = units[0] if units[-1] < FEWEST_UNITS else min(units)
    return Draws(np.moveaxis(weights, 1, 0), num_units, len(set(seeds)))


def _factors(clocks: Sequence[int], seeds: Sequence[int], is_random: bool) -> list[Shaped[np.ndarray, " N"]]:
    num_clocks = len(set(clocks))
    if not is_random or num_clocks == 1:
        return [np.array(seeds)]
    if len(set(seeds)) == len(seeds) and num_clocks >= FEWEST_UNITS:
        return [np.array(clocks)]
    return [np.array(seeds), np.array(clocks)]


def _weights(
    generator: np.random.Generator, factors: Sequence[Shaped[np.ndarray, " N"]], resamples: bool
) -> Float[np.ndarray, "2 N"]:
    """Returns the weights of all runs in both halves, not yet normalised."""
    weights = np.ones((2, len(factors[0])))
    for factor in factors:
        levels, of_run = np.unique(factor, return_inverse=True)
        order = generator.permutation(len(levels))
        # Few clocks are in both halves: tuning on them cannot favour a step size, since all step sizes share them.
        halves = np.array_split(order, 2) if len(levels) >= FEWEST_UNITS else [order]
        drawn = np.zeros((len(halves), len(levels)))
        for row, half in zip(drawn, halves, strict=True):
            row[half] = _counts(generator, len(half)) if resamples else 1.0
        weights *= drawn[:, of_run]
    return weights


def _counts(generator: np.random.Generator, number: int) -> Float[np.ndarray, " n"]:
    """Returns how often each of n units is drawn. With n - 1 draws a mean has the variance s²/n, not (1 - 1/n) s²/n."""
    return generator.multinomial(max(number - 1, 1), np.full(number, 1 / number)).astype(float)
