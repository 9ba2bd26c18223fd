"""A pool of workers that are threads of this process, and share its memory."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Sequence

import jax
from jaxtyping import PyTree

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.engine.stepwise import gradient_on_host
from asyncopt.problems import Problem
from asyncopt.runtime.shared_memory import SharedParams
from asyncopt.runtime.worker_pool import (
    GradientMessage,
    GradientRequest,
    InjectedLatency,
    InterruptibleWait,
    WorkerFailure,
)
from asyncopt.traces.durations import AnyDuration

log = logging.getLogger("asyncopt.runtime")
# Seconds until a thread that was told to end, and does not, is left behind; a long gradient ends within them.
_PATIENCE = 60.0


class Threads:
    """A pool of threads, spread over the local devices in turn.

    Args:
      workers: p, at least 1.
      reads: "consistent" sends a worker one whole iterate. With "blocks" it reads shared memory without a lock while
        the server writes there, as in the shared-memory setting of Xu et al.
      num_blocks: number of blocks in which shared memory is read and written.
      pause: seconds that a reader waits between two blocks.
      compute: least seconds for one gradient, as in `asyncopt.traces.cluster`; None injects no latency.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long a slow worker takes, at least 1.
      seed: seed of the injected seconds.

    Raises:
      InputError: if a number is out of range.
    """

    def __init__(
        self,
        workers: int,
        reads: str = "consistent",
        num_blocks: int = 16,
        pause: float = 0.0,
        compute: AnyDuration | None = None,
        stragglers: int = 0,
        slowdown: float = 4.0,
        seed: int = 0,
    ) -> None:
        if reads not in ("consistent", "blocks"):
            raise InputError(f"reads is {reads!r}, expected 'consistent' or 'blocks'")
        self.reads = reads
        num_blocks = check_integer("num_blocks", num_blocks, at_least=1)
        self.num_blocks = num_blocks if reads == "blocks" else 1
        self.pause = check_number("pause", pause, at_least=0)
        self.latency = InjectedLatency(workers, compute, stragglers, slowdown, seed)
        self.num_workers = workers
        self._shared: SharedParams | None = None
        self._waits: list[InterruptibleWait] = []
        self._requests: list[queue.SimpleQueue[GradientRequest | None]] = []
        self._threads: list[threading.Thread] = []

    def start(self, problem: Problem, seed: int, params: PyTree) -> None:
        """See `WorkerPool`."""
        if self.reads == "blocks":
            self._shared = SharedParams(params, self.num_blocks, self.pause)
        devices = jax.local_devices()[: self.num_workers]
        self._on_devices = [jax.device_put((problem, jax.random.key(seed)), device) for device in devices]
        for problem_on_device, seed_key in self._on_devices:
            gradient_on_host(problem_on_device, params, seed_key, 0, 0)  # compiles
        self._num_replaced = [0] * self.num_workers
        self._messages: queue.SimpleQueue[tuple[int, int, GradientMessage | WorkerFailure, float]]
        self._messages = queue.SimpleQueue()
        self._requests = [queue.SimpleQueue() for _ in range(self.num_workers)]
        self._waits = [InterruptibleWait() for _ in range(self.num_workers)]
        self._threads = [self._new_thread(worker) for worker in range(self.num_workers)]
        for thread in self._threads:  # all are known to `close`, wherever Ctrl-C comes
            thread.start()

    def publish(self, version: int, params: PyTree) -> None:
        """See `WorkerPool`."""
        if self._shared is not None:
            self._shared.write(version, params)

    def dispatch(self, worker: int, request: GradientRequest) -> None:
        """See `WorkerPool`."""
        self._requests[worker].put(request)

    def stop(self, worker: int, sample: int) -> None:
        """See `WorkerPool`."""
        self._waits[worker].stop(sample)

    def receive(self) -> tuple[GradientMessage | WorkerFailure, float]:
        """See `WorkerPool`."""
        while True:
            try:
                worker, num_replaced, message, arrival = self._messages.get(timeout=1.0)
            except queue.Empty:  # the timeout lets Ctrl-C through
                continue
            if num_replaced == self._num_replaced[worker]:  # else the message is from a replaced worker
                return message, arrival

    def replace(self, worker: int) -> None:
        """See `WorkerPool`."""
        self._end([worker])
        self._requests[worker], self._waits[worker] = queue.SimpleQueue(), InterruptibleWait()
        self._num_replaced[worker] += 1
        self._threads[worker] = self._new_thread(worker)
        self._threads[worker].start()

    def close(self) -> None:
        """See `WorkerPool`."""
        if self._shared is not None:
            self._shared.close()
        self._end(range(len(self._threads)))
        self._threads = []

    def _end(self, workers: Sequence[int]) -> None:
        """Tells threads to end, and joins them; one that does not end is left behind, with a warning."""
        for worker in workers:
            self._requests[worker].put(None)
            self._waits[worker].stop(sys.maxsize)
        deadline = time.monotonic() + _PATIENCE
        for worker in workers:
            if self._threads[worker].is_alive():  # Ctrl-C may have come before it was started
                self._threads[worker].join(max(deadline - time.monotonic(), 0.0))
        left = [worker for worker in workers if self._threads[worker].is_alive()]
        if left:
            log.warning(
                "the threads of workers %s did not end within %g s; nobody waits for them; they end with the process",
                ", ".join(map(str, left)),
                _PATIENCE,
            )

    def _new_thread(self, worker: int) -> threading.Thread:
        arguments = worker, self._requests[worker]
        return threading.Thread(target=self._work, args=arguments, name=f"asyncopt worker {worker}", daemon=True)

    def _work(self, worker: int, requests: "queue.SimpleQueue[GradientRequest | None]") -> None:
        num_replaced = self._num_replaced[worker]
        for seconds in self.latency.draws(worker, num_replaced):
            request = requests.get()
            if request is None:
                return
            try:
                message = self._answer(worker, request, seconds)
            except Exception as error:  # any error: without a message the server would wait for ever
                message = WorkerFailure(worker, f"{type(error).__name__}: {error}")
            self._messages.put((worker, num_replaced, message, time.perf_counter()))
            if isinstance(message, WorkerFailure):
                return

    def _answer(self, worker: int, request: GradientRequest, least_seconds: float) -> GradientMessage:
        start, wait = time.perf_counter(), self._waits[worker]
        stale, versions = (None, None) if self._shared is None else self._shared.read()
        problem, seed_key = self._on_devices[worker % len(self._on_devices)]
        params = request.params if stale is None else stale
        gradient = gradient_on_host(problem, params, seed_key, request.sample, worker)
        wait.wait(start + least_seconds, request.sample)
        seconds = time.perf_counter() - start
        return GradientMessage(worker, request.version, request.sample, gradient, seconds, versions, stale)
