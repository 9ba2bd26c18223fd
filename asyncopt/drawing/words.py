"""How numbers are put in words, in figures, pages and tables alike."""

import numpy as np


def seeds(number: int, intervals: str = "") -> str:
    """Returns "1 seed", or "16 seeds" followed by what the intervals show."""
    return "1 seed" if number == 1 else ", ".join(filter(None, [f"{number} seeds", intervals]))


def with_interval(estimate: tuple[float, float, float], form: str = ".2f") -> str:
    """Returns "value [low, high]", or the value alone where there is no interval."""
    value, low, high = (format(x, form) for x in estimate)
    return value if np.isnan(estimate[1]) else f"{value} [{low}, {high}]"
