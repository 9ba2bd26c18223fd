"""What theorems claim about runs, as values that `asyncopt.analysis.judge` compares with runs.

An exponent is that of K, the number of updates, unless its claim says otherwise.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that runs can contradict."""


@dataclasses.dataclass(frozen=True)
class Certified(Claim):
    """Every single run meets the theorem's certificates, after every update."""


@dataclasses.dataclass(frozen=True)
class BoundsHold(Claim):
    """The measured mean is at most the a-posteriori bound, and that is at most the a-priori one."""


@dataclasses.dataclass(frozen=True)
class Rate(Claim):
    """The quantity falls as K^exponent or faster, if the staleness grows no faster than K^up_to."""

    exponent: float
    up_to: float


@dataclasses.dataclass(frozen=True)
class Constant(Claim):
    """K^-exponent times the quantity is at most its a-priori bound's constant, if staleness is at most K^up_to.

    Both are the largest over all K. A bound says this of the rate, and no more: that a slope is reached is `Rate`.
    """

    exponent: float
    up_to: float


@dataclasses.dataclass(frozen=True)
class SameRate(Claim):
    """With staleness that grows as K^up_to, the exponent is the one without delay."""

    up_to: float


@dataclasses.dataclass(frozen=True)
class Attained(Claim):
    """Without delay, K^exponent is attained on problems that are constructed to attain it, by one quantity."""

    exponent: float
    quantity: str = "average_gap"


@dataclasses.dataclass(frozen=True)
class DelayTerm(Claim):
    """The part that staleness τ adds grows at most as τ^delay, and falls as K^num_updates or faster."""

    delay: float
    num_updates: float


@dataclasses.dataclass(frozen=True)
class Inflation(Claim):
    """The updates to an accuracy, over those without delay, tend to 1 below K^critical and stay bounded at it."""

    critical: float


@dataclasses.dataclass(frozen=True)
class Threshold(Claim):
    """The largest harmless delay grows as K^exponent or faster."""

    exponent: float
