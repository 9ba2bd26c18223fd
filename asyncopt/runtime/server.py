"""The server of a real run: applies each gradient as it comes, and records the trace."""

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import DTypeLike, PyTree

from asyncopt import stopping
from asyncopt.checks import InputError, check_flag, check_integer
from asyncopt.engine import Checkpoint, Probe, Run, Settings, plan
from asyncopt.engine import probes as probing
from asyncopt.engine import progress as progress_bar
from asyncopt.engine.checkpoint import Snapshot
from asyncopt.engine.drive import Report
from asyncopt.engine.prepare import prepare
from asyncopt.engine.stepwise import Stepwise, digest
from asyncopt.problems import Problem
from asyncopt.runtime.recording import Recording
from asyncopt.runtime.worker_pool import GradientMessage, GradientRequest, WorkerFailure, WorkerPool
from asyncopt.traces import Trace

log = logging.getLogger("asyncopt.runtime")
# The run ends after more failures in a row than this many times the number of workers.
_MAX_FAILURES_PER_WORKER = 5


def record(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    pool: WorkerPool,
    *,
    num_updates: int,
    seed: int = 0,
    eval_every: int | str | None = None,
    average: bool = True,
    record_bounds: bool | str = False,
    probes: Iterable[Probe] = (),
    param_dtype: DTypeLike | None = None,
    synchronous: bool = False,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Recording:
    """Trains with real workers, asynchronously or in rounds, and records the trace.

    Every worker holds one request at a time: the newest iterate, and the number of a mini-batch. It is sent the next
    one once its gradient has been applied, so the mean delay tends to p - 1. No gradient is applied twice. The replay
    ``asyncopt.replay(..., exact=True)`` of the trace is bit-identical.

    A worker that fails is replaced. A gradient is refused if it is not finite, has another shape or dtype, or does not
    answer the worker's request. Both are recorded.

    Args:
      problem: what is minimised.
      optimizer: any Optax transform.
      pool: the workers.
      num_updates: K, at least 1.
      seed: seed of the start and the mini-batches.
      eval_every: evaluate F after so many updates, as in `asyncopt.replay`. Meanwhile the server applies nothing, and
        the clock keeps running.
      average: keep the average of the iterates, as in `asyncopt.replay`.
      record_bounds: record what the convergence bounds of APAM need, if `asyncopt.apam` returned ``optimizer``. With
        "full", record every line of the theorem's proof, too; this takes full gradients in every update.
      probes: what else to record, as in `asyncopt.replay`.
      param_dtype: dtype of the parameters, as in `asyncopt.replay`.
      synchronous: train in rounds: all workers compute at one iterate; when the last gradient has come, all are applied
        in the order of the workers. The optimizer must step once a round, as does
        ``buffer_updates(optimizer, size=p, exponent=0)``. K must be a multiple of p.
      progress: show a progress bar on the standard error.
      checkpoint: keep the run in this file while it runs, also when it ends with an error, and resume it from there.

    Raises:
      InputError: if an argument is out of range, the run diverges, or its workers fail again and again.
    """
    chosen = probing.chosen(optimizer, problem, record_bounds, probes)
    # Only the length of the trace is known before the run.
    check_flag("synchronous", synchronous)
    length = check_integer("num_updates", num_updates, at_least=1)
    run = Run(problem, optimizer, Trace(np.arange(length), num_workers=pool.num_workers), [seed], chosen)
    prepared = prepare(run, Settings(eval_every, average, param_dtype))
    if synchronous and num_updates % pool.num_workers:
        raise InputError(
            f"num_updates is {num_updates}, expected a multiple of the {pool.num_workers} workers: whole rounds"
        )
    server = _Server(Stepwise(prepared), pool, synchronous)
    if checkpoint is not None:
        server.resume_from(checkpoint)
    with progress_bar.reporter(num_updates, 1, progress) as report, contextlib.closing(pool):
        report(server.run.made, 0.0)
        pool.start(problem, seed, server.run.params)
        pool.publish(server.run.made, server.run.params)
        try:
            server.serve(num_updates, report, checkpoint)
        except BaseException:
            if checkpoint is not None and server.can_be_resumed():
                checkpoint.save(server.snapshot())
            raise
    return server.recording()


# What is recorded of each update.
_COLUMNS = {
    "worker": np.int64,
    "sample": np.int64,
    "block_version": np.int64,  # for each block
    "arrival": np.float64,
    "time": np.float64,
    "compute_seconds": np.float64,
    "digest": np.uint64,
}


class _Server:
    """A run, its workers, and the records of the updates so far."""

    def __init__(self, run: Stepwise, pool: WorkerPool, synchronous: bool) -> None:
        self.run = run
        self.pool = pool
        self.synchronous = synchronous
        self.rows: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self.incidents: list[dict[str, Any]] = []
        self.requests: dict[int, GradientRequest] = {}  # the open request of each worker
        self.next_sample = 0
        self.failures_in_a_row = 0
        self.earlier_seconds = 0.0  # the clock of the checkpoint that the run was resumed from

    def serve(self, num_updates: int, report: Report, checkpoint: Checkpoint | None) -> None:
        """Makes all updates that are left."""
        self.run.warm_up()
        self.clock_start = time.perf_counter() - self.earlier_seconds
        for worker in range(self.pool.num_workers):
            self._dispatch(worker)
        while self.run.made < num_updates:
            before = self.run.made
            messages = self._receive()
            for worker in sorted(messages):
                self._apply(*messages[worker])
            for worker in sorted(messages):
                if self.run.made < num_updates:
                    self._dispatch(worker)
            report(self.run.made - before, self.run.evaluation_share)
            if checkpoint is not None and checkpoint.is_due and self.run.made < num_updates:
                checkpoint.save(self.snapshot())

    def _dispatch(self, worker: int) -> None:
        params = jax.tree.map(np.asarray, self.run.params)
        self.requests[worker] = GradientRequest(self.run.made, self.next_sample, params)
        self.next_sample += 1
        self.pool.dispatch(worker, self.requests[worker])

    def _receive(self) -> dict[int, tuple[GradientMessage, float]]:
        """Waits for the gradients to apply next, one or those of a round; returns them with their times of arrival."""
        messages: dict[int, tuple[GradientMessage, float]] = {}
        while len(messages) < (self.pool.num_workers if self.synchronous else 1):
            stopping.check()
            message, received = self.pool.receive()
            if isinstance(message, WorkerFailure):
                self._handle_failure(message, message.reason)
            elif (reason := self._reason_to_refuse(message)) is not None:
                self._handle_failure(message, reason)
            else:
                self.failures_in_a_row = 0
                messages[message.worker] = (message, max(received - self.clock_start, self.earlier_seconds))
        return messages

    def _apply(self, message: GradientMessage, arrival: float) -> None:
        request = self.requests.pop(message.worker)
        k = self.run.made
        versions, stale = np.array([request.version]), request.params
        if message.block_version is not None:
            versions, stale = message.block_version, message.stale
        if self.synchronous:
            # The optimizer leaves the iterate alone within a round, so the gradients are at the newest iterate.
            if not _are_equal(self.run.params, request.params):
                raise InputError(
                    "optimizer: it stepped within a round, expected one that steps once a round: "
                    f"buffer_updates with size={self.pool.num_workers} and exponent=0"
                )
            versions = np.full_like(versions, k)
        self.run.update(message.gradient, k - int(versions.min()), stale, message.worker)
        jax.block_until_ready(self.run.params)
        self.pool.publish(self.run.made, self.run.params)
        applied = time.perf_counter() - self.clock_start
        row = (message.worker, message.sample, versions, arrival, applied, message.seconds, digest(self.run.params))
        for name, value in zip(_COLUMNS, row, strict=True):
            self.rows[name].append(value)
        if not _is_finite(self.run.params):
            raise InputError(f"the run diverged: iterate {k + 1} is not finite, expected a smaller step size")

    def _reason_to_refuse(self, message: GradientMessage) -> str | None:
        """Returns why a gradient cannot be applied, or None if it can."""
        request = self.requests.get(message.worker)
        if request is None or not _answers(message, request):
            expected = "none" if request is None else f"sample {request.sample} at iterate {request.version}"
            return f"a gradient of sample {message.sample} at iterate {message.version}, expected {expected}"
        blocks = message.block_version
        if blocks is not None and not request.version <= blocks.min() <= blocks.max() <= self.run.made:
            return f"read iterates {blocks.min()} to {blocks.max()}, expected {request.version} to {self.run.made}"
        if jax.tree.structure(message.gradient) != jax.tree.structure(request.params):
            return f"a gradient of structure {jax.tree.structure(message.gradient)}"
        for leaf, param in zip(jax.tree.leaves(message.gradient), jax.tree.leaves(request.params), strict=True):
            if (np.shape(leaf), leaf.dtype) != (param.shape, param.dtype):
                return f"shape {np.shape(leaf)} of {leaf.dtype}, expected {param.shape} of {param.dtype}"
        return None if _is_finite(message.gradient) else "a gradient that is not finite"

    def _handle_failure(self, message: GradientMessage | WorkerFailure, reason: str) -> None:
        """Records a lost worker or a refused gradient, and dispatches the work again."""
        kind = "lost" if isinstance(message, WorkerFailure) else "refused"
        worker = message.worker
        self.incidents.append({"update": self.run.made, "worker": worker, "what": kind, "reason": reason})
        log.warning("update %d: worker %d %s: %s", self.run.made, worker, kind, reason)
        self.failures_in_a_row += 1
        if self.failures_in_a_row > _MAX_FAILURES_PER_WORKER * self.pool.num_workers:
            raise InputError(
                f"no gradient could be applied {self.failures_in_a_row} times in a row; worker {worker}: {reason}"
            )
        request = self.requests.get(worker)
        if request is None:
            return  # the worker holds no request
        if isinstance(message, WorkerFailure) or not _answers(message, request):
            self.pool.replace(worker)  # other answers of the old worker may still be on their way
        self._dispatch(worker)

    def can_be_resumed(self) -> bool:
        """Whether the records hold whole updates and whole rounds only, wherever the run was stopped."""
        num_rows = len(self.rows["digest"])  # the last column to be written
        return 0 < num_rows == self.run.made and not (self.synchronous and num_rows % self.pool.num_workers)

    def snapshot(self) -> Snapshot:
        """Returns the run as it is now, for a checkpoint."""
        incidents = np.frombuffer(json.dumps(self.incidents).encode(), np.uint8)
        return self.run.snapshot((self._columns(), incidents))

    def resume_from(self, checkpoint: Checkpoint) -> None:
        """Resumes the run from a checkpoint, if its file holds this run."""
        snapshot = checkpoint.load(self.snapshot())
        if snapshot is None or not snapshot.made:
            return
        columns, incidents = snapshot.rows
        self.rows = {name: list(np.moveaxis(values, -1, 0)) for name, values in columns.items()}
        self.incidents = json.loads(incidents.tobytes())
        self.run.resume_from(snapshot)
        self.earlier_seconds = float(self.rows["time"][-1])
        self.next_sample = int(max(self.rows["sample"])) + 1
        log.warning("update %d: the run resumes from its checkpoint", snapshot.made)

    def _columns(self) -> dict[str, np.ndarray]:
        """Returns the records as arrays whose last axis counts updates."""
        columns = {name: np.array(self.rows[name], dtype) for name, dtype in _COLUMNS.items()}
        columns["block_version"] = columns["block_version"].reshape(-1, self.pool.num_blocks).T
        return columns

    def recording(self) -> Recording:
        """Returns the recording, once all updates are made."""
        columns = self._columns()
        blocks = columns["block_version"].T
        trace = Trace(
            blocks.min(axis=1),
            block_version=blocks,
            worker=columns["worker"],
            time=columns["time"],
            arrival=columns["arrival"],
            sample=columns["sample"],
            num_workers=self.pool.num_workers,
        )
        self.run.prepared = dataclasses.replace(self.run.prepared, trace=trace, slots=plan(trace))
        result = self.run.result()
        return Recording(trace, result, columns["digest"], columns["compute_seconds"], self.incidents)


def _answers(message: GradientMessage, request: GradientRequest) -> bool:
    return (message.version, message.sample) == (request.version, request.sample)


def _is_finite(tree: PyTree) -> bool:
    return all(bool(np.all(np.isfinite(np.asarray(leaf)))) for leaf in jax.tree.leaves(tree))


def _are_equal(a: PyTree, b: PyTree) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
