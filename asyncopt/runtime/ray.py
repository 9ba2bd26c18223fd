"""Workers that are processes, on this machine or on a cluster, by way of Ray."""

import concurrent.futures
import contextlib
import itertools
import math
import os
import queue
import time
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from asyncopt.checks import InputError, check_number
from asyncopt.engine.stepwise import gradient_on_host
from asyncopt.problems import Problem
from asyncopt.runtime.crew import Lost, Order, Pace, Sent, wait_until
from asyncopt.runtime.ray_session import ray_session
from asyncopt.traces.cluster import AnyDuration


class Ray:
    """A crew of Ray actors, a process each. Workers are sent parameters, and send gradients.

    Args:
      workers: p, at least 1.
      address: of a running Ray cluster, or "auto"; None starts one on this machine, bound to 127.0.0.1.
      num_cpus: that a worker occupies.
      num_gpus: likewise.
      patience: seconds after which a worker that has not answered is given up, and replaced.
      compute: seconds that a gradient takes at least; see `asyncopt.runtime.crew.Pace`.
      stragglers: likewise.
      slowdown: likewise.
      seed: of the injected seconds.

    Raises:
      InputError: for a number out of range.
    """

    num_blocks = 1

    def __init__(
        self,
        workers: int,
        address: str | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
        patience: float = 600.0,
        compute: AnyDuration | None = None,
        stragglers: int = 0,
        slowdown: float = 4.0,
        seed: int = 0,
    ) -> None:
        self.pace = Pace(workers, compute, stragglers, slowdown, seed)
        self.num_workers = workers
        self.address = address
        self.num_cpus = check_number("num_cpus", num_cpus, at_least=0)
        self.num_gpus = check_number("num_gpus", num_gpus, at_least=0)
        self.patience = check_number("patience", patience, above=0)
        self._open = contextlib.ExitStack()
        self._actors: list[Any] = []
        self._orders = itertools.count()
        self._pending: dict[int, tuple[int, float]] = {}  # by number of the order: worker, and when it was asked
        self._came: queue.SimpleQueue[tuple[int, concurrent.futures.Future, float]] = queue.SimpleQueue()

    def start(self, problem: Problem, seed: int, params: PyTree) -> None:
        """See `Crew`."""
        # A cluster of this machine's own is said to have a core for every worker, however many there are.
        cores = max(1, math.ceil(self.num_workers * self.num_cpus))
        self._open.enter_context(ray_session(self.address, num_cpus=cores))
        import ray
        import ray.exceptions

        self._incarnations = [0] * self.num_workers
        host = jax.tree.map(np.asarray, params)
        self._given = (ray.put(problem), seed, host)
        self._pending = {}
        self._actors = [self._begin(worker) for worker in range(self.num_workers)]
        try:
            ray.get([actor.is_ready.remote() for actor in self._actors])
        except ray.exceptions.RayError as error:
            raise InputError(f"a worker could not start: {_in_one_line(error)}") from error

    def publish(self, version: int, params: PyTree) -> None:
        """See `Crew`; here nobody reads what he is not sent."""

    def dispatch(self, worker: int, order: Order) -> None:
        """See `Crew`."""
        number = next(self._orders)
        self._pending[number] = (worker, time.monotonic())
        answer = self._actors[worker].answer.remote(order).future()
        # Called by Ray as soon as the answer is there, so that a busy server does not make it seem late.
        answer.add_done_callback(lambda answer: self._came.put((number, answer, time.perf_counter())))

    def receive(self) -> tuple[Sent | Lost, float]:
        """See `Crew`."""
        while True:
            number = min(self._pending)  # asked before all others
            worker, asked = self._pending[number]
            if time.monotonic() - asked >= self.patience:
                del self._pending[number]
                return Lost(worker, f"no answer within {self.patience:g} s"), time.perf_counter()
            try:
                number, answer, moment = self._came.get(timeout=1.0)
            except queue.Empty:  # now and then, Ctrl-C is looked for, and who has not answered for long
                continue
            if number not in self._pending:
                continue  # of a worker that was given up
            worker, _ = self._pending.pop(number)
            error = answer.exception()
            return (answer.result() if error is None else Lost(worker, _in_one_line(error))), moment

    def replace(self, worker: int) -> None:
        """See `Crew`."""
        import ray

        ray.kill(self._actors[worker])
        self._pending = {number: asked for number, asked in self._pending.items() if asked[0] != worker}
        self._incarnations[worker] += 1
        self._actors[worker] = self._begin(worker)

    def close(self) -> None:
        """See `Crew`."""
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        self._open.close()

    def worker_processes(self) -> list[int]:
        """Returns the process number of each worker."""
        import ray

        return ray.get([actor.process.remote() for actor in self._actors])

    def _begin(self, worker: int) -> Any:
        import ray

        actor = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus)(_Worker)
        actor = actor.options(runtime_env={"env_vars": _environment()})
        return actor.remote(worker, self.pace, self._incarnations[worker], *self._given)


class _Worker:
    """What runs in a worker's process."""

    def __init__(self, number: int, pace: Pace, incarnation: int, problem: Problem, seed: int, params: PyTree) -> None:
        self.number = number
        self.draws = pace.draws(number, incarnation)
        self.problem = problem
        self.seed_key = jax.random.key(seed)
        gradient_on_host(problem, params, self.seed_key, 0)  # compiles

    def answer(self, order: Order) -> Sent:
        """Returns a gradient."""
        began = time.perf_counter()
        found = gradient_on_host(self.problem, order.params, self.seed_key, order.sample)
        wait_until(began + next(self.draws))
        return Sent(self.number, order.version, order.sample, found, time.perf_counter() - began)

    def is_ready(self) -> bool:
        """Says that it can begin."""
        return True

    def process(self) -> int:
        """Returns the number of its process."""
        return os.getpid()


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def _environment() -> dict[str, str]:
    """Returns what makes a worker's JAX like this process's: it must be known before the problem gets there."""
    settings = {
        "JAX_ENABLE_X64": "1" if jax.config.read("jax_enable_x64") else "0",
        "JAX_COMPILATION_CACHE_DIR": jax.config.values["jax_compilation_cache_dir"],
        "PJRT_NPROC": os.environ.get("PJRT_NPROC"),
    }
    return {name: value for name, value in settings.items() if value is not None}
