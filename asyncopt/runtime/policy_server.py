"""The server of a real run that does what a policy says, and records what its steps used."""

import collections
import dataclasses
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from asyncopt.checks import InputError
from asyncopt.engine.prepare import check_uses_weights
from asyncopt.engine.stepwise import Stepwise, digest
from asyncopt.runtime.server import Server
from asyncopt.runtime.worker_pool import GradientMessage, GradientRequest, WorkerPool
from asyncopt.traces import Trace
from asyncopt.traces.answers import Answers, Orders, check_policy, read_versions, unless_means
from asyncopt.traces.policies import Arrival, Policy


@dataclasses.dataclass
class _Job:
    """What a worker was asked, or will be asked when it has answered what it computes now."""

    request: GradientRequest
    version: int  # steps made then
    sent: float = 0.0  # when the worker was asked
    is_stopped: bool = False


@dataclasses.dataclass(frozen=True)
class _Gradient:
    """A gradient that may be used."""

    message: GradientMessage
    job: _Job
    arrival: float


class PolicyServer(Server):
    """A server whose policy decides which gradients make a step, and which workers begin anew.

    A worker cannot be interrupted while it computes. One that is stopped ends the gradient it computes, without the
    rest of an injected latency; it is thrown away, also if it had come and had not been taken up. Then the worker gets
    the iterate of the moment at which it was stopped. A job that fails is replaced by one at the newest iterate.

    Args:
      run: the state of the training, whose trace has steps.
      pool: the workers; their reads are consistent.
      policy: the server's decisions.
    """

    columns: ClassVar[dict[str, Any]] = {
        "worker": np.int64,
        "sample": np.int64,
        "version": np.int64,  # steps made when the worker was asked
        "step": np.int64,
        "weight": np.float64,
        "computed": np.int64,
        "arrival": np.float64,
        "time": np.float64,
        "compute_seconds": np.float64,
        "digest": np.uint64,
    }

    def __init__(self, run: Stepwise, pool: WorkerPool, policy: Policy) -> None:
        super().__init__(run, pool, synchronous=False)
        check_policy(policy)
        if getattr(policy, "weighs", False):  # see `Policy`
            check_uses_weights(run.prepared.optimizer)
        if pool.num_blocks > 1:
            raise InputError("policy: workers read shared memory in blocks, expected consistent reads")
        self.policy, self.answers = policy, Answers[_Gradient](policy, pool.num_workers)
        self.jobs: dict[int, _Job] = {}  # what each worker computes now
        self.waiting: dict[int, collections.deque[_Job]] = {
            worker: collections.deque() for worker in range(pool.num_workers)
        }
        self.steps = 0
        self.arrivals = 0  # gradients that were taken up
        self.arrivals_at_step = 0
        self.cancelled, self.wasted = 0, 0.0
        self.costs_at_step = (0, 0.0)

    def _begin(self) -> None:
        self._follow(self.answers.read_start(self.policy.start(self.pool.num_workers)))

    def _take_turn(self, num_updates: int) -> None:
        """Takes up the next gradient, and does what the policy answers."""
        if not self.jobs:
            raise InputError(
                f"{self.answers.name}: no worker is at work after {self._so_far}, expected that some go on"
            )
        message, arrival = self._receive()
        worker = message.worker
        job = self.jobs.pop(worker)
        del self.requests[worker]
        self._send_next(worker)
        if job.is_stopped:
            self._throw_away(job, arrival)
            return
        if not self.answers.waits and worker not in self.jobs:
            self._assign(worker, self._new_job())
        number, now = self.arrivals, time.perf_counter() - self.clock_start
        self.arrivals += 1
        answer = self.policy.decide(Arrival(number, worker, job.version, self.steps, now))
        orders = self.answers.read(answer, number, _Gradient(message, job, arrival), self.steps)
        if orders.is_ignored:
            self._throw_away(job, arrival)
        if orders.used:
            self._step(orders.used, orders.weights)
        if self.run.made < num_updates:
            self._follow(orders)
        if self.arrivals - self.arrivals_at_step > self.answers.patience:
            raise self.answers.no_step(self._so_far)

    def _step(self, used: Sequence[_Gradient], weights: list[float] | None) -> None:
        means = [1 / len(used)] * len(used)
        if weights is None:
            weights = means
        elif weights != means:
            check_uses_weights(self.run.prepared.optimizer)
        delay = max(self.steps - gradient.job.version for gradient in used)
        digests = []
        for place, (gradient, weight) in enumerate(zip(used, weights, strict=True), 1):
            message, stale = gradient.message, gradient.job.request.params
            self.run.update(message.gradient, delay, stale, message.worker, place == len(used), weight)
            digests.append(digest(self.run.params))
        done = self._publish()
        for gradient, weight, digest_after in zip(used, weights, digests, strict=True):
            self._note(
                worker=gradient.message.worker,
                sample=gradient.message.sample,
                version=gradient.job.version,
                step=self.steps,
                weight=weight,
                computed=self.arrivals,
                arrival=gradient.arrival,
                time=done,
                compute_seconds=gradient.message.seconds,
                digest=digest_after,
            )
        self.steps += 1
        self.arrivals_at_step, self.costs_at_step = self.arrivals, (self.cancelled, self.wasted)
        self._check_finite()

    def _follow(self, orders: Orders[_Gradient]) -> None:
        """Lets the workers begin."""
        for worker in map(int, orders.restart):
            self._restart(worker, self._new_job())
        for worker in map(int, orders.assign):
            self._assign(worker, self._new_job())

    def _new_job(self) -> _Job:
        return _Job(self._new_request(), self.steps)

    def _restart(self, worker: int, job: _Job) -> None:
        """Lets a worker begin anew; what it computes, and what waits for it, is not used."""
        current = self.jobs.get(worker)
        if current is not None and not current.is_stopped:
            current.is_stopped = True
            self.cancelled += 1
            self.pool.stop(worker, current.request.sample)
        self.waiting[worker].clear()
        self._assign(worker, job)

    def _assign(self, worker: int, job: _Job) -> None:
        self.waiting[worker].append(job)
        if worker not in self.jobs:
            self._send_next(worker)

    def _send_next(self, worker: int) -> None:
        """Asks a worker for its next gradient, if a job waits for it."""
        if self.waiting[worker]:
            job = self.jobs[worker] = self.waiting[worker].popleft()
            job.sent = time.perf_counter() - self.clock_start
            self._send(worker, job.request)

    def _try_again(self, worker: int) -> None:
        job = self.jobs.pop(worker)
        if job.is_stopped:
            self._throw_away(job, time.perf_counter() - self.clock_start)
        else:
            self.waiting[worker].appendleft(self._new_job())
        self._send_next(worker)

    def _throw_away(self, job: _Job, arrival: float) -> None:
        self.wasted += arrival - job.sent

    @property
    def _so_far(self) -> str:
        return f"{self.steps} steps and {self.arrivals} arrivals"

    def _notes(self) -> dict[str, Any]:
        counts = {"arrivals": self.arrivals, "cancelled": self.cancelled, "wasted": self.wasted}
        return super()._notes() | counts

    def _resume_notes(self, notes: dict[str, Any]) -> None:
        super()._resume_notes(notes)
        self.arrivals = self.arrivals_at_step = notes["arrivals"]
        self.costs_at_step = self.cancelled, self.wasted = notes["cancelled"], notes["wasted"]
        self.steps = int(self.rows["step"][-1]) + 1

    def _trace(self, columns: dict[str, np.ndarray]) -> Trace:
        cancelled, wasted = self.costs_at_step
        return Trace(
            read_versions(columns["step"], columns["version"]),
            worker=columns["worker"],
            time=columns["time"],
            arrival=columns["arrival"],
            sample=columns["sample"],
            step=columns["step"],
            weight=unless_means(columns["weight"], columns["step"]),
            computed=columns["computed"],
            arrivals=int(columns["computed"][-1]),
            cancelled=cancelled,
            wasted_seconds=wasted,
            num_workers=self.pool.num_workers,
        )
