"""Verdicts on claims, the criteria that decide them, and the correction for many claims."""

import dataclasses
import math
from collections.abc import Sequence

from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.jackknife import ONE_SIDED

CONFIRMED, CONSISTENT, VIOLATED = "confirmed", "consistent", "violated"
INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested"
OUTCOMES = (CONFIRMED, CONSISTENT, VIOLATED, INCONCLUSIVE, NOT_TESTED)
# What stands in place of an outcome where theory claims nothing, unless the claim is violated.
NOT_CLAIMED = "not claimed"
# The outcome of a claim about methods whose step sizes were not tuned alike, or not to the end.
NOT_COMPARABLE = "not comparable"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The result of comparing one claim of the theory with runs."""

    claim: str  #: the claim in words
    predicted: str  #: what the theory says about the measured number
    measured: Estimate  #: the number with its interval; NaN where there is none
    runs: int  #: how many runs (seeds times cells) it was computed from
    outcome: str  #: one of `OUTCOMES`, or `NOT_COMPARABLE`
    rule: str  #: the criterion that decided
    noticed: tuple[str, ...] = ()  #: the wrong claims, in words, that these runs would not have let pass
    p_value: float = math.nan  #: the smallest one-sided level at which it is confirmed; NaN if it cannot be
    otherwise: str = INCONCLUSIVE  #: the outcome if the correction for many claims takes "confirmed" away
    tolerance: str = "0"  #: how far beyond the limit an interval may reach if the claim is confirmed, or consistent
    unclaimed: str = ""  #: why theory claims nothing of these runs, or ""

    @property
    def shown(self) -> str:
        """The outcome for readers; `NOT_CLAIMED` where theory claims nothing, and the runs do not contradict it."""
        return NOT_CLAIMED if self.unclaimed and self.outcome != VIOLATED else self.outcome


def at_most(measured: Estimate, limit: float, margin: float = 0.0) -> tuple[str, str]:
    """Returns outcome and rule of the claim "at most ``limit``".

    It is consistent if the interval has the limit inside, and excludes ``limit + margin``.
    """
    return _decide(measured.low, measured.high, limit, margin, f"at most {limit:.4g}", f"{limit + margin:.4g}")


def at_least(measured: Estimate, limit: float, margin: float = 0.0) -> tuple[str, str]:
    """Returns outcome and rule of the claim "at least ``limit``"; consistent as in `at_most`, by ``limit - margin``."""
    accepted, excluded = f"at least {limit:.4g}", f"{limit - margin:.4g}"
    return _decide(-measured.high, -measured.low, -limit, margin, accepted, excluded)


def equal(measured: Estimate, target: float, margin: float, resolution: float = 0.0) -> tuple[str, str]:
    """Returns outcome and rule of the claim "equal to ``target``", which no interval confirms.

    It is consistent if the interval comes within ``resolution`` of the target, and excludes both ``target ± margin``.
    """
    if math.isnan(measured.low) or math.isnan(measured.high):
        return INCONCLUSIVE, "no interval"
    if not measured.low - resolution <= target <= measured.high + resolution:
        return VIOLATED, f"interval without {target:.4g}"
    around = f"interval around {target:.4g}" + (f" or within {resolution:g} of it" if resolution else "")
    if target - margin < measured.low and measured.high < target + margin:
        return CONSISTENT, f"{around}, and all of it within {margin:.4g}"
    return INCONCLUSIVE, f"{around}, but not all of it within {margin:.4g}"


def _decide(low: float, high: float, limit: float, margin: float, accepted: str, excluded: str) -> tuple[str, str]:
    if math.isnan(low) or math.isnan(high):
        return INCONCLUSIVE, "no interval"
    if high <= limit:
        return CONFIRMED, f"interval {accepted}"
    if low > limit:
        return VIOLATED, f"whole interval not {accepted}"
    if high < limit + margin:
        return CONSISTENT, f"interval only partly {accepted}, and without {excluded}"
    return INCONCLUSIVE, f"interval only partly {accepted}"


def corrected(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Returns the verdicts after Holm's correction over all with a p-value, and after the question of power.

    The chance that any of them is confirmed wrongly is then 2.5 %, as far as the intervals have their level. What would
    be confirmed, but would not have noticed anything, is not tested.

    References:
      Holm, `A simple sequentially rejective multiple test procedure <https://www.jstor.org/stable/4615733>`_,
      Scandinavian Journal of Statistics 6(2), 1979.
    """
    p_values = [verdict.p_value for verdict in verdicts if not math.isnan(verdict.p_value)]
    largest = largest_significant(p_values, ONE_SIDED)
    return [_after(verdict, verdict.p_value > largest, len(p_values)) for verdict in verdicts]


def largest_significant(p_values: Sequence[float], level: float) -> float:
    """Returns the largest of several p-values that is significant after Holm's correction; -inf if none is."""
    ordered = sorted(p_values)
    passed = [p <= level / (len(ordered) - index) for index, p in enumerate(ordered)]
    number = passed.index(False) if False in passed else len(passed)
    return ordered[number - 1] if number else -math.inf


def _after(verdict: Verdict, fails: bool, number: int) -> Verdict:
    if verdict.outcome != CONFIRMED:
        return verdict
    if not verdict.noticed:
        rule = f"{verdict.rule}, but a wrong claim would have passed, too"
        return dataclasses.replace(verdict, outcome=NOT_TESTED, rule=rule)
    if fails:
        rule = f"{verdict.rule}, but not after Holm's correction for {number} claims"
        return dataclasses.replace(verdict, outcome=verdict.otherwise, rule=rule)
    return verdict
