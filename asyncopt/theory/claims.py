"""What theorems claim of runs, as values; `asyncopt.analysis.judge` holds them against runs.

Exponents are those of K, the number of updates, where nothing else is said.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Claim:
    """Something that runs could contradict."""


@dataclasses.dataclass(frozen=True)
class BoundsHold(Claim):
    """The measured mean is at most the a-posteriori bound, and that is at most the a-priori one."""


@dataclasses.dataclass(frozen=True)
class Rate(Claim):
    """The quantity falls as K^exponent or faster, if the staleness grows no faster than K^up_to."""

    exponent: float
    up_to: float


@dataclasses.dataclass(frozen=True)
class SameRate(Claim):
    """Staleness that grows as K^up_to leaves the exponent as it is without delay."""

    up_to: float


@dataclasses.dataclass(frozen=True)
class Attained(Claim):
    """Without delay, K^exponent is attained on problems that are made to show it."""

    exponent: float


@dataclasses.dataclass(frozen=True)
class DelayTerm(Claim):
    """What staleness τ adds grows as τ^delay at most, and falls as K^num_updates or faster."""

    delay: float
    num_updates: float


@dataclasses.dataclass(frozen=True)
class Inflation(Claim):
    """Updates to accuracy, over those without delay, tend to 1 below K^critical; at it they stay bounded."""

    critical: float


@dataclasses.dataclass(frozen=True)
class Threshold(Claim):
    """The largest harmless delay grows as K^exponent or faster."""

    exponent: float
