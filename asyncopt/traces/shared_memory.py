"""The cluster model with memory that workers read while the server writes: inconsistent reads."""

import numpy as np

from asyncopt.checks import check_integer
from asyncopt.traces.clock import compute_means
from asyncopt.traces.cluster import AnyDuration, serve
from asyncopt.traces.durations import as_duration
from asyncopt.traces.trace import Trace


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

    As `cluster`, but the iterate lies in memory in B blocks. A worker copies them one after another, at an even pace,
    and then computes; to apply a gradient, the server writes them one after another. A block is found as it was last
    written when the worker comes to it, so that a copy mixes the iterates that were made while it was taken.

    Args:
      num_updates: K, at least 1.
      num_workers: p, at least 1.
      num_blocks: B, at least 1.
      compute: seconds for one gradient, as in `cluster`.
      read: seconds to copy all blocks, likewise.
      write: seconds for the server to apply one gradient, likewise.
      stragglers: how many workers are slow; never all.
      slowdown: how many times as long they take for a gradient, at least 1.
      seed: of all durations.

    Returns:
      A trace with ``worker``, ``time``, ``arrival`` and ``block_version``; ``read_version`` and ``read_end`` are the
      oldest and the newest in it.

    Raises:
      InputError: for a number out of range.

    References:
      Niu, Recht, Ré and Wright, `Hogwild <https://arxiv.org/abs/1106.5730>`_, 2011;
      Xu et al., `Parallel and distributed asynchronous adaptive stochastic gradient methods
      <https://arxiv.org/abs/2002.09095>`_, 2020.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    num_workers = check_integer("num_workers", num_workers, at_least=1)
    num_blocks = check_integer("num_blocks", num_blocks, at_least=1)
    generator = np.random.default_rng(check_integer("seed", seed, at_least=0))
    compute, read, write = as_duration("compute", compute), as_duration("read", read), as_duration("write", write)
    num_dispatches = num_workers + num_updates
    means = compute_means(compute, num_workers, stragglers, slowdown)
    computing = compute.unit_draws(generator, num_dispatches)
    reading = read.unit_draws(generator, num_dispatches)
    read_means = read.means("read", num_workers)
    writing = write.unit_draws(generator, num_updates) * write.means("write", 1)[0]
    served = serve(
        num_workers,
        writing.tolist(),
        lambda dispatch, worker: computing[dispatch] * means[worker] + reading[dispatch] * read_means[worker],
    )
    seconds = reading[served.dispatch] * read_means[served.worker]
    versions = np.empty((num_updates, num_blocks), np.int64)
    for block in range(num_blocks):
        done = (block + 1) / num_blocks
        written = served.start + writing * done
        versions[:, block] = np.searchsorted(written, served.beginning + seconds * done, side="right")
    return Trace(
        versions.min(axis=1),
        block_version=versions,
        worker=served.worker,
        time=served.end,
        arrival=served.arrival,
        num_workers=num_workers,
    )
