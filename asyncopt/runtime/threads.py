"""Workers that are threads of this process, and share its memory."""

import queue
import threading
import time

import jax
from jaxtyping import PyTree

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.engine.stepwise import gradient_on_host
from asyncopt.problems import Problem
from asyncopt.runtime.crew import Lost, Order, Pace, Sent, wait_until
from asyncopt.runtime.shared_memory import SharedParams
from asyncopt.traces.cluster import AnyDuration


class Threads:
    """A crew of threads; each computes on its device, if there are several, in turn.

    Args:
      workers: p, at least 1.
      reads: "consistent": a worker is handed one whole iterate; "blocks": it reads shared memory without a lock while
        the server writes there, as in the shared-memory setting of Xu et al.
      num_blocks: in which it is read and written.
      pause: seconds a reader rests between two blocks.
      compute: seconds that a gradient takes at least; see `Pace`.
      stragglers: likewise.
      slowdown: likewise.
      seed: of the injected seconds.

    Raises:
      InputError: for a number out of range.
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
        self.pace = Pace(workers, compute, stragglers, slowdown, seed)
        self.num_workers = workers
        self._shared: SharedParams | None = None
        self._orders: list[queue.SimpleQueue[Order | None]] = []
        self._threads: list[threading.Thread] = []

    def start(self, problem: Problem, seed: int, params: PyTree) -> None:
        """See `Crew`."""
        if self.reads == "blocks":
            self._shared = SharedParams(params, self.num_blocks, self.pause)
        given = (problem, jax.random.key(seed))
        devices = jax.local_devices()[: self.num_workers]
        self._there = [jax.device_put(given, device) for device in devices]
        for problem, seed_key in self._there:
            gradient_on_host(problem, params, seed_key, 0)  # compiles
        self._incarnations = [0] * self.num_workers
        self._sent: queue.SimpleQueue[tuple[int, int, Sent | Lost, float]] = queue.SimpleQueue()
        self._orders = [queue.SimpleQueue() for _ in range(self.num_workers)]
        self._threads = [self._begin(worker) for worker in range(self.num_workers)]

    def publish(self, version: int, params: PyTree) -> None:
        """See `Crew`."""
        if self._shared is not None:
            self._shared.write(version, params)

    def dispatch(self, worker: int, order: Order) -> None:
        """See `Crew`."""
        self._orders[worker].put(order)

    def receive(self) -> tuple[Sent | Lost, float]:
        """See `Crew`."""
        while True:
            try:
                worker, incarnation, message, moment = self._sent.get(timeout=1.0)
            except queue.Empty:  # now and then, Ctrl-C is looked for
                continue
            if incarnation == self._incarnations[worker]:
                return message, moment

    def replace(self, worker: int) -> None:
        """See `Crew`."""
        self._orders[worker].put(None)
        self._threads[worker].join()
        self._orders[worker] = queue.SimpleQueue()
        self._incarnations[worker] += 1
        self._threads[worker] = self._begin(worker)

    def close(self) -> None:
        """See `Crew`."""
        for orders in self._orders:
            orders.put(None)
        for thread in self._threads:
            thread.join()
        self._threads = []

    def _begin(self, worker: int) -> threading.Thread:
        thread = threading.Thread(target=self._work, args=(worker,), name=f"asyncopt worker {worker}", daemon=True)
        thread.start()
        return thread

    def _work(self, worker: int) -> None:
        incarnation = self._incarnations[worker]
        for seconds in self.pace.draws(worker, incarnation):
            order = self._orders[worker].get()
            if order is None:
                return
            try:
                message = self._answer(worker, order, seconds)
            except Exception as error:  # whatever it is, the server must hear of it, or it would wait for ever
                message = Lost(worker, f"{type(error).__name__}: {error}")
            self._sent.put((worker, incarnation, message, time.perf_counter()))
            if isinstance(message, Lost):
                return

    def _answer(self, worker: int, order: Order, seconds: float) -> Sent:
        began = time.perf_counter()
        stale, versions = (None, None) if self._shared is None else self._shared.read()
        problem, seed_key = self._there[worker % len(self._there)]
        found = gradient_on_host(problem, order.params if stale is None else stale, seed_key, order.sample)
        wait_until(began + seconds)
        return Sent(worker, order.version, order.sample, found, time.perf_counter() - began, versions, stale)
