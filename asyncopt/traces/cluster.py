"""An event-driven model of p workers and one server: traces with a clock."""

import heapq
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from asyncopt.traces.durations import AnyDuration
from asyncopt.traces.seconds import Seconds
from asyncopt.traces.trace import Trace, staleness_setting
from asyncopt.traces.worker_times import WorkerTimes


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
    num_workers = seconds.num_workers
    # Lists of floats: the loop below reads them faster than NumPy's scalars.
    compute, compute_means = seconds.compute_draws.tolist(), seconds.compute_means.tolist()
    transfer, transfer_means = seconds.transfer_draws.tolist(), seconds.transfer_means.tolist()

    def away(dispatch: int, worker: int) -> float:
        return compute[dispatch] * compute_means[worker] + transfer[dispatch] * transfer_means[worker]

    next_arrivals = [(away(worker, worker), worker) for worker in range(num_workers)]
    heapq.heapify(next_arrivals)
    version_held = [0] * num_workers
    server_free = 0.0
    workers, versions, arrivals, ends = [], [], [], []
    for k, service in enumerate(seconds.service.tolist()):
        arrival, worker = next_arrivals[0]
        server_free = max(arrival, server_free) + service
        workers.append(worker)
        versions.append(version_held[worker])
        arrivals.append(arrival)
        ends.append(server_free)
        version_held[worker] = k + 1
        heapq.heapreplace(next_arrivals, (server_free + away(num_workers + k, worker), worker))
    worker, version, arrival, end = map(np.array, (workers, versions, arrivals, ends))
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
