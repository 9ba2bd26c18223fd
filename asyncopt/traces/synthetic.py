"""Synthetic schedules: fixed delays and random delays, without a clock."""

import numpy as np
from jaxtyping import Float, Int

from asyncopt.checks import check_integer, check_number, check_seed, warn_of_idle_workers
from asyncopt.traces.trace import Trace, staleness_setting


def synchronous(num_updates: int) -> Trace:
    """Returns the trace without delay: read_version[k] = k.

    Args:
      num_updates: K, at least 1.
    """
    return constant(num_updates, 0)


@staleness_setting("delay")
def constant(num_updates: int, delay: int, warmup: int = 0) -> Trace:
    """Returns the trace in which update k's gradient is min(delay, k) updates old.

    Args:
      num_updates: K, at least 1.
      delay: in updates, at least 0.
      warmup: how many updates at the start have no delay, as ZeRO-Offload's delayed updates begin after some dozens.

    References:
      Ren et al., `ZeRO-Offload: democratizing billion-scale model training <https://arxiv.org/abs/2101.06840>`_, 2021.
    """
    updates = np.arange(check_integer("num_updates", num_updates, at_least=1))
    delay = check_integer("delay", delay, at_least=0)
    warmup = check_integer("warmup", warmup, at_least=0)
    return Trace.from_delays(np.where(updates < warmup, 0, np.minimum(delay, updates)))


@staleness_setting("max_delay")
def uniform(num_updates: int, max_delay: int, seed: int = 0) -> Trace:
    """Draws each delay uniformly from {0, ..., min(max_delay, k)}: the artificial delay of the APAM paper.

    Args:
      num_updates: K, at least 1.
      max_delay: in updates, at least 0.
      seed: seed of the delays.

    References:
      Xu et al., `Parallel and distributed asynchronous adaptive stochastic gradient methods
      <https://arxiv.org/abs/2002.09095>`_, 2020.
    """
    updates = np.arange(check_integer("num_updates", num_updates, at_least=1))
    max_delay = check_integer("max_delay", max_delay, at_least=0)
    return Trace.from_delays(_generator(seed).integers(0, np.minimum(max_delay, updates), endpoint=True))


@staleness_setting("mean_delay")
def geometric(num_updates: int, mean_delay: float, seed: int = 0) -> Trace:
    """Draws geometric delays on {0, 1, ...}: unbounded, P(delay = d) = q (1 - q)^d, q = 1/(1 + mean_delay).

    The delay of update k is at most k: longer ones are cut to k.

    Args:
      num_updates: K, at least 1.
      mean_delay: in updates, at least 0.
      seed: seed of the delays.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    mean_delay = check_number("mean_delay", mean_delay, at_least=0)
    return _cut_to_start(_generator(seed).geometric(1 / (1 + mean_delay), num_updates) - 1)


@staleness_setting("mean_delay")
def pareto(num_updates: int, mean_delay: float, shape: float = 1.5, seed: int = 0) -> Trace:
    """Draws delays with a power-law tail, P(delay > d) ~ d^-shape; if ``shape`` is at most 2, the variance is infinite.

    A Lomax (Pareto II) variable of mean ``mean_delay`` is rounded up or down at random, which keeps its mean. The delay
    of update k is at most k: longer ones are cut to k.

    Args:
      num_updates: K, at least 1.
      mean_delay: in updates, at least 0.
      shape: the tail's exponent, above 1, so that there is a mean.
      seed: seed of the delays.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    mean_delay = check_number("mean_delay", mean_delay, at_least=0)
    shape = check_number("shape", shape, above=1)
    generator = _generator(seed)
    lomax = mean_delay * (shape - 1) * generator.pareto(shape, num_updates)
    return _cut_to_start(np.floor(lomax + generator.random(num_updates)))


@staleness_setting("num_workers")
def cyclic(num_updates: int, num_workers: int) -> Trace:
    """Returns the trace of p workers that take turns: worker k mod p delivers update k, and then reads again.

    So every delay is p - 1 once each worker has had its first turn.

    Args:
      num_updates: K, at least 1.
      num_workers: p, at least 1.
    """
    num_workers = check_integer("num_workers", num_workers, at_least=1)
    read_version = constant(num_updates, num_workers - 1).read_version
    warn_of_idle_workers(num_workers, num_updates, 3)
    return Trace(read_version, worker=np.arange(num_updates) % num_workers, num_workers=num_workers)


def _generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(check_seed("seed", seed))


def _cut_to_start(delays: Float[np.ndarray, " K"] | Int[np.ndarray, " K"]) -> Trace:
    return Trace.from_delays(np.minimum(delays, np.arange(len(delays))))
