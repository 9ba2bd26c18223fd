"""What each worker of a simulation does: its job, those that wait for it, and the arrivals to come."""

import collections
import heapq
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from asyncopt.traces.clock import Clock

# Durations of a worker that are drawn together: at first so many, then twice as many each time, up to the second.
FEWEST_AHEAD, MOST_AHEAD = 8, 256
_DRAWN_TOGETHER = 1 << 18
# Workers that begin together are an array from the first number on, and begin as one from the second on.
COHORT, _AS_ONE = 16, 32
IDLE = -1.0  # in place of the second at which a gradient comes


class Machine:
    """What each worker does, and the arrivals to come."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        num_workers = clock.num_workers
        self.begin = np.zeros(num_workers)  # when the last job began
        self.end = np.full(num_workers, IDLE)  # when its gradient comes
        self.version = np.zeros(num_workers, np.int64)  # steps made when it began
        # Of the jobs that wait for a busy worker: their versions, and when they were assigned.
        self._queues: dict[int, collections.deque[tuple[int, float]]] = {}
        self._ahead: list[list[float]] = [[]] * num_workers  # durations of the jobs to come, the next one last
        self.most_ahead = MOST_AHEAD
        self.drawn = np.zeros(num_workers, np.int64)  # jobs whose durations have been drawn
        self.length = np.zeros(num_workers, np.int64)  # how many were drawn ahead; negative once they were passed over
        self._view()
        # A heap of (time, worker), and of (time, worker, number, cohort, place) for the next one of workers that began
        # together. Those of cancelled jobs are found out when their turn comes: their workers end at another time.
        self._arrivals: list[tuple] = []
        self._cohorts = itertools.count()  # a number for each, so that cohorts are not compared
        self._first_is_over = False  # whether the first arrival has been returned; the next to come may take its place
        self.cancelled, self.wasted = 0, 0.0

    def _view(self) -> None:
        """Gives access to single numbers: one of a memoryview is read and written faster than one of an array."""
        self._begin: memoryview[float] = self.begin.data  # pyright: ignore[reportAttributeAccessIssue]
        self._end: memoryview[float] = self.end.data  # pyright: ignore[reportAttributeAccessIssue]
        self._version: memoryview[int] = self.version.data

    @property
    def left(self) -> Int[np.ndarray, " p"]:
        """The number of jobs of each worker whose durations are known and that have not begun."""
        return np.fromiter(map(len, self._ahead), np.int64, len(self._ahead))

    def keep(self, workers: Int[np.ndarray, " n"], durations: Float[np.ndarray, "n number"]) -> None:
        """Keeps durations of jobs to come, the next one last."""
        for worker, row in zip(workers.tolist(), durations.tolist(), strict=True):
            self._ahead[worker] = row

    def next_arrival(self) -> tuple[float, int, float, int] | None:
        """Removes the next arrival; returns its time, its worker, when its job began, and the version it has.

        It is None if no worker will ever finish.
        """
        arrivals, ends = self._arrivals, self._end
        if self._first_is_over:
            heapq.heappop(arrivals)
            self._first_is_over = False
        while arrivals:
            event = arrivals[0]
            time, worker = event[0], event[1]
            is_valid = ends[worker] == time
            if len(event) > 2 and (following := self._following(event)):
                heapq.heapreplace(arrivals, following)
            elif is_valid:
                self._first_is_over = True
            else:
                heapq.heappop(arrivals)
            if is_valid:
                began, version = self._begin[worker], self._version[worker]
                ends[worker] = IDLE
                self._begin_waiting(worker, time)
                return time, worker, began, version
        return None

    def _begin_waiting(self, worker: int, time: float) -> None:
        """Lets a worker whose gradient has come begin the job that waits for it, if one does."""
        if self._queues and (queue := self._queues.get(worker)):
            version, assigned = queue.popleft()
            self._start([worker], max(time, assigned), version)

    def _following(self, event: tuple) -> tuple | None:
        """Returns the next arrival of a cohort that has not been cancelled."""
        _, _, number, cohort, place = event
        if isinstance(cohort, list):
            for later in range(place + 1, len(cohort)):
                time, worker = cohort[later]
                if self._end[worker] == time:
                    return time, worker, number, cohort, later
            return None
        times, workers = cohort
        place += 1
        if place == len(workers):
            return None
        if self._end[workers[place]] != times[place]:  # then more of them may be cancelled
            valid = self.end[workers[place:]] == times[place:]
            if not valid[first := int(valid.argmax())]:
                return None
            place += first
        return float(times[place]), int(workers[place]), number, cohort, place

    def restart(self, workers: Sequence[int] | Int[np.ndarray, " n"], time: float, version: int) -> None:
        """Lets workers begin anew; what they were doing is cancelled, unless its gradient has come."""
        if len(workers) >= _AS_ONE:
            self._start_as_one(np.asarray(workers), time, version)
        elif isinstance(workers, np.ndarray):
            if lost := self._start(workers.tolist(), time, version):
                self.wasted += float(np.sum(lost))
        else:
            for seconds in self._start(workers, time, version):
                self.wasted += seconds

    def assign(self, workers: Sequence[int] | Int[np.ndarray, " n"], time: float, version: int) -> None:
        """Gives workers one more job each; those that are busy do it afterwards."""
        for worker in map(int, workers):
            if self._end[worker] != IDLE:
                self._queues.setdefault(worker, collections.deque()).append((version, time))
            else:
                self._start([worker], time, version)

    def _start(self, workers: Sequence[int], time: float, version: int) -> list[float]:
        """Lets workers begin one after another; returns the seconds that each one had worked that is stopped."""
        begins, ends, versions, ahead, queues = self._begin, self._end, self._version, self._ahead, self._queues
        lost, cohort = [], []
        for worker in workers:
            end = ends[worker]
            if end > time:
                lost.append(time - begins[worker])
                if queues:
                    queues.pop(worker, None)
            elif end != IDLE:  # its gradient has come
                continue
            durations = ahead[worker]
            if not durations:
                self._look_ahead(worker, time)
                durations = ahead[worker]
            begins[worker], versions[worker] = time, version
            ends[worker] = end = time + durations.pop()
            if end < math.inf:
                cohort.append((end, worker))
        self.cancelled += len(lost)
        if len(cohort) > 1:
            cohort.sort()
            self._expect((*cohort[0], next(self._cohorts), cohort, 0))
        elif cohort:
            self._expect(cohort[0])
        return lost

    def _expect(self, event: tuple) -> None:
        """Adds an arrival to come."""
        if self._first_is_over:
            heapq.heapreplace(self._arrivals, event)
            self._first_is_over = False
        else:
            heapq.heappush(self._arrivals, event)

    def _look_ahead(self, worker: int, time: float) -> None:
        """Draws durations of the worker's next jobs, and of those of others that will soon need some: many at once."""
        number = int(min(max(2 * self.length[worker], FEWEST_AHEAD), self.most_ahead))
        if self.clock.can_look_ahead and self.length[worker] >= 0:
            left = self.left
            workers = np.flatnonzero((self.length >= 0) & (2 * left <= self.length))
            number = max(min(number, _DRAWN_TOGETHER // len(workers)), FEWEST_AHEAD)
            first = self.drawn[workers] - left[workers]
            jobs = first[:, None] + np.arange(number)
            drawn = self.clock.durations(np.repeat(workers, number), jobs.ravel(), time).reshape(-1, number)
        else:
            workers, first = np.array([worker]), self.drawn[worker]
            drawn = np.array([self.clock.ahead(worker, int(first), number, time)])
            number = drawn.shape[1]
        self.keep(workers, drawn[:, ::-1])
        self.drawn[workers], self.length[workers] = first + number, number

    def _start_as_one(self, workers: Int[np.ndarray, " n"], time: float, version: int) -> None:
        """Lets many workers begin together; of them, only the next to arrive is in the heap."""
        ends = self.end[workers]
        workers = workers[(ends > time) | (ends == IDLE)]
        stopped = workers[self.end[workers] > time]
        self.cancelled += len(stopped)
        self.wasted += float(np.sum(time - self.begin[stopped]))
        for worker in self._queues.keys() & set(workers.tolist()) if self._queues else ():
            del self._queues[worker]
        for worker in workers[self.length[workers] > 0].tolist():
            self.drawn[worker] -= len(self._ahead[worker])
            self._ahead[worker] = []
        self.length[workers] = np.minimum(self.length[workers], -self.length[workers])
        ends = time + self.clock.durations(workers, self.drawn[workers], time)
        self.drawn[workers] += 1
        self.begin[workers], self.end[workers], self.version[workers] = time, ends, version
        # `workers` are in order, so those of equal times stay so.
        order = np.argsort(ends, kind="stable")
        order = order[: np.searchsorted(ends[order], np.inf)]
        if len(order):
            times, workers = ends[order], workers[order]
            self._expect((times[0].item(), workers[0].item(), next(self._cohorts), (times, workers), 0))
