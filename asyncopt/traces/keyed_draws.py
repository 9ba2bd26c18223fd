"""Random numbers that are a function of (seed, stream, worker, job), in any order and many at once.

NumPy's own counter-based generators draw one stream after the other. Here the worker and the job may differ from number
to number: the jobs of a thousand workers that begin anew together are drawn in one call.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Int, UInt64

# SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014): a counter that
# advances by the golden ratio, and the finaliser that mixes its bits.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_STREAMS = 16  # uniform numbers for each job and part of a duration; those of a gamma repeat in blocks of this size
_GAMMA_ATTEMPTS = 64  # each fails with a probability below 5 %


class KeyedDraws:
    """A source of uniform numbers in (0, 1).

    Args:
      seed: at least 0.
      part: which part of a duration they are for; other parts have independent numbers.
    """

    def __init__(self, seed: int, part: int) -> None:
        (self._key,) = np.random.SeedSequence([seed, part]).generate_state(1, np.uint64)

    def uniform(
        self, worker: Int[np.ndarray, " n"], job: Int[np.ndarray, " n"], stream: int = 0
    ) -> Float[np.ndarray, " n"]:
        """Returns a number in (0, 1) for each worker and job; ``stream`` numbers several for the same job."""
        key = _mixed(self._key + (worker.astype(np.uint64) + np.uint64(1)) * _GOLDEN)
        counter = job.astype(np.uint64) * np.uint64(_STREAMS * _GAMMA_ATTEMPTS) + np.uint64(stream + 1)
        bits = _mixed(key + counter * _GOLDEN)
        return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def normal(
        self, worker: Int[np.ndarray, " n"], job: Int[np.ndarray, " n"], stream: int = 0
    ) -> Float[np.ndarray, " n"]:
        """Returns a standard normal number for each worker and job, by Box and Muller; it uses two streams."""
        radius = np.sqrt(-2 * np.log(self.uniform(worker, job, stream)))
        return radius * np.cos(2 * np.pi * self.uniform(worker, job, stream + 1))


def _mixed(bits: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX[0]
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX[1]
    return bits ^ (bits >> np.uint64(31))


def _gamma(draws: KeyedDraws, shape: float, worker: np.ndarray, job: np.ndarray) -> np.ndarray:
    """Gamma numbers of mean 1, by rejection (Marsaglia and Tsang, ACM Trans. Math. Softw. 26(3), 2000)."""
    boost = np.ones(len(worker))
    raised = shape
    if shape < 1:  # gamma(a) = gamma(a + 1) U^(1 / a)
        boost, raised = draws.uniform(worker, job, 3) ** (1 / shape), shape + 1
    d = raised - 1 / 3
    values, left = np.zeros(len(worker)), np.arange(len(worker))
    for attempt in range(_GAMMA_ATTEMPTS):
        stream = attempt * _STREAMS
        normal = draws.normal(worker[left], job[left], stream)
        cube = (1 + normal / np.sqrt(9 * d)) ** 3
        positive = np.maximum(cube, 1e-300)
        log_uniform = np.log(draws.uniform(worker[left], job[left], stream + 2))
        accepted = (cube > 0) & (log_uniform < normal**2 / 2 + d - d * positive + d * np.log(positive))
        values[left[accepted]] = d * cube[accepted]
        left = left[~accepted]
        if not len(left):
            break
    return values * boost / shape


# Draws of mean 1 for each distribution: (source, shape parameter, worker, job) -> float[n].
UNIT_MEAN: Mapping[str, Callable[[KeyedDraws, float, np.ndarray, np.ndarray], np.ndarray]] = {
    "constant": lambda draws, shape, worker, job: np.ones(len(worker)),
    "exponential": lambda draws, shape, worker, job: -np.log(draws.uniform(worker, job)),
    "gamma": _gamma,
    "half_normal": lambda draws, shape, worker, job: np.sqrt(np.pi / 2) * np.abs(draws.normal(worker, job)),
    "lognormal": lambda draws, shape, worker, job: np.exp(shape * draws.normal(worker, job) - shape**2 / 2),
    "pareto": lambda draws, shape, worker, job: (shape - 1) / shape * draws.uniform(worker, job) ** (-1 / shape),
}
