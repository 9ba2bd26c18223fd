"""A pool of workers that are Ray processes, on this machine or on a cluster."""

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
from asyncopt.runtime.ray_session import ray_session
from asyncopt.runtime.worker_pool import (
    GradientMessage,
    GradientRequest,
    InjectedLatency,
    InterruptibleWait,
    WorkerFailure,
)
from asyncopt.traces.durations import AnyDuration


class Ray:
    """A pool of Ray actors, each in a process of its own. The server sends them parameters; they send gradients.

    Args:
      workers: p, at least 1.
      address: address of a running Ray cluster, or "auto"; None starts one on this machine, bound to 127.0.0.1.
      num_cpus: number of cores that a worker occupies.
      num_gpus: number of GPUs that a worker occupies.
      patience: seconds after which a worker that has not answered is replaced.
      compute: least seconds for one gradient, as in `asyncopt.traces.cluster`; None injects no latency.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long a slow worker takes, at least 1.
      seed: seed of the injected seconds.

    Raises:
      InputError: if a number is out of range.
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
        self.latency = InjectedLatency(workers, compute, stragglers, slowdown, seed)
        self.num_workers = workers
        self.address = address
        self.num_cpus = check_number("num_cpus", num_cpus, at_least=0)
        self.num_gpus = check_number("num_gpus", num_gpus, at_least=0)
        self.patience = check_number("patience", patience, above=0)
        self._session = contextlib.ExitStack()
        self._actors: list[Any] = []
        self._request_numbers = itertools.count()
        self._pending: dict[int, tuple[int, float]] = {}  # by number of the request: its worker, and its time
        self._answers: queue.SimpleQueue[tuple[int, concurrent.futures.Future, float]] = queue.SimpleQueue()

    def start(self, problem: Problem, seed: int, params: PyTree) -> None:
        """See `WorkerPool`."""
        # A cluster that is started here is told to have cores for all workers, however many the machine has.
        cores = max(1, math.ceil(self.num_workers * self.num_cpus))
        self._session.enter_context(ray_session(self.address, num_cpus=cores))
        import ray
        import ray.exceptions

        self._num_replaced = [0] * self.num_workers
        self._worker_arguments = (ray.put(problem), seed, jax.tree.map(np.asarray, params))
        self._pending = {}
        self._actors = [self._start_actor(worker) for worker in range(self.num_workers)]
        try:
            ray.get([actor.is_ready.remote() for actor in self._actors])
        except ray.exceptions.RayError as error:
            raise InputError(f"a worker could not start: {_in_one_line(error)}") from error

    def publish(self, version: int, params: PyTree) -> None:
        """See `WorkerPool`; these workers share no memory with the server."""

    def dispatch(self, worker: int, request: GradientRequest) -> None:
        """See `WorkerPool`."""
        number = next(self._request_numbers)
        self._pending[number] = (worker, time.monotonic())
        answer = self._actors[worker].answer.remote(request).future()
        # Ray calls this as soon as the answer has come, so that a busy server does not make it seem late.
        answer.add_done_callback(lambda answer: self._answers.put((number, answer, time.perf_counter())))

    def stop(self, worker: int, sample: int) -> None:
        """See `WorkerPool`."""
        self._actors[worker].stop.remote(sample)

    def receive(self) -> tuple[GradientMessage | WorkerFailure, float]:
        """See `WorkerPool`."""
        while True:
            oldest = min(self._pending)
            worker, requested = self._pending[oldest]
            if time.monotonic() - requested >= self.patience:
                del self._pending[oldest]
                return WorkerFailure(worker, f"no answer within {self.patience:g} s"), time.perf_counter()
            try:
                number, answer, arrival = self._answers.get(timeout=1.0)
            except queue.Empty:  # the timeout lets Ctrl-C through, and the check of the oldest request
                continue
            if number not in self._pending:
                continue  # an answer of a worker that has been replaced
            worker, _ = self._pending.pop(number)
            error = answer.exception()
            return (answer.result() if error is None else WorkerFailure(worker, _in_one_line(error))), arrival

    def replace(self, worker: int) -> None:
        """See `WorkerPool`."""
        import ray

        ray.kill(self._actors[worker])
        self._pending = {number: request for number, request in self._pending.items() if request[0] != worker}
        self._num_replaced[worker] += 1
        self._actors[worker] = self._start_actor(worker)

    def close(self) -> None:
        """See `WorkerPool`."""
        import ray

        try:
            for actor in self._actors:
                ray.kill(actor)
            self._actors = []
        finally:
            self._session.close()

    def worker_processes(self) -> list[int]:
        """Returns the process number of each worker."""
        import ray

        return ray.get([actor.process.remote() for actor in self._actors])

    def _start_actor(self, worker: int) -> Any:
        import ray

        actor = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus)(_Worker)
        # Two at once: a worker hears that its gradient is not wanted while it waits.
        actor = actor.options(runtime_env={"env_vars": _environment()}, max_concurrency=2)
        return actor.remote(worker, self.latency, self._num_replaced[worker], *self._worker_arguments)


class _Worker:
    """The worker, in its own process."""

    def __init__(
        self, number: int, latency: InjectedLatency, num_replaced: int, problem: Problem, seed: int, params: PyTree
    ) -> None:
        self.number = number
        self.least_seconds = latency.draws(number, num_replaced)
        self.wait = InterruptibleWait()
        self.problem = problem
        self.seed_key = jax.random.key(seed)
        gradient_on_host(problem, params, self.seed_key, 0, number)  # compiles

    def answer(self, request: GradientRequest) -> GradientMessage:
        """Returns the gradient that was requested."""
        start = time.perf_counter()
        gradient = gradient_on_host(self.problem, request.params, self.seed_key, request.sample, self.number)
        self.wait.wait(start + next(self.least_seconds), request.sample)
        seconds = time.perf_counter() - start
        return GradientMessage(self.number, request.version, request.sample, gradient, seconds)

    def stop(self, sample: int) -> None:
        """Ends the injected latency of this mini-batch."""
        self.wait.stop(sample)

    def is_ready(self) -> bool:
        """Returns True; Ray answers only once the constructor is done."""
        return True

    def process(self) -> int:
        """Returns the process number of the worker."""
        return os.getpid()


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def _environment() -> dict[str, str]:
    """Returns the environment variables that set up a worker's JAX like that of this process.

    The worker needs them before it unpickles the problem.
    """
    settings = {
        "JAX_ENABLE_X64": "1" if jax.config.read("jax_enable_x64") else "0",
        "JAX_COMPILATION_CACHE_DIR": jax.config.values["jax_compilation_cache_dir"],
        "PJRT_NPROC": os.environ.get("PJRT_NPROC"),
    }
    return {name: value for name, value in settings.items() if value is not None}
