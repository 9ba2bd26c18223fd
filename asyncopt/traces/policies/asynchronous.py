"""A step for each gradient, as it comes."""

import dataclasses

import numpy as np

from asyncopt.checks import InputError, check_flag, check_seed
from asyncopt.traces.policies.policy import Answer, Arrival


@dataclasses.dataclass
class Asynchronous:
    """Makes a step with each gradient, and sends its worker the new iterate.

    Args:
      waits: whether a worker waits until its gradient has been applied. If not, it begins anew when its gradient has
        come, from the newest iterate at that second. The two differ only where the server takes time.
    """

    waits: bool = True

    def __post_init__(self) -> None:
        check_flag("waits", self.waits)

    def start(self, num_workers: int) -> Answer:
        """Lets all workers begin."""
        return Answer(restart=range(num_workers))

    def decide(self, arrival: Arrival) -> Answer:
        """Makes a step with this gradient."""
        return Answer(step=(arrival.number,), restart=(arrival.worker,) if self.waits else ())


@dataclasses.dataclass
class Assignments:
    """Makes a step with each gradient, and gives the next job to a worker that is drawn (AsGrad).

    A worker that is given a job while it computes does it afterwards, from the iterate it was given with. So slow
    workers get as many jobs as fast ones. At the start each worker has one job.

    Args:
      order: "random": each job goes to a worker drawn uniformly; "shuffled": p jobs in a row go to the p workers in an
        order that is drawn anew each time.
      seed: seed of the draws.

    References:
      Islamov, Safaryan and Alistarh, `AsGrad: a sharp unified analysis of asynchronous-SGD algorithms
      <https://arxiv.org/abs/2310.20452>`_, 2024.
    """

    order: str = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.order not in ("random", "shuffled"):
            raise InputError(f"order is {self.order!r}, expected random or shuffled")
        check_seed("seed", self.seed)

    def start(self, num_workers: int) -> Answer:
        """Gives each worker a job."""
        self._num_workers = num_workers
        self._generator = np.random.default_rng(self.seed)
        self._drawn: list[int] = []
        return Answer(assign=range(num_workers))

    def decide(self, arrival: Arrival) -> Answer:
        """Makes a step with this gradient, and assigns a job."""
        if not self._drawn:
            if self.order == "shuffled":
                self._drawn = self._generator.permutation(self._num_workers).tolist()
            else:  # many at once; the order of the draws is the same
                self._drawn = self._generator.integers(self._num_workers, size=1024).tolist()[::-1]
        return Answer(step=(arrival.number,), assign=(self._drawn.pop(),))
