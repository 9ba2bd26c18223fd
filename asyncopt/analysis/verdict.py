"""What a measured number says of a claim: the verdict, and the criteria that decide it."""

import dataclasses
import math

from asyncopt.analysis.bootstrap import Estimate

CONFIRMED, VIOLATED, INCONCLUSIVE = "confirmed", "violated", "inconclusive"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One claim of the theory held against runs.

    Args:
      claim: in words.
      predicted: what the theory says of the measured number.
      measured: the number with its 95 % interval over seeds; NaN where there is none.
      runs: how many runs (seeds times cells) it was computed from.
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
    accepted = limit + tolerance
    return _decide(measured, measured.high <= accepted, measured.low > accepted, f"at most {accepted:.4g}")


def at_least(measured: Estimate, limit: float, tolerance: float) -> tuple[str, str]:
    """Returns outcome and rule of the claim "at least ``limit``"."""
    accepted = limit - tolerance
    return _decide(measured, measured.low >= accepted, measured.high < accepted, f"at least {accepted:.4g}")


def equal(measured: Estimate, target: float, tolerance: float) -> tuple[str, str]:
    """Returns outcome and rule of the claim "equal to ``target``"."""
    low, high = target - tolerance, target + tolerance
    inside = low <= measured.low and measured.high <= high
    outside = measured.high < low or measured.low > high
    return _decide(measured, inside, outside, f"within {low:.4g} and {high:.4g}")


def _decide(measured: Estimate, holds: bool, fails: bool, accepted: str) -> tuple[str, str]:
    if math.isnan(measured.low) or math.isnan(measured.high):
        return INCONCLUSIVE, "no interval"
    if holds:
        return CONFIRMED, f"interval {accepted}"
    if fails:
        return VIOLATED, f"whole interval not {accepted}"
    return INCONCLUSIVE, f"interval only partly {accepted}"
