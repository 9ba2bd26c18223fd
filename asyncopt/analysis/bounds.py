"""Whether bounds hold, and how much smaller they could be before it shows."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from asyncopt.analysis import jackknife
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.criteria import Decision
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED

Values = Float[np.ndarray, "S C"]
# Wrong bounds, from the total and the delay's part.
WRONG: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "no delay term": lambda total, delay: total - delay,
    "delay term subtracted": lambda total, delay: total - 2 * delay,
    "delay term halved": lambda total, delay: total - delay / 2,
    "bound halved": lambda total, delay: total / 2,
}
# A bound that holds in every run is compared with room for rounding.
_ROUNDING = 1e-9


def holds(measured: Values, bound: Values, diverged: np.ndarray) -> Decision:
    """Decides whether in every cell the mean over seeds is at most the mean bound.

    A seed's measurement and bound stay together: the test is on their differences. All cells must pass, each at the
    same level; one cell alone violates, at the level divided by the number of cells. The measured number is the largest
    ratio of a cell, with the largest upper end of all.
    """
    measured = np.where(diverged, 0.0, measured)  # what diverged may be too large to compute with
    p_value, against = largest_p_value(measured, bound, diverged), jackknife.pivot(jackknife.means(bound - measured))
    surely = jackknife.p_values(against, 0.0) <= jackknife.ONE_SIDED / len(diverged)
    # Equal means are not broken: both p-values are 0 if no seed differs from its bound.
    broken = diverged | (surely & (against.value < 0))
    ratio = _largest_ratio(measured, bound, diverged)
    if broken.any():
        return Decision(ratio, VIOLATED, f"whole interval above 1 in {broken.sum()} of {len(broken)} cells")
    if p_value <= jackknife.ONE_SIDED:
        return Decision(ratio, CONFIRMED, f"interval at most 1 in all {len(broken)} cells", p_value)
    return Decision(ratio, INCONCLUSIVE, "interval on both sides of 1 in some cell", p_value)


def largest_p_value(measured: Values, bound: Values, diverged: np.ndarray) -> float:
    """Returns the smallest level at which the interval of every cell's mean difference from its bound is below 0."""
    difference = jackknife.pivot(jackknife.means(np.where(diverged, 0.0, measured) - bound))
    return float(np.max(np.where(diverged, 1.0, jackknife.p_values(difference, 0.0))))


def noticed(measured: Values, total: Values, delay: Values, diverged: np.ndarray) -> tuple[str, ...]:
    """Returns the wrong bounds of `WRONG` that these measurements would not have confirmed.

    A bound that is negative somewhere is no bound that anybody would believe: noticing it counts for nothing.
    """
    wrong = _positive(total, delay)
    return tuple(
        name for name, bound in wrong.items() if largest_p_value(measured, bound, diverged) > jackknife.ONE_SIDED
    )


def holds_always(smaller: Values, larger: Values) -> Decision:
    """Decides whether in every seed and cell one bound is at most another; without an interval."""
    if np.isnan(smaller).any() or np.isnan(larger).any():
        return Decision(Estimate(math.nan, math.nan, math.nan), INCONCLUSIVE, "some bound is not a number")
    smaller = np.where(np.isinf(larger), 0.0, smaller)  # anything is at most an infinite bound
    largest = float(np.max(smaller / np.where(larger > 0, larger, np.nan), initial=0.0))
    if (larger <= 0).any():
        largest = math.inf
    measured = Estimate(largest, math.nan, math.nan)
    if largest <= 1 + _ROUNDING:
        return Decision(measured, CONFIRMED, "in all runs")
    return Decision(measured, VIOLATED, "in some run it is larger")


def always_noticed(smaller: Values, total: Values, delay: Values) -> tuple[str, ...]:
    """Returns the wrong bounds of `WRONG` that some run exceeds, but for those that are negative somewhere."""
    wrong = _positive(total, delay)
    return tuple(name for name, bound in wrong.items() if holds_always(smaller, bound).outcome != CONFIRMED)


def _positive(total: Values, delay: Values) -> dict[str, Values]:
    """Returns the wrong bounds that are above zero everywhere."""
    wrong = {name: change(total, delay) for name, change in WRONG.items()}
    return {name: bound for name, bound in wrong.items() if (bound > 0).all()}


def _largest_ratio(measured: Values, bound: Values, diverged: np.ndarray) -> Estimate:
    if diverged.any():
        return Estimate(*3 * (math.inf,))
    ratios = jackknife.ratio(measured, bound)
    largest = max(ratios, key=lambda each: each.value)
    return Estimate(largest.value, largest.low, max(each.high for each in ratios))
