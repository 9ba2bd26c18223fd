"""Measurements of several runs at the same values of x, where they were made at different ones."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, Real

_POINTS = 80


def common_points(measured_at: Sequence[Real[np.ndarray, " n"]]) -> Float[np.ndarray, " E"]:
    """Returns values of x from where all runs have been measured to where the first of them ends.

    Their ratios are equal if all are positive, else their differences.

    Args:
      measured_at: of each run, where it was measured, increasing. If one ends before another begins, all values are
        the same.
    """
    first = max(x[0] for x in measured_at)
    last = max(first, min(x[-1] for x in measured_at))
    return np.geomspace(first, last, _POINTS) if first > 0 else np.linspace(first, last, _POINTS)


def last_by(measured_at: Real[np.ndarray, " n"], points: Float[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
    """Returns the place of the last measurement by each value of x."""
    return np.searchsorted(measured_at, points, side="right") - 1
