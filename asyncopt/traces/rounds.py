"""Synchronous rounds of p workers, on the clock of the cluster model."""

import numpy as np

from asyncopt.checks import InputError
from asyncopt.traces.durations import AnyDuration
from asyncopt.traces.seconds import Seconds
from asyncopt.traces.trace import Trace, staleness_setting
from asyncopt.traces.worker_times import WorkerTimes


@staleness_setting("num_workers")
def rounds(
    num_updates: int,
    num_workers: int,
    compute: AnyDuration = "exponential",
    server: AnyDuration = 0.0,
    network: AnyDuration = 0.0,
    stragglers: int = 0,
    slowdown: float = 4.0,
    seed: int = 0,
) -> Trace:
    """Simulates synchronous training: in a round each of p workers computes one gradient at the same iterate.

    A round ends when its slowest gradient has come and the server has applied the average of all, once. The trace has
    one entry for each gradient, so K counts gradients as it does for `cluster`. The optimizer must step with every p-th
    gradient, and leave the iterate alone in between:
    ``asyncopt.optim.buffer_updates(optimizer, size=p, exponent=0)``. So every delay is 0.

    Args:
      num_updates: K, the number of gradients; a multiple of p.
      num_workers: p, at least 1.
      compute: seconds for one gradient, as in `cluster`.
      server: seconds for the server to apply one average, as in `cluster`.
      network: seconds for one message, as in `cluster`; a gradient costs its worker two messages.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long a slow worker computes, at least 1.
      seed: seed of all durations.

    Returns:
      A trace with ``worker``, ``arrival`` and ``time``, the simulated second at which a gradient's round was applied.

    Raises:
      InputError: if a number is out of range, or K is not a multiple of p.
    """
    times = WorkerTimes(num_workers, compute, stragglers, slowdown)
    seconds = Seconds(num_updates, times, ("network", network), ("server", server), seed, 2, num_workers)
    if num_updates % num_workers:
        raise InputError(
            f"num_updates is {num_updates}, expected a multiple of num_workers, {num_workers}: whole rounds"
        )
    updates = np.arange(num_updates)
    worker = updates % num_workers
    # The draws of dispatch k, as in `cluster`: with one worker the two models take the same time.
    away = seconds.away(updates, worker).reshape(-1, num_workers)
    ends = np.cumsum(away.max(axis=1) + seconds.service)
    starts = np.append(0.0, ends[:-1])
    return Trace(
        updates,
        worker=worker,
        time=np.repeat(ends, num_workers),
        arrival=(starts[:, None] + away).ravel(),
        num_workers=num_workers,
    )
