"""What a server and its workers say to each other, and how long a worker is made to take."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int, PyTree

from asyncopt.checks import check_integer
from asyncopt.problems import Problem
from asyncopt.traces.clock import compute_means
from asyncopt.traces.cluster import AnyDuration
from asyncopt.traces.durations import Duration, as_duration


@dataclasses.dataclass(frozen=True)
class Order:
    """What a worker is asked for: one gradient.

    Args:
      version: the iterate it is sent; where it reads shared memory, the oldest that it can find there.
      sample: number of the mini-batch.
      params: the iterate itself.
    """

    version: int
    sample: int
    params: PyTree


@dataclasses.dataclass(frozen=True)
class Sent:
    """What a worker sends.

    Args:
      worker: its number.
      version: as in the order.
      sample: likewise.
      gradient: like the parameters, NumPy arrays.
      seconds: from the order to the gradient, as the worker measured it.
      block_version: int[B], the iterate that each block was read from, if it was read from shared memory.
      stale: what was read there.
    """

    worker: int
    version: int
    sample: int
    gradient: PyTree
    seconds: float
    block_version: Int[np.ndarray, " B"] | None = None
    stale: PyTree = None


@dataclasses.dataclass(frozen=True)
class Lost:
    """That a worker is gone, with the gradient it was asked for.

    Args:
      worker: its number.
      reason: in words.
    """

    worker: int
    reason: str


class Crew(Protocol):
    """The workers of one run."""

    @property
    def num_workers(self) -> int:
        """How many there are, p."""
        ...

    @property
    def num_blocks(self) -> int:
        """B of a read; 1 where reads are consistent."""
        ...

    def start(self, problem: Problem, seed: int, params: PyTree) -> None:
        """Brings all workers to where they can begin at once: what they compile is compiled."""
        ...

    def publish(self, version: int, params: PyTree) -> None:
        """Is told every new iterate; who keeps it where workers can read it puts it there."""
        ...

    def dispatch(self, worker: int, order: Order) -> None:
        """Asks a worker for a gradient."""
        ...

    def receive(self) -> tuple[Sent | Lost, float]:
        """Waits for the next message of any worker; returns it, and when it came, by `time.perf_counter`."""
        ...

    def replace(self, worker: int) -> None:
        """Puts a new worker in the place of one; of the old one nothing more is received."""
        ...

    def close(self) -> None:
        """Sends all workers home, and waits until they are gone."""
        ...


@dataclasses.dataclass(frozen=True)
class Pace:
    """How long workers are made to take for a gradient, so that slow ones can be studied on any machine.

    A worker that is ready sooner than its draw waits; one that needs longer is not slowed down further.

    Args:
      num_workers: p.
      compute: seconds for one gradient, as of `asyncopt.traces.cluster`; None for as fast as it goes.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long they take.
      seed: of the draws.

    Raises:
      InputError: for a number out of range.
    """

    num_workers: int
    compute: AnyDuration | None = None
    stragglers: int = 0
    slowdown: float = 4.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("workers", self.num_workers, at_least=1)
        check_integer("seed", self.seed, at_least=0)
        self._duration_and_means()

    def draws(self, worker: int, incarnation: int = 0) -> Iterator[float]:
        """Yields the seconds of one gradient of a worker after another.

        Args:
          worker: its number.
          incarnation: how often it has been replaced.
        """
        generator = np.random.default_rng([self.seed, worker, incarnation])
        duration, means = self._duration_and_means()
        while True:
            yield float(duration.unit_draws(generator, 1)[0] * means[worker])

    def _duration_and_means(self) -> tuple[Duration, Float[np.ndarray, " p"]]:
        duration = as_duration("compute", 0.0 if self.compute is None else self.compute)
        return duration, compute_means(duration, self.num_workers, self.stragglers, self.slowdown)


def wait_until(moment: float) -> None:
    """Sleeps until `time.perf_counter` says so."""
    left = moment - time.perf_counter()
    if left > 0:
        time.sleep(left)
