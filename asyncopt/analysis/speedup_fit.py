"""Fits the cluster model to reported speed-ups: the computing time and the server's time that would give them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.optimize
from jaxtyping import Float

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.theory import asynchronous_throughput

# The search starts from each of these server times, in units of one worker's time for a gradient.
_STARTS = (0.001, 0.01, 0.1)


@dataclasses.dataclass(frozen=True, eq=False)
class SpeedupFit:
    """The cluster whose throughput is nearest to reported speed-ups, in units of the report's one-worker update."""

    num_workers: tuple[int, ...]  #: p
    reported: tuple[float, ...]  #: the reported speed-up for each p
    compute: float  #: mean time of one gradient
    server: float  #: mean time for the server to apply a gradient

    def speedup(self, num_workers: int) -> float:
        """Returns the model's speed-up with p workers."""
        return asynchronous_throughput(num_workers, self.compute, self.server)

    @property
    def errors(self) -> Float[np.ndarray, " n"]:
        """The relative error of the model's speed-up at each p."""
        return np.array([self.speedup(p) for p in self.num_workers]) / np.array(self.reported) - 1

    @property
    def error(self) -> float:
        """The root mean square of the relative errors."""
        return float(np.sqrt(np.mean(self.errors**2)))

    @property
    def worst(self) -> float:
        """The largest absolute relative error."""
        return float(np.abs(self.errors).max())


def fit_speedup(num_workers: Sequence[int], reported: Sequence[float]) -> SpeedupFit:
    r"""Fits the two times of the cluster model to a table of speed-ups.

    .. math:: \min_{c, s} \sum_i \big(\log X_{p_i}(c, s) - \log S_i\big)^2,

    with X the throughput of `asyncopt.theory.asynchronous_throughput` for exponential times. Both times are free, since
    the reported speed-up of one worker is a measurement, too.

    Args:
      num_workers: int[n], p, at least two different ones.
      reported: float[n], S, each above 0.

    Raises:
      InputError: if the lengths differ, a number is out of range, or there are fewer than two points.
    """
    if len(num_workers) != len(reported) or len(set(num_workers)) < 2:
        lengths = f"num_workers has {len(num_workers)} values and reported {len(reported)}"
        raise InputError(f"{lengths}, expected as many of each, of at least two different numbers of workers")
    workers = tuple(check_integer("num_workers", p, at_least=1) for p in num_workers)
    speedups = tuple(check_number("reported", s, above=0) for s in reported)

    def residuals(logs: np.ndarray) -> np.ndarray:
        compute, server = np.exp(logs)
        return np.log([asynchronous_throughput(p, compute, server) for p in workers]) - np.log(speedups)

    starts = [(0.0, np.log(start)) for start in _STARTS]
    # Tight tolerances, so the last digits do not depend on the start of the search.
    solutions = [scipy.optimize.least_squares(residuals, x, xtol=1e-12, ftol=1e-12, gtol=1e-12) for x in starts]
    compute, server = np.exp(min(solutions, key=lambda solution: solution.cost).x)
    return SpeedupFit(workers, speedups, float(compute), float(server))
