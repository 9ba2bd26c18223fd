"""A step for each gradient that is not too old (Ringmaster)."""

import dataclasses
import math

import numpy as np

from asyncopt.checks import check_flag, check_integer
from asyncopt.traces.policies.policy import Answer, Arrival, Workers

_MANY = 32  # so many workers are handled as an array


@dataclasses.dataclass
class Ringmaster:
    """Makes a step with each gradient whose delay is below R steps, and ignores others.

    With ``stops``, a worker whose gradient would be ignored is stopped at once, and begins anew from the newest
    iterate; but not if its gradient has come.

    Args:
      max_delay: R, at least 1; math.inf makes it asynchronous training. None: a threshold that needs no parameter,
        ⌈√(k + 1)⌉ in step k. The paper's R is σ²/ε; it grows so if the accuracy ε that k steps reach falls as 1/√k.
      stops: whether workers are stopped; Algorithm 5 of the paper if so, Algorithm 4 if not.

    References:
      Maranjyan, Tyurin and Richtárik, `Ringmaster ASGD: the first asynchronous SGD with optimal time complexity
      <https://arxiv.org/abs/2501.16168>`_, 2025.
    """

    max_delay: int | float | None
    stops: bool = True

    def __post_init__(self) -> None:
        check_flag("stops", self.stops)
        if self.max_delay is not None and self.max_delay != math.inf:
            self.max_delay = check_integer("max_delay", self.max_delay, at_least=1)

    def start(self, num_workers: int) -> Answer:
        """Lets all workers begin."""
        self._version = np.zeros(num_workers, np.int64)  # of the iterate that each worker has
        self._versions = self._version.data  # one number of a memoryview is read and written faster
        self._began: dict[int, list[Workers]] = {}  # who began with each version: lists of a few, arrays of many
        self._oldest = -1  # no worker has an older version; -1 until the first gradient says with which all began
        return Answer(restart=range(num_workers))

    def decide(self, arrival: Arrival) -> Answer:
        """Makes a step with this gradient if it is young enough, and stops the workers that have become too old."""
        number, worker, version, step, _ = arrival
        uses = step - version < self._threshold(step)
        if not self.stops or self.max_delay == math.inf:
            return Answer(step=(number,) if uses else (), restart=(worker,))
        if self._oldest < 0:
            self._oldest = version
            self._note(np.arange(len(self._version)), version)
        new = step + uses
        if not uses:
            self._note([worker], new)
            return Answer(restart=(worker,))
        restart: Workers = [worker]
        oldest_allowed = new - self._threshold(new)
        while self._oldest <= oldest_allowed:
            for began in self._began.pop(self._oldest, ()):
                late = self._late(began, worker)
                if len(late):
                    pair = (restart, late) if len(began) == 1 else (late, restart)
                    are_few = len(late) + len(restart) < _MANY
                    restart = [*pair[0], *pair[1]] if are_few else np.concatenate(pair)
            self._oldest += 1
        self._note(restart, new)
        return Answer(step=(number,), restart=restart)

    def _threshold(self, step: int) -> int | float:
        return math.ceil(math.sqrt(step + 1)) if self.max_delay is None else self.max_delay

    def _late(self, began: Workers, worker: int) -> Workers:
        """Returns those of the workers that still have the oldest version, but for one whose gradient has come."""
        versions, oldest = self._versions, self._oldest
        if isinstance(began, list):
            return [other for other in began if versions[other] == oldest and other != worker]
        late = began[(self._version[began] == oldest) & (began != worker)]
        return late.tolist() if len(late) < _MANY else late

    def _note(self, workers: Workers, version: int) -> None:
        """Notes that workers begin with a version."""
        if isinstance(workers, list):
            for worker in workers:
                self._versions[worker] = version
        else:
            self._version[workers] = version
        self._began.setdefault(version, []).append(workers)
