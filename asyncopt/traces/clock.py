"""What the clocks of the two cluster models have in common: how long each worker takes."""

import numpy as np
from jaxtyping import Float

from asyncopt.checks import check_integer, check_number
from asyncopt.traces.durations import Duration


def compute_means(compute: Duration, num_workers: int, stragglers: int, slowdown: float) -> Float[np.ndarray, " p"]:
    """Returns each worker's mean seconds for a gradient; the last ``stragglers`` take ``slowdown`` times as long.

    Args:
      compute: seconds for one gradient.
      num_workers: p.
      stragglers: how many workers are slow, at least 0. Never all: one of p stays as it is, the only one if p is 1.
      slowdown: how many times as long they take, at least 1.

    Raises:
      InputError: if a number is out of range.
    """
    stragglers = check_integer("stragglers", stragglers, at_least=0)
    slowdown = check_number("slowdown", slowdown, at_least=1)
    means = np.array(compute.means("compute", num_workers))
    first_slow = max(num_workers - stragglers, 1)
    means[first_slow:] *= slowdown
    return means
