"""`Machine` for long simulations, compiled by Numba: the same arrivals in the same order, in less time."""

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from asyncopt.traces.machine import FEWEST_AHEAD, IDLE, MOST_AHEAD, Machine

# Gradients that have come or been cancelled from which on it pays to compile the machine, if Numba is installed:
# loading what has been compiled before takes half a second.
COMPILED_FROM = 200_000
_NUMBERS_AHEAD = 1 << 23  # durations that are kept ahead, at most, unless the fewest of each worker are more


def compiled(machine: Machine) -> Machine:
    """Returns a machine in the same state that is compiled; the same one without Numba, or if jobs call Python."""
    if isinstance(machine, CompiledMachine):
        return machine
    can_compile = machine.clock.can_look_ahead and importlib.util.find_spec("numba") is not None
    return CompiledMachine(machine, _compiled_begin()) if can_compile else machine


class CompiledMachine(Machine):
    """A machine whose heap has each worker once, by the second of its next gradient, infinite if there is none.

    Args:
      machine: the state that it starts in.
      begin: `_begin`, perhaps compiled.
    """

    def __init__(self, machine: Machine, begin: Callable[..., int]) -> None:
        super().__init__(machine.clock)
        num_workers = machine.clock.num_workers
        self._begin_jobs = begin
        self.cancelled, self.wasted, self._queues = machine.cancelled, machine.wasted, machine._queues
        # In few arrays, since a call of a compiled function takes time for each.
        self._seconds = np.stack([machine.begin, machine.end, np.where(machine.end == IDLE, np.inf, machine.end)])
        heap = np.argsort(self._seconds[2], kind="stable")  # what is sorted is a heap; at equal seconds by worker
        self._numbers = np.stack([machine.version, heap, np.argsort(heap), np.zeros(num_workers, np.int64)])
        self.begin, self.end, keys = self._seconds
        self.version, heap, _, self._left = self._numbers
        self._view()
        self._heap: memoryview[int] = heap.data
        self._keys: memoryview[float] = keys.data  # pyright: ignore[reportAttributeAccessIssue]
        self._first, self._no_job = heap[:1], np.zeros(1, np.int64)
        self.most_ahead = max(min(MOST_AHEAD, _NUMBERS_AHEAD // num_workers), FEWEST_AHEAD)
        self._durations = np.zeros((num_workers, self.most_ahead))  # of the jobs to come, the next one last
        self.drawn = machine.drawn - machine.left
        self._lost = np.zeros(num_workers)
        self._num_lost = np.zeros(1, np.int64)

    @property
    def left(self) -> Int[np.ndarray, " p"]:
        """The number of jobs of each worker whose durations are known and that have not begun."""
        return self._left

    def keep(self, workers: Int[np.ndarray, " n"], durations: Float[np.ndarray, "n number"]) -> None:
        """Keeps durations of jobs to come, the next one last."""
        self._durations[workers, : durations.shape[1]] = durations
        self._left[workers] = durations.shape[1]

    def next_arrival(self) -> tuple[float, int, float, int] | None:
        """See `Machine.next_arrival`."""
        worker = self._heap[0]
        time = self._keys[worker]
        if time == math.inf:
            return None
        came = time, worker, self._begin[worker], self._version[worker]
        self._call(self._first, 0, time, -1)
        self._begin_waiting(worker, time)
        return came

    def restart(self, workers: Sequence[int] | Int[np.ndarray, " n"], time: float, version: int) -> None:
        """See `Machine.restart`."""
        lost = self._start(workers, time, version)
        if isinstance(workers, np.ndarray):
            self.wasted += float(np.sum(lost))
        else:
            for seconds in lost:
                self.wasted += seconds

    def _start(self, workers: Sequence[int] | Int[np.ndarray, " n"], time: float, version: int) -> list[float]:
        """See `Machine._start`."""
        if self._queues:
            for worker in workers:
                if self._end[worker] > time:
                    self._queues.pop(int(worker), None)
        array = np.ascontiguousarray(workers, np.int64)
        self._num_lost[0] = 0
        place = 0
        while (place := self._call(array, place, time, version)) < len(array):
            self._look_ahead(int(array[place]), time)
        num_lost = self._num_lost.item()
        self.cancelled += num_lost
        return self._lost[:num_lost].tolist() if num_lost else []

    def _call(self, workers: Int[np.ndarray, " n"], place: int, time: float, version: int) -> int:
        return self._begin_jobs(
            workers, place, time, version, self._seconds, self._numbers, self._durations, self._lost, self._num_lost
        )


@functools.cache
def _compiled_begin() -> Callable[..., int]:
    """Returns `_begin`, compiled. The same operations in the same order: the trace has the same bits."""
    import numba

    return numba.njit(cache=True)(_begin)


def _begin(workers, first, time, version, seconds, numbers, durations, lost, num_lost) -> int:
    """Lets workers begin from number ``first`` on; returns the number of the one that has no durations, or their count.

    With a version below 0 they become idle. The last two arguments are filled with the seconds that each one had worked
    that is stopped, and their number.
    """
    begins, ends, keys = seconds
    versions, heap, places, left = numbers
    for number in range(first, len(workers)):
        worker = workers[number]
        if version < 0:
            ends[worker], key = -1.0, np.inf
        else:
            end = ends[worker]
            if end != -1.0 and end <= time:  # its gradient has come
                continue
            if left[worker] == 0:
                return number
            if end > time:
                lost[num_lost[0]] = time - begins[worker]
                num_lost[0] += 1
            left[worker] -= 1
            key = time + durations[worker, left[worker]]
            begins[worker], ends[worker], versions[worker] = time, key, version
        keys[worker] = key
        place = places[worker]
        while place > 0:  # towards the root
            parent = (place - 1) // 2
            other = heap[parent]
            if keys[other] < key or (keys[other] == key and other < worker):
                break
            heap[place], places[other] = other, place
            place = parent
        while 2 * place + 1 < len(heap):  # away from it
            child = 2 * place + 1
            other = heap[child]
            if child + 1 < len(heap):
                right = heap[child + 1]
                if keys[right] < keys[other] or (keys[right] == keys[other] and right < other):
                    child, other = child + 1, right
            if key < keys[other] or (key == keys[other] and worker < other):
                break
            heap[place], places[other] = other, place
            place = child
        heap[place], places[worker] = worker, place
    return len(workers)
