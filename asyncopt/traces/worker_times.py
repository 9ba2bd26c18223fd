"""How long each worker takes for a gradient."""

import dataclasses

import numpy as np
from jaxtyping import Float

from asyncopt.checks import check_integer, check_number
from asyncopt.traces.durations import AnyDuration, Duration, as_duration


@dataclasses.dataclass(frozen=True)
class WorkerTimes:
    """The seconds that each of p workers takes for one gradient.

    Args:
      num_workers: p, at least 1.
      compute: seconds for one gradient, as in `asyncopt.traces.cluster`.
      stragglers: how many workers are slow, at least 0. They are the last ones; worker 0 is never slow.
      slowdown: how many times as long a slow worker takes, at least 1.

    Raises:
      InputError: if a number is out of range, or ``compute`` has means for another number of workers.
    """

    num_workers: int
    compute: AnyDuration
    stragglers: int = 0
    slowdown: float = 4.0

    def __post_init__(self) -> None:
        check_integer("num_workers", self.num_workers, at_least=1)
        straggler_factors(self.num_workers, self.stragglers, self.slowdown)  # refuses bad numbers
        self.duration.means("compute", self.num_workers)  # refuses another number of them

    @property
    def duration(self) -> Duration:
        """The seconds of a worker that is not slow."""
        return as_duration("compute", self.compute)

    @property
    def means(self) -> Float[np.ndarray, " p"]:
        """float[p], the mean seconds of each worker."""
        factors = straggler_factors(self.num_workers, self.stragglers, self.slowdown)
        return self.duration.means("compute", self.num_workers) * factors

    @property
    def label(self) -> str:
        """The distribution and the stragglers in words, as "exponential times, 1 straggler × 4"."""
        label = f"{self.duration.distribution} times"
        if not self.stragglers:
            return label
        return f"{label}, {self.stragglers} straggler{'s' if self.stragglers > 1 else ''} × {self.slowdown:g}"

    def unit_draws(self, generator: np.random.Generator, size: int) -> Float[np.ndarray, " size"]:
        """Returns independent draws of mean 1; a worker's seconds are a draw times its mean."""
        return self.duration.unit_draws(generator, size)


def straggler_factors(num_workers: int, stragglers: int, slowdown: float) -> Float[np.ndarray, " p"]:
    """Returns how many times as long as others each worker takes: 1, or ``slowdown`` for the last ``stragglers``.

    Worker 0 is never slow.

    Raises:
      InputError: if ``stragglers`` is not a number of workers, or ``slowdown`` is below 1.
    """
    factors = np.ones(num_workers)
    slow = check_integer("stragglers", stragglers, at_least=0)
    factors[max(num_workers - slow, 1) :] = check_number("slowdown", slowdown, at_least=1)
    return factors
