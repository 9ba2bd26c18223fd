"""Verdicts on claims, and the criteria that decide them."""

import dataclasses
import math

from asyncopt.analysis.bootstrap import Estimate

CONFIRMED, VIOLATED, INCONCLUSIVE = "confirmed", "violated", "inconclusive"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The result of comparing one claim of the theory with runs."""

    claim: str  #: the claim in words
    predicted: str  #: what the theory says about the measured number
    measured: Estimate  #: the number with its interval; NaN where there is none
    runs: int  #: how many runs (seeds times cells) it was computed from
    outcome: str  #: "confirmed", "violated" or "inconclusive"
    rule: str  #: the criterion that decided


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
