"""The interface between the server and a pool of workers, its messages, and injected latency."""

import dataclasses
import queue
import threading
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from jaxtyping import Int, PyTree

from asyncopt.checks import check_integer
from asyncopt.problems import Problem
from asyncopt.traces import WorkerTimes
from asyncopt.traces.durations import AnyDuration


@dataclasses.dataclass(frozen=True)
class GradientRequest:
    """A request to a worker for one gradient.

    Args:
      version: number of the newest iterate at the time of the request. A worker that reads shared memory reads this
        iterate or newer ones.
      sample: number of the mini-batch.
      params: the iterate itself.
    """

    version: int
    sample: int
    params: PyTree


@dataclasses.dataclass(frozen=True)
class GradientMessage:
    """A worker's reply to a request.

    Args:
      worker: number of the worker.
      version: ``version`` of the request.
      sample: ``sample`` of the request.
      gradient: the gradient, a pytree like the parameters, of NumPy arrays.
      seconds: time from the request to the gradient, measured by the worker.
      block_version: int[B], the iterate that each block was read from, if the worker reads shared memory.
      stale: the parameters that were read from shared memory.
    """

    worker: int
    version: int
    sample: int
    gradient: PyTree
    seconds: float
    block_version: Int[np.ndarray, " B"] | None = None
    stale: PyTree = None


@dataclasses.dataclass(frozen=True)
class WorkerFailure:
    """The message that a worker has failed, and its gradient is lost.

    Args:
      worker: number of the worker.
      reason: the reason in words.
    """

    worker: int
    reason: str


class WorkerPool(Protocol):
    """The workers of one run."""

    @property
    def num_workers(self) -> int:
        """p, the number of workers."""
        ...

    @property
    def num_blocks(self) -> int:
        """B, the number of blocks of a read; 1 if reads are consistent."""
        ...

    def start(self, problem: Problem, seed: int, params: PyTree) -> None:
        """Starts all workers, and has them compile what they need, so that the first gradient takes no longer."""
        ...

    def publish(self, version: int, params: PyTree) -> None:
        """Puts a new iterate where workers can read it, if they read shared memory."""
        ...

    def dispatch(self, worker: int, request: GradientRequest) -> None:
        """Asks a worker for a gradient."""
        ...

    def stop(self, worker: int, sample: int) -> None:
        """Tells a worker that the gradient of this mini-batch is not wanted any more; it may answer sooner.

        Only a server with a policy calls this. The worker answers all the same.
        """
        ...

    def receive(self) -> tuple[GradientMessage | WorkerFailure, float]:
        """Waits for the next message of any worker; returns it with its `time.perf_counter` time of arrival."""
        ...

    def replace(self, worker: int) -> None:
        """Replaces a worker by a new one; discards all messages of the old one that are still on their way."""
        ...

    def close(self) -> None:
        """Stops all workers and joins them; warns of those that do not end."""
        ...


@dataclasses.dataclass(frozen=True)
class InjectedLatency:
    """The least seconds that workers take for a gradient, so that slow ones can be studied on any machine.

    A worker that is ready before its drawn time waits; one that needs longer is not slowed down further.

    Args:
      num_workers: p, at least 1.
      compute: seconds for one gradient, as in `asyncopt.traces.cluster`; None injects no latency.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long a slow worker takes, at least 1.
      seed: seed of the draws.

    Raises:
      InputError: if a number is out of range.
    """

    num_workers: int
    compute: AnyDuration | None = None
    stragglers: int = 0
    slowdown: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("workers", self.num_workers, at_least=1)
        check_integer("seed", self.seed, at_least=0)
        self._times()  # refuses what is out of range

    def draws(self, worker: int, num_replaced: int = 0) -> Iterator[float]:
        """Yields the seconds of a worker's gradients, one after another.

        Args:
          worker: number of the worker.
          num_replaced: how many times the worker has been replaced.
        """
        generator = np.random.default_rng([self.seed, worker, num_replaced])
        times = self._times()
        mean = times.means[worker]
        while True:
            yield float(times.unit_draws(generator, 1)[0] * mean)

    def _times(self) -> WorkerTimes:
        compute = 0.0 if self.compute is None else self.compute
        return WorkerTimes(self.num_workers, compute, self.stragglers, self.slowdown)


class InterruptibleWait:
    """Lets a worker wait for the injected latency, unless its gradient is not wanted any more.

    One thread waits; any may stop it. There is no lock that Ctrl-C could leave held, as it can inside of a `with`.
    """

    def __init__(self) -> None:
        self._stops: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stopped = -1  # the number of the last mini-batch that is not wanted; those of later requests are larger

    def stop(self, sample: int) -> None:
        """Ends the wait for this mini-batch, now or as soon as it begins."""
        self._stops.put(sample)

    def wait(self, deadline: float, sample: int) -> None:
        """Waits until `time.perf_counter` reaches the deadline, or `stop`."""
        while self._stopped < sample:
            seconds = min(max(deadline - time.perf_counter(), 0.0), threading.TIMEOUT_MAX)
            try:
                self._stopped = max(self._stopped, self._stops.get(timeout=seconds))
            except queue.Empty:
                return
