"""Verdicts on claims, and the criteria that decide them."""

import dataclasses
import math

from asyncopt.analysis.bootstrap import Estimate

CONFIRMED, VIOLATED, INCONCLUSIVE = "confirmed", "violated", "inconclusive"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The result of comparing one claim of the theory with runs.

    Args:
      claim: the claim in words.
      predicted: what the theory says about the measured number.
      measured: the number with its 95 % interval over seeds; NaN where there is none.
      runs: the number of runs (seeds times cells) that it was computed from.
      outcome: "confirmed", "violated" or "inconclusive".
      rule: the criterion that decided.
    """

    claim: str
    predicted: str
    measured: Estimate
    runs: int
    outcome: str
    rule: str


def at_most(measured: Estimate, limit: float, tolerance: float) -> tuple[str, str]:
    """Returns outcome and rule of the claim "at most ``limit``"."""
    return _decide(measured, -math.inf, limit + tolerance, f"at most {limit + tolerance:.4g}")


def at_least(measured: Estimate, limit: float, tolerance: float) -> tuple[str, str]:
    """Returns outcome and rule of the claim "at least ``limit``"."""
    return _decide(measured, limit - tolerance, math.inf, f"at least {limit - tolerance:.4g}")


def equal(measured: Estimate, target: float, tolerance: float) -> tuple[str, str]:
    """Returns outcome and rule of the claim "equal to ``target``"."""
    low, high = target - tolerance, target + tolerance
    return _decide(measured, low, high, f"within {low:.4g} and {high:.4g}")


def _decide(measured: Estimate, low: float, high: float, accepted: str) -> tuple[str, str]:
    if math.isnan(measured.low) or math.isnan(measured.high):
        return INCONCLUSIVE, "no interval"
    if low <= measured.low and measured.high <= high:
        return CONFIRMED, f"interval {accepted}"
    if measured.high < low or measured.low > high:
        return VIOLATED, f"whole interval not {accepted}"
    return INCONCLUSIVE, f"interval only partly {accepted}"
