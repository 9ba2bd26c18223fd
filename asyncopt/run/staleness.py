"""Staleness as a rule in the number of updates: ``0``, ``20``, ``K**0.25``, ``2*K**0.5``.

The resolvers put the delay that a rule gives into the trace's configuration; reports group runs by their rule.
"""

import dataclasses
import fractions
import re

from asyncopt.checks import InputError

_RULE = re.compile(r"(?:(?P<factor>\d+(?:\.\d+)?)\*)?K(?:\*\*|\^)(?P<exponent>\d+/\d+|\d+(?:\.\d+)?|\.\d+)")


@dataclasses.dataclass(frozen=True)
class Staleness:
    """τ(K) = factor · K^exponent, rounded.

    Args:
      factor: at least 0.
      exponent: at least 0; 0 for a delay that is the same for every K.
    """

    factor: float
    exponent: float

    @property
    def label(self) -> str:
        """The rule as a reader expects it, such as ``0``, ``20``, ``K^1/4``, ``2 K^1/2``."""
        if self.exponent == 0 or self.factor == 0:
            return f"{self.factor:g}"
        exponent = fractions.Fraction(self.exponent).limit_denominator(64)
        return ("" if self.factor == 1 else f"{self.factor:g} ") + f"K^{exponent}"

    def __call__(self, num_updates: int) -> int:
        """Returns τ for K updates, in updates."""
        return round(self.factor * num_updates**self.exponent)


def parse(value: int | str) -> Staleness:
    """Reads a rule.

    Raises:
      InputError: if it is neither a whole number of updates nor of the form ``c*K**a``, where a may be a fraction.
    """
    match = None
    if isinstance(value, str):
        match = _RULE.fullmatch(value.replace(" ", ""))
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Staleness(value, 0.0)
    try:
        if match is None:
            raise ValueError
        exponent = float(fractions.Fraction(match["exponent"]))
    except (ValueError, ZeroDivisionError):
        raise InputError(
            f"staleness is {value!r}, expected a whole number of updates or a rule such as K**0.25 or 2*K**0.5"
        ) from None
    return Staleness(float(match["factor"] or 1), exponent)
