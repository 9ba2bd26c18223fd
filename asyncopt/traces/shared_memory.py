"""The cluster model with memory that workers read while the server writes: inconsistent reads."""

import numpy as np

from asyncopt.checks import check_integer
from asyncopt.traces.cluster import serve
from asyncopt.traces.durations import AnyDuration
from asyncopt.traces.seconds import Seconds
from asyncopt.traces.trace import Trace, staleness_setting
from asyncopt.traces.worker_times import WorkerTimes


@staleness_setting("num_workers")
def shared_memory(
    num_updates: int,
    num_workers: int,
    num_blocks: int = 16,
    compute: AnyDuration = "exponential",
    read: AnyDuration = 0.1,
    write: AnyDuration = 0.02,
    stragglers: int = 0,
    slowdown: float = 4.0,
    seed: int = 0,
) -> Trace:
    """Simulates asynchronous training of p workers that share memory with the server, without locks.

    It is the model of `cluster`, but the iterate lies in memory in B blocks. A worker copies the blocks one after
    another, at a steady rate, and then computes. To apply a gradient, the server writes the blocks one after another.
    A worker copies the newest version of a block that has been written by then, so its copy may mix several iterates.

    Args:
      num_updates: K, at least 1.
      num_workers: p, at least 1.
      num_blocks: B, at least 1.
      compute: seconds for one gradient, as in `cluster`.
      read: seconds to copy all blocks, as in `cluster`.
      write: seconds for the server to apply one gradient, as in `cluster`.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long a slow worker computes, at least 1.
      seed: seed of all durations.

    Returns:
      A trace with ``worker``, ``time``, ``arrival`` and ``block_version``; ``read_version`` and ``read_end`` are the
      oldest and the newest iterate in it. If every read is of one iterate, ``block_version`` is None.

    Raises:
      InputError: if a number is out of range, or there are means for another number of workers.

    References:
      Niu, Recht, Ré and Wright, `Hogwild <https://arxiv.org/abs/1106.5730>`_, 2011;
      Xu et al., `Parallel and distributed asynchronous adaptive stochastic gradient methods
      <https://arxiv.org/abs/2002.09095>`_, 2020.
    """
    num_blocks = check_integer("num_blocks", num_blocks, at_least=1)
    times = WorkerTimes(num_workers, compute, stragglers, slowdown)
    seconds = Seconds(num_updates, times, ("read", read), ("write", write), seed)
    served = serve(seconds)
    reading = seconds.transfer(served.dispatch, served.worker)
    versions = np.empty((num_updates, num_blocks), np.int64)
    for block in range(num_blocks):
        part = (block + 1) / num_blocks
        written = served.start + seconds.service * part
        versions[:, block] = np.searchsorted(written, served.beginning + reading * part, side="right")
    return Trace(
        versions.min(axis=1),
        block_version=versions,
        worker=served.worker,
        time=served.end,
        arrival=served.arrival,
        num_workers=num_workers,
    )
