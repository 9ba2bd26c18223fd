"""What each worker of a simulation does: its job, those that wait for it, and the arrivals to come."""

import collections
import heapq
import math

import numpy as np
from jaxtyping import Int

from asyncopt.traces.clock import Clock

# Durations of a worker that are drawn together: at first so many, then twice as many each time, up to the second.
_FEWEST_AHEAD, _MOST_AHEAD = 8, 256
_DRAWN_TOGETHER = 1 << 18
# Workers that begin together from this number on are handled as arrays.
COHORT = 16


class Machine:
    """What each worker does, and the arrivals to come."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        num_workers = clock.num_workers
        self.jobs = np.zeros(num_workers, np.int64)  # begun so far
        self.begin = np.zeros(num_workers)  # when the last of them began
        self.end = np.full(num_workers, np.inf)  # when its gradient comes
        self.version = np.zeros(num_workers, np.int64)  # steps made when it began
        self.busy = np.zeros(num_workers, np.bool_)
        # Of the jobs that wait for a busy worker: their versions, and when they were assigned.
        self._queues: dict[int, collections.deque[tuple[int, float]]] = {}
        self._ahead: list[list[float]] = [[]] * num_workers  # durations of the jobs to come, drawn before
        self.place = np.zeros(num_workers, np.int64)  # of the next job in them
        self.length = np.zeros(num_workers, np.int64)  # how many they are; negative once they have been passed over
        # One number of a memoryview is read and written faster than one of an array.
        self._jobs: memoryview[int] = self.jobs.data
        self._begin: memoryview[float] = self.begin.data  # pyright: ignore[reportAttributeAccessIssue]
        self._end: memoryview[float] = self.end.data  # pyright: ignore[reportAttributeAccessIssue]
        self._version, self._busy, self._place, self._length = (
            array.data for array in (self.version, self.busy, self.place, self.length)
        )
        self._arrivals: list[tuple] = []  # a heap of (time, worker, job), perhaps with a cohort and a place in it
        self._first_is_over = False  # whether the first of them has been returned; the next to come may take its place
        self.cancelled, self.wasted = 0, 0.0

    def next_arrival(self) -> tuple[float, int, float, int] | None:
        """Removes the next arrival; returns its time, its worker, when its job began, and the version it has.

        It is None if no worker will ever finish.
        """
        arrivals = self._arrivals
        if self._first_is_over:
            heapq.heappop(arrivals)
            self._first_is_over = False
        while arrivals:
            event = arrivals[0]
            time, worker, job = event[:3]
            is_valid = self._busy[worker] and self._jobs[worker] == job
            following = self._following(event) if len(event) > 3 else None
            if following is not None:
                heapq.heapreplace(arrivals, following)
            elif is_valid:
                self._first_is_over = True
            else:
                heapq.heappop(arrivals)
            if is_valid:
                began, version = self._begin[worker], self._version[worker]
                self._busy[worker] = False
                if self._queues and (queue := self._queues.get(worker)):
                    waiting, assigned = queue.popleft()
                    self._start(worker, max(time, assigned), waiting)
                return time, worker, began, version
        return None

    def _following(self, event: tuple) -> tuple | None:
        """Returns the next arrival of a cohort that has not been cancelled."""
        times, workers, jobs = event[3]
        place = event[4] + 1
        if place == len(workers):
            return None
        if self._jobs[workers[place]] != jobs[place]:  # then more of them may be cancelled
            valid = self.jobs[workers[place:]] == jobs[place:]
            if not valid[first := int(valid.argmax())]:
                return None
            place += first
        return float(times[place]), int(workers[place]), int(jobs[place]), event[3], place

    def restart(self, workers: list[int] | Int[np.ndarray, " n"], time: float, version: int) -> None:
        """Lets workers begin anew; what they were doing is cancelled, unless its gradient has come."""
        if isinstance(workers, np.ndarray):
            self._restart_many(workers, time, version)
            return
        for worker in workers:
            if self._busy[worker]:
                if self._end[worker] <= time:
                    continue
                self.cancelled += 1
                self.wasted += time - self._begin[worker]
            if self._queues:
                self._queues.pop(worker, None)
            self._start(worker, time, version)

    def assign(self, workers: list[int] | Int[np.ndarray, " n"], time: float, version: int) -> None:
        """Gives workers one more job each; those that are busy do it afterwards."""
        for worker in map(int, workers):
            if self._busy[worker]:
                self._queues.setdefault(worker, collections.deque()).append((version, time))
            else:
                self._start(worker, time, version)

    def _start(self, worker: int, time: float, version: int) -> None:
        place = self._place[worker]
        if place >= self._length[worker]:
            self._look_ahead(worker, time)
            place = 0
        end, job = time + self._ahead[worker][place], self._jobs[worker]
        self._place[worker] = place + 1
        self._jobs[worker] = job + 1
        self._begin[worker], self._end[worker], self._version[worker], self._busy[worker] = time, end, version, True
        if end < math.inf:
            self._expect((end, worker, job + 1))

    def _expect(self, event: tuple) -> None:
        """Adds an arrival to come."""
        if self._first_is_over:
            heapq.heapreplace(self._arrivals, event)
            self._first_is_over = False
        else:
            heapq.heappush(self._arrivals, event)

    def _look_ahead(self, worker: int, time: float) -> None:
        """Draws durations of the worker's next jobs, and of those of others that will soon need some: many at once."""
        number = min(max(2 * self._length[worker], _FEWEST_AHEAD), _MOST_AHEAD)
        if self.clock.can_look_ahead and self._length[worker] >= 0:
            workers = np.flatnonzero((self.length >= 0) & (2 * self.place >= self.length))
            number = max(min(number, _DRAWN_TOGETHER // len(workers)), _FEWEST_AHEAD)
            jobs = self.jobs[workers][:, None] + np.arange(number)
            drawn = self.clock.durations(np.repeat(workers, number), jobs.ravel(), time).reshape(-1, number)
            for other, row in zip(workers.tolist(), drawn.tolist(), strict=True):
                self._ahead[other] = row
        else:
            workers = worker
            self._ahead[worker] = self.clock.ahead(worker, self._jobs[worker], number, time)
            number = len(self._ahead[worker])
        self.place[workers], self.length[workers] = 0, number

    def _restart_many(self, workers: Int[np.ndarray, " n"], time: float, version: int) -> None:
        workers = workers[~(self.busy[workers] & (self.end[workers] <= time))]
        stopped = workers[self.busy[workers]]
        self.cancelled += len(stopped)
        self.wasted += float(np.sum(time - self.begin[stopped]))
        for worker in self._queues.keys() & set(workers.tolist()) if self._queues else ():
            del self._queues[worker]
        ends = time + self.clock.durations(workers, self.jobs[workers], time)
        self.jobs[workers] += 1
        self.length[workers] = np.minimum(self.length[workers], -self.length[workers])
        self.begin[workers], self.end[workers], self.version[workers], self.busy[workers] = time, ends, version, True
        # `workers` are in order, so those of equal times stay so. Only the first is in the heap: most may be cancelled.
        order = np.argsort(ends, kind="stable")
        order = order[: np.searchsorted(ends[order], np.inf)]
        if len(order):
            cohort = ends[order], workers[order], self.jobs[workers[order]]
            self._expect((*(column[0].item() for column in cohort), cohort, 0))
