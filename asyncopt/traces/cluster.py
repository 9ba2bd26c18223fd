"""An event-driven model of p workers and one server: traces with a clock."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from asyncopt.checks import check_integer
from asyncopt.traces.clock import compute_means
from asyncopt.traces.durations import Duration, as_duration
from asyncopt.traces.trace import Trace

AnyDuration = Duration | Mapping | Sequence[float] | float | str


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

    Each worker holds one gradient at a time. It reads the newest iterate, computes, sends, waits in the server's
    queue (first come, first served; ties go to the smaller worker number), and is sent the next iterate after its
    gradient has been applied. Every gradient is applied, so the mean delay tends to p - 1 whatever the speeds;
    with exponential times this is the machine-repairman model, whose throughput is known exactly.

    Args:
      num_updates: K, at least 1.
      num_workers: p, at least 1.
      compute: seconds for one gradient: a `Duration`, a mapping with its fields, a distribution's name (mean
        1 s), or a number (constant). Or one mean for each worker.
      server: seconds for the server to apply one gradient, likewise.
      network: seconds for one message, likewise; each update costs its worker two messages.
      stragglers: how many workers are slow; never all.
      slowdown: how many times as long they take for a gradient, at least 1.
      seed: of all durations.

    Returns:
      A trace with ``worker``, ``time``, the simulated second at which each update was applied, and ``arrival``, that
      at which its gradient had come to the server.

    Raises:
      InputError: for a number out of range, or per-worker means of another length.

    References:
      Reiser and Lavenberg, Mean-value analysis of closed multichain queuing networks, J. ACM 27(2), 1980.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    num_workers = check_integer("num_workers", num_workers, at_least=1)
    generator = np.random.default_rng(check_integer("seed", seed, at_least=0))
    compute, server = as_duration("compute", compute), as_duration("server", server)
    network = as_duration("network", network)

    # Dispatch d is worker d's first for d < p; dispatch p + k follows update k. A worker's time away from the
    # server is its computation and two messages; only the scale of a draw depends on the worker.
    num_dispatches = num_workers + num_updates
    compute_units = compute.unit_draws(generator, num_dispatches).tolist()
    network_units = network.unit_draws(generator, 2 * num_dispatches).reshape(2, -1).sum(axis=0).tolist()
    means = compute_means(compute, num_workers, stragglers, slowdown).tolist()
    network_means = network.means("network", num_workers).tolist()
    service = server.unit_draws(generator, num_updates) * server.means("server", 1)[0]

    def time_away(dispatch: int, worker: int) -> float:
        return compute_units[dispatch] * means[worker] + network_units[dispatch] * network_means[worker]

    served = serve(num_workers, service.tolist(), time_away)
    return Trace(served.version, worker=served.worker, time=served.end, arrival=served.arrival, num_workers=num_workers)


class Served(NamedTuple):
    """What happened to each gradient, in the order of the updates; seconds."""

    worker: Int[np.ndarray, " K"]
    version: Int[np.ndarray, " K"]  # newest iterate when its worker began
    dispatch: Int[np.ndarray, " K"]  # number of the dispatch, d < p for each worker's first, p + k after update k
    beginning: Float[np.ndarray, " K"]  # when its worker began
    arrival: Float[np.ndarray, " K"]  # when it came to the server
    start: Float[np.ndarray, " K"]  # when the server began to apply it
    end: Float[np.ndarray, " K"]  # when it had been applied


def serve(num_workers: int, service: Sequence[float], time_away: Callable[[int, int], float]) -> Served:
    """Simulates p workers and a server, first come, first served.

    Args:
      num_workers: p.
      service: seconds that the server takes for each update.
      time_away: seconds from a dispatch of a worker to the arrival of its gradient, by (dispatch, worker).
    """
    arrivals = [(time_away(worker, worker), worker) for worker in range(num_workers)]
    heapq.heapify(arrivals)
    version_held = [0] * num_workers
    server_free = 0.0
    workers, versions, came, ends = [], [], [], []
    for k, service_time in enumerate(service):
        arrival, worker = arrivals[0]
        server_free = max(arrival, server_free) + service_time
        workers.append(worker)
        versions.append(version_held[worker])
        came.append(arrival)
        ends.append(server_free)
        version_held[worker] = k + 1
        heapq.heapreplace(arrivals, (server_free + time_away(num_workers + k, worker), worker))
    worker, version, arrival, end = map(np.array, (workers, versions, came, ends))
    moments = np.append(0.0, end)  # of the iterates
    return Served(
        worker,
        version,
        dispatch=np.where(version == 0, worker, num_workers + version - 1),
        beginning=moments[version],
        arrival=arrival,
        start=np.maximum(arrival, moments[:-1]),
        end=end,
    )
