"""An event-driven model of p workers and one server: traces with a clock."""

import functools
import heapq
import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from asyncopt.traces.durations import AnyDuration
from asyncopt.traces.seconds import Seconds
from asyncopt.traces.trace import Trace, staleness_setting
from asyncopt.traces.worker_times import WorkerTimes

# Updates from which on it pays to compile the simulation, if Numba is installed; compiling takes seconds.
_COMPILED_FROM = 500_000


@staleness_setting("num_workers")
def cluster(
    num_updates: int,
    num_workers: int,
    compute: AnyDuration = "exponential",
    server: AnyDuration = 0.0,
    network: AnyDuration = 0.0,
    stragglers: int = 0,
    slowdown: float = 4.0,
    seed: int = 0,
) -> Trace:
    """Simulates asynchronous training of p workers with one parameter server.

    Each worker holds one gradient at a time. It reads the newest iterate, computes, sends its gradient, and waits in
    the server's queue. The server sends it the next iterate once its gradient has been applied. The queue is first
    come, first served; ties go to the smaller worker number. Every gradient is applied, so the mean delay tends to
    p - 1 whatever the speeds. With exponential times this is the machine-repairman model, whose throughput is known
    exactly.

    Args:
      num_updates: K, at least 1.
      num_workers: p, at least 1.
      compute: seconds for one gradient: a `Duration`, a mapping with its fields, the name of a distribution (mean
        1 s), a number (constant), or one number for each worker.
      server: seconds for the server to apply one gradient, in one of these forms.
      network: seconds for one message, in one of these forms; each update costs its worker two messages.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long a slow worker computes, at least 1.
      seed: seed of all durations.

    Returns:
      A trace with ``worker``, ``time`` and ``arrival``: the simulated seconds at which each gradient was applied, and
      at which it had come to the server.

    Raises:
      InputError: if a number is out of range, or there are means for another number of workers.

    References:
      Reiser and Lavenberg, Mean-value analysis of closed multichain queuing networks, J. ACM 27(2), 1980.
    """
    times = WorkerTimes(num_workers, compute, stragglers, slowdown)
    seconds = Seconds(num_updates, times, ("network", network), ("server", server), seed, num_transfers=2)
    served = serve(seconds)
    return Trace(served.version, worker=served.worker, time=served.end, arrival=served.arrival, num_workers=num_workers)


class Served(NamedTuple):
    """The course of each gradient, in the order of the updates; times in seconds."""

    worker: Int[np.ndarray, " K"]
    version: Int[np.ndarray, " K"]  # newest iterate when its worker began
    dispatch: Int[np.ndarray, " K"]  # number of its dispatch, as in `Seconds`
    beginning: Float[np.ndarray, " K"]  # when its worker began
    arrival: Float[np.ndarray, " K"]  # when it came to the server
    start: Float[np.ndarray, " K"]  # when the server began to apply it
    end: Float[np.ndarray, " K"]  # when it had been applied


def serve(seconds: Seconds) -> Served:
    """Simulates p workers and a server, first come, first served."""
    num_workers, num_updates = seconds.num_workers, len(seconds.service)
    times = (seconds.compute_draws, seconds.compute_means, seconds.transfer_draws, seconds.transfer_means)
    if num_updates >= _COMPILED_FROM and importlib.util.find_spec("numba"):
        columns = np.zeros(num_updates, np.int64), np.zeros(num_updates, np.int64), *np.zeros((2, num_updates))
        _compiled_queue()(*times, seconds.service, *columns)
        worker, version, arrival, end = columns
    else:  # Python reads and writes lists faster than arrays
        lists = [[0] * num_updates for _ in range(4)]
        _queue(*(values.tolist() for values in (*times, seconds.service)), *lists)
        worker, version, arrival, end = map(np.array, lists)
    iterate_times = np.append(0.0, end)
    return Served(
        worker,
        version,
        dispatch=np.where(version == 0, worker, num_workers + version - 1),
        beginning=iterate_times[version],
        arrival=arrival,
        start=np.maximum(arrival, iterate_times[:-1]),
        end=end,
    )


def _queue(compute, compute_means, transfer, transfer_means, service, workers, versions, arrivals, ends) -> None:
    """Fills the last four, in the order of the updates; `Served` says what they are, `Seconds` what the others are."""
    num_workers = len(compute_means)
    next_arrivals = [
        (compute[worker] * compute_means[worker] + transfer[worker] * transfer_means[worker], worker)
        for worker in range(num_workers)
    ]
    heapq.heapify(next_arrivals)
    version_held = [0] * num_workers
    server_free = 0.0
    for k in range(len(service)):
        arrival, worker = next_arrivals[0]
        server_free = max(arrival, server_free) + service[k]
        workers[k] = worker
        versions[k] = version_held[worker]
        arrivals[k] = arrival
        ends[k] = server_free
        version_held[worker] = k + 1
        dispatch = num_workers + k
        away = compute[dispatch] * compute_means[worker] + transfer[dispatch] * transfer_means[worker]
        heapq.heapreplace(next_arrivals, (server_free + away, worker))


@functools.cache
def _compiled_queue() -> Callable[..., None]:
    """Returns `_queue`, compiled. The same operations in the same order: the trace has the same bits."""
    import numba

    return numba.njit(cache=True)(_queue)
