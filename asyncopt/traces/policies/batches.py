"""A step for several gradients: rounds, batches, buffers."""

import dataclasses
from typing import ClassVar

from asyncopt.checks import check_integer, check_number
from asyncopt.traces.policies.policy import Answer, Arrival
from asyncopt.traces.rounds import gradients_a_round


@dataclasses.dataclass
class Rounds:
    """Makes a step with the mean of the first m gradients of a round; then all workers begin anew.

    The p - m others are stopped. With m = p this is synchronous training, else m-synchronous training.

    Args:
      take: m: a whole number from 1 to p; or a share of p above 0 and below 1; None: all p.

    References:
      Chen et al., `Revisiting distributed synchronous SGD <https://arxiv.org/abs/1604.00981>`_, 2016.
    """

    take: int | float | None = None

    def __post_init__(self) -> None:
        if self.take is not None:
            check_number("take", self.take, above=0)

    def start(self, num_workers: int) -> Answer:
        """Lets all workers begin."""
        self._num_workers, self._num_taken = num_workers, gradients_a_round(num_workers, self.take)
        self._held: list[int] = []
        return Answer(restart=range(num_workers))

    def decide(self, arrival: Arrival) -> Answer:
        """Holds the gradient, or makes the step with the last one of the round."""
        if arrival.delay:  # it came in the second in which its round ended
            return Answer(restart=(arrival.worker,))
        self._held.append(arrival.number)
        if len(self._held) < self._num_taken:
            return Answer(hold=True)
        step, self._held = self._held, []
        return Answer(step=step, restart=range(self._num_workers))


@dataclasses.dataclass
class Rennala:
    """Makes a step with the mean of the first B gradients that were taken at the newest iterate.

    A worker begins anew from the newest iterate when its gradient has come. Gradients at older iterates are ignored.

    Args:
      batch: B, at least 1.

    References:
      Tyurin and Richtárik, `Optimal time complexities of parallel stochastic optimization methods under a fixed
      computation model <https://arxiv.org/abs/2305.12387>`_, 2023.
    """

    batch: int

    def __post_init__(self) -> None:
        check_integer("batch", self.batch, at_least=1)

    def start(self, num_workers: int) -> Answer:
        """Lets all workers begin."""
        self._held: list[int] = []
        return Answer(restart=range(num_workers))

    def decide(self, arrival: Arrival) -> Answer:
        """Holds the gradient, makes a step, or ignores an old one."""
        if arrival.delay:
            return Answer(restart=(arrival.worker,))
        self._held.append(arrival.number)
        if len(self._held) < self.batch:
            return Answer(hold=True, restart=(arrival.worker,))
        step, self._held = self._held, []
        return Answer(step=step, restart=(arrival.worker,))


@dataclasses.dataclass
class Malenia:
    """Makes a step with the mean over workers of each worker's mean gradient at the newest iterate.

    It waits until each worker has sent one, and the harmonic mean of their numbers b_i is at least S/p. Gradients at
    older iterates are ignored. It is Rennala for workers with data of their own.

    Args:
      batch: S, at least 1.

    References:
      Tyurin and Richtárik, `Optimal time complexities of parallel stochastic optimization methods under a fixed
      computation model <https://arxiv.org/abs/2305.12387>`_, 2023.
    """

    batch: int
    weighs: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_integer("batch", self.batch, at_least=1)

    def start(self, num_workers: int) -> Answer:
        """Lets all workers begin."""
        self._num_workers = num_workers
        self._empty()
        return Answer(restart=range(num_workers))

    def decide(self, arrival: Arrival) -> Answer:
        """Holds the gradient, makes a step, or ignores an old one."""
        number, worker, version, made, _ = arrival
        if version != made:
            return Answer(restart=(worker,))
        self._held.append((number, worker))
        self._counts[worker] = count = self._counts[worker] + 1
        if count == 1:
            self._missing -= 1
            self._inverses += 1.0
        else:
            self._inverses += 1 / count - 1 / (count - 1)
        # The harmonic mean p / Σ 1/b_i is at least S / p; rounding may not delay a step.
        if self._missing or self._num_workers**2 < self.batch * self._inverses * (1 - 1e-9):
            return Answer(hold=True, restart=(worker,))
        step, weight = zip(
            *((number, 1 / (self._num_workers * self._counts[i])) for number, i in self._held), strict=True
        )
        self._empty()
        return Answer(step=step, weight=weight, restart=(worker,))

    def _empty(self) -> None:
        self._held: list[tuple[int, int]] = []
        self._counts = [0] * self._num_workers
        self._missing, self._inverses = self._num_workers, 0.0


@dataclasses.dataclass
class Buffered:
    """Makes a step with every ``size`` gradients, each weighted by its delay (FedBuff).

    The weight of a gradient is (1 + τ)^-a / b, where τ counts steps between its read and its arrival. So it is
    `asyncopt.optim.buffer_updates` as a policy.

    Args:
      size: b, at least 1.
      exponent: a, at least 0.

    References:
      Nguyen et al., `Federated learning with buffered asynchronous aggregation
      <https://arxiv.org/abs/2106.06639>`_, 2022.
    """

    size: int
    exponent: float = 0.5

    def __post_init__(self) -> None:
        check_integer("size", self.size, at_least=1)
        check_number("exponent", self.exponent, at_least=0)

    @property
    def weighs(self) -> bool:
        """Whether delays change the weights."""
        return self.exponent > 0

    def start(self, num_workers: int) -> Answer:
        """Lets all workers begin."""
        self._held: list[tuple[int, float]] = []
        return Answer(restart=range(num_workers))

    def decide(self, arrival: Arrival) -> Answer:
        """Holds the gradient, or makes a step with all that are held."""
        self._held.append((arrival.number, (1.0 + arrival.delay) ** -self.exponent / self.size))
        if len(self._held) < self.size:
            return Answer(hold=True, restart=(arrival.worker,))
        step, weight = zip(*self._held, strict=True)
        self._held = []
        return Answer(step=step, weight=weight, restart=(arrival.worker,))
