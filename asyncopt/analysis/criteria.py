"""What must hold for a claim: statistics that are all at most, or all at least, a limit."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from asyncopt.analysis import jackknife, verdict
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, VIOLATED

# A claim is consistent only if an exponent this much on the wrong side is excluded; wrong claims are off by as much.
EXPONENT_MARGIN = 0.1
ROUNDING = 1e-9


def tolerance(margin: float) -> str:
    """Returns the tolerance of a claim in words, see `asyncopt.analysis.verdict.Verdict`."""
    return f"0; {margin:g} for consistent" if margin > 0 else "0"


Rows = Float[np.ndarray, " 1+S"]


class Decision(NamedTuple):
    """What a criterion says of the runs."""

    measured: Estimate
    outcome: str
    rule: str
    p_value: float = math.nan  # the smallest one-sided level at which it is confirmed
    otherwise: str = INCONCLUSIVE  # the outcome if that level is too large
    tolerance: str = "0"  # see `Verdict`


@dataclasses.dataclass(frozen=True, eq=False)
class Criterion:
    """The claim that a measured exponent, and each further one of the same claim, is at most a limit.

    It is confirmed if all are, each by its own interval at the full level (an intersection-union test). It is violated
    if the whole interval of the measured exponent is on the wrong side, or one in ``decisive`` is, at the level divided
    by their number. If all parts are on the right side, and some of them significantly, a measured exponent on the
    wrong side is an extrapolation, and the claim is inconclusive.
    """

    measured: Rows  #: the exponent: of all seeds, then without each
    limit: float
    parts: Mapping[str, Rows] = dataclasses.field(default_factory=dict)  #: further exponents, by name
    decisive: tuple[str, ...] = ()  #: the parts that violate the claim alone
    margin: float = EXPONENT_MARGIN
    at_least: bool = False  #: whether the limit is a lower one

    def decide(self) -> Decision:
        """Returns the decision."""
        return self._decide()._replace(tolerance=tolerance(self.margin))

    def _decide(self) -> Decision:
        measured = jackknife.estimate(self._exact(self.measured))
        test = verdict.at_least if self.at_least else verdict.at_most
        outcome, rule = test(measured, self.limit, self.margin)
        opposed = [name for name in self.parts if self._p(self.parts[name], wrong=True) <= jackknife.ONE_SIDED]
        level = jackknife.ONE_SIDED / max(len(self.decisive), 1)
        deciding = [name for name in self.decisive if self._p(self.parts[name], wrong=True) <= level]
        supporting = [name for name in self.parts if self._p(self.parts[name]) <= jackknife.ONE_SIDED]
        if outcome == VIOLATED and supporting and all(map(self._right, self.parts.values())):
            return Decision(measured, INCONCLUSIVE, f"{rule}, but on the right side {supporting[-1]}")
        if outcome == VIOLATED or math.isnan(measured.low):
            return Decision(measured, outcome, rule)
        if deciding:
            return Decision(measured, VIOLATED, f"{rule}, but all of it on the wrong side {deciding[0]}")
        p_values = {"": self._p(self.measured)} | {name: self._p(rows) for name, rows in self.parts.items()}
        p_value = max(1.0 if math.isnan(p) else p for p in p_values.values())
        narrow = outcome in (CONFIRMED, CONSISTENT) and self.margin > 0 and not opposed
        otherwise = CONSISTENT if narrow else INCONCLUSIVE
        if p_value <= jackknife.ONE_SIDED:
            return Decision(measured, CONFIRMED, rule + (" in every part" if self.parts else ""), p_value, otherwise)
        if outcome == CONFIRMED:
            unsure = max(p_values, key=lambda name: math.inf if math.isnan(p_values[name]) else p_values[name])
            rule += f", but not {unsure}"
        elif opposed:
            rule += f", and on the wrong side {opposed[0]}"
        return Decision(measured, otherwise, rule, p_value, otherwise)

    def notices(self, change: float = EXPONENT_MARGIN) -> bool:
        """Whether a claim that is stricter by ``change`` would be neither confirmed nor consistent."""
        stricter = self.limit + change if self.at_least else self.limit - change
        return dataclasses.replace(self, limit=stricter).decide().outcome not in (CONFIRMED, CONSISTENT)

    def _p(self, rows: Rows, wrong: bool = False) -> float:
        """Returns the smallest level at which an exponent is on the right side, or on the wrong one."""
        sign = -1.0 if self.at_least != wrong else 1.0
        exact = self._exact(rows)
        if wrong and (exact == self.limit).all():
            return 1.0  # at the limit in every row is on the right side
        return jackknife.p_at_most(sign * exact, sign * self.limit)

    def _right(self, rows: Rows) -> bool:
        """Whether an exponent is on the right side, by its value alone."""
        return bool(rows[0] >= self.limit if self.at_least else rows[0] <= self.limit)

    def _exact(self, rows: Rows) -> Rows:
        """Returns rows in which what rounding alone keeps from the limit is at it."""
        return np.where(np.abs(rows - self.limit) < ROUNDING, self.limit, rows)
