"""Schedules made by rule or by drawing delays: no clock, one nominal worker unless said otherwise."""

import numpy as np
from jaxtyping import Float, Int

from asyncopt.checks import check_integer, check_number
from asyncopt.traces.trace import Trace


def synchronous(num_updates: int) -> Trace:
    """Every gradient is fresh: read_version[k] = k.

    Args:
      num_updates: K, at least 1.
    """
    return constant(num_updates, 0)


def constant(num_updates: int, delay: int) -> Trace:
    """Every gradient is ``delay`` updates old, as soon as that many have been made: min(delay, k).

    Args:
      num_updates: K, at least 1.
      delay: in updates, at least 0.
    """
    updates = np.arange(check_integer("num_updates", num_updates, at_least=1))
    delay = check_integer("delay", delay, at_least=0)
    return Trace.from_delays(np.minimum(delay, updates))


def uniform(num_updates: int, max_delay: int, seed: int = 0) -> Trace:
    """Delays drawn uniformly from {0, ..., min(max_delay, k)}: the artificial delay of the APAM paper.

    Args:
      num_updates: K, at least 1.
      max_delay: in updates, at least 0.
      seed: of the delays.

    References:
      Xu et al., `Parallel and distributed asynchronous adaptive stochastic gradient methods
      <https://arxiv.org/abs/2002.09095>`_, 2020.
    """
    updates = np.arange(check_integer("num_updates", num_updates, at_least=1))
    max_delay = check_integer("max_delay", max_delay, at_least=0)
    return Trace.from_delays(_generator(seed).integers(0, np.minimum(max_delay, updates), endpoint=True))


def geometric(num_updates: int, mean_delay: float, seed: int = 0) -> Trace:
    """Delays with a geometric law on {0, 1, ...}: unbounded, P(delay = d) = q (1 - q)^d, q = 1/(1 + mean).

    A delay that would reach before the start is cut to k.

    Args:
      num_updates: K, at least 1.
      mean_delay: in updates, at least 0.
      seed: of the delays.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    mean_delay = check_number("mean_delay", mean_delay, at_least=0)
    return _cut_to_start(_generator(seed).geometric(1 / (1 + mean_delay), num_updates) - 1)


def pareto(num_updates: int, mean_delay: float, shape: float = 1.5, seed: int = 0) -> Trace:
    """Delays with a power-law tail, P(delay > d) ~ d^-shape: with ``shape`` of at most 2 their variance is infinite.

    A Lomax (Pareto II) variable of the asked mean is rounded up or down at random so that the mean is kept. A
    delay that would reach before the start is cut to k.

    Args:
      num_updates: K, at least 1.
      mean_delay: in updates, at least 0.
      shape: the tail's exponent, above 1 (below, there is no mean).
      seed: of the delays.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    mean_delay = check_number("mean_delay", mean_delay, at_least=0)
    shape = check_number("shape", shape, above=1)
    generator = _generator(seed)
    lomax = mean_delay * (shape - 1) * generator.pareto(shape, num_updates)
    return _cut_to_start(np.floor(lomax + generator.random(num_updates)))


def cyclic(num_updates: int, num_workers: int) -> Trace:
    """Workers take turns: worker k mod p delivers update k, and reads again as soon as it is applied.

    So every delay is p - 1 once each worker has had its first turn.

    Args:
      num_updates: K, at least 1.
      num_workers: p, at least 1.
    """
    num_workers = check_integer("num_workers", num_workers, at_least=1)
    read_version = constant(num_updates, num_workers - 1).read_version
    return Trace(read_version, worker=np.arange(num_updates) % num_workers, num_workers=num_workers)


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(check_integer("seed", seed, at_least=0))


def _cut_to_start(delays: Float[np.ndarray, " K"] | Int[np.ndarray, " K"]) -> Trace:
    return Trace.from_delays(np.minimum(delays, np.arange(len(delays))))
