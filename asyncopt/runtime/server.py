"""The server of a real run: applies each gradient as it comes, and records it."""

import dataclasses
import json
import logging
import time
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import PyTree

from asyncopt import stopping
from asyncopt.checks import InputError
from asyncopt.engine import Checkpoint, plan
from asyncopt.engine.checkpoint import Snapshot
from asyncopt.engine.drive import Report
from asyncopt.engine.prepare import at_ends_of_steps
from asyncopt.engine.stepwise import Stepwise, digest
from asyncopt.runtime.recording import Recording
from asyncopt.runtime.worker_pool import GradientMessage, GradientRequest, WorkerFailure, WorkerPool
from asyncopt.traces import Trace

log = logging.getLogger("asyncopt.runtime")
# The run ends after more failures in a row than this many times the number of workers.
_MAX_FAILURES_PER_WORKER = 5


class Server:
    """A run, its workers, and the records of the updates so far."""

    # What is recorded of each update.
    columns: ClassVar[dict[str, Any]] = {
        "worker": np.int64,
        "sample": np.int64,
        "block_version": np.int64,  # for each block
        "arrival": np.float64,
        "time": np.float64,
        "compute_seconds": np.float64,
        "digest": np.uint64,
    }

    def __init__(self, run: Stepwise, pool: WorkerPool, synchronous: bool) -> None:
        self.run = run
        self.pool = pool
        self.synchronous = synchronous
        self.rows: dict[str, list[Any]] = {name: [] for name in self.columns}
        self.incidents: list[dict[str, Any]] = []
        self.requests: dict[int, GradientRequest] = {}  # the open request of each worker
        self.next_sample = 0
        self.failures_in_a_row = 0
        self.earlier_seconds = 0.0  # the clock of the checkpoint that the run was resumed from

    def serve(self, num_updates: int, report: Report, checkpoint: Checkpoint | None) -> None:
        """Makes all updates that are left."""
        self.run.warm_up()
        self.clock_start = time.perf_counter() - self.earlier_seconds
        self._begin()
        while self.run.made < num_updates:
            before = self.run.made
            self._take_turn(num_updates)
            report(self.run.made - before, self.run.evaluation_share)
            if checkpoint is not None and checkpoint.is_due and self.run.made < num_updates:
                checkpoint.save(self.snapshot())

    def _begin(self) -> None:
        """Gives each worker its first request."""
        for worker in range(self.pool.num_workers):
            self._dispatch(worker)

    def _take_turn(self, num_updates: int) -> None:
        """Applies the next gradients, one or those of a round; then their workers get new requests."""
        messages: dict[int, tuple[GradientMessage, float]] = {}
        while len(messages) < (self.pool.num_workers if self.synchronous else 1):
            message, arrival = self._receive()
            messages[message.worker] = (message, arrival)
        for worker in sorted(messages):
            self._apply(*messages[worker])
        for worker in sorted(messages):
            if self.run.made < num_updates:
                self._dispatch(worker)

    def _dispatch(self, worker: int) -> None:
        self._send(worker, self._new_request())

    def _new_request(self) -> GradientRequest:
        params = jax.tree.map(np.asarray, self.run.params)
        self.next_sample += 1
        return GradientRequest(self.run.made, self.next_sample - 1, params)

    def _send(self, worker: int, request: GradientRequest) -> None:
        self.requests[worker] = request
        self.pool.dispatch(worker, request)

    def _receive(self) -> tuple[GradientMessage, float]:
        """Waits for a gradient that can be applied; returns it with its time of arrival."""
        while True:
            stopping.check()
            message, received = self.pool.receive()
            if isinstance(message, WorkerFailure):
                self._handle_failure(message, message.reason)
            elif (reason := self._reason_to_refuse(message)) is not None:
                self._handle_failure(message, reason)
            else:
                self.failures_in_a_row = 0
                return message, max(received - self.clock_start, self.earlier_seconds)

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
        applied = self._publish()
        self._note(
            worker=message.worker,
            sample=message.sample,
            block_version=versions,
            arrival=arrival,
            time=applied,
            compute_seconds=message.seconds,
            digest=digest(self.run.params),
        )
        self._check_finite()

    def _publish(self) -> float:
        """Lets workers read the new iterate; returns the second at which it was made."""
        jax.block_until_ready(self.run.params)
        self.pool.publish(self.run.made, self.run.params)
        return time.perf_counter() - self.clock_start

    def _note(self, **row: Any) -> None:
        """Adds an update to the records."""
        for name in self.columns:  # in this order: `can_be_resumed` looks at the last
            self.rows[name].append(row[name])

    def _check_finite(self) -> None:
        if not _is_finite(self.run.params):
            raise InputError(f"the run diverged: iterate {self.run.made} is not finite, expected a smaller step size")

    def _reason_to_refuse(self, message: GradientMessage) -> str | None:
        """Returns why a gradient cannot be applied, or None if it can."""
        request = self.requests.get(message.worker)
        if request is None or not _matches(message, request):
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
        if isinstance(message, WorkerFailure) or not _matches(message, request):
            self.pool.replace(worker)  # other answers of the old worker may still be on their way
        self._try_again(worker)

    def _try_again(self, worker: int) -> None:
        """Gives a worker whose request has failed another one."""
        self._dispatch(worker)

    def can_be_resumed(self) -> bool:
        """Whether the records hold whole updates and whole rounds only, wherever the run was stopped."""
        num_rows = len(self.rows["digest"])  # the last column to be written
        return 0 < num_rows == self.run.made and not (self.synchronous and num_rows % self.pool.num_workers)

    def snapshot(self) -> Snapshot:
        """Returns the run as it is now, for a checkpoint."""
        notes = np.frombuffer(json.dumps(self._notes()).encode(), np.uint8)
        return self.run.snapshot((self._columns(), notes))

    def _notes(self) -> dict[str, Any]:
        """Returns what is recorded besides the columns, ready for JSON."""
        return {"incidents": self.incidents}

    def resume_from(self, checkpoint: Checkpoint) -> None:
        """Resumes the run from a checkpoint, if its file holds this run."""
        snapshot = checkpoint.load(self.snapshot())
        if snapshot is None or not snapshot.made:
            return
        columns, notes = snapshot.rows
        self.rows = {name: list(np.moveaxis(values, -1, 0)) for name, values in columns.items()}
        self._resume_notes(json.loads(notes.tobytes()))
        self.run.resume_from(snapshot)
        self.earlier_seconds = float(self.rows["time"][-1])
        self.next_sample = int(max(self.rows["sample"])) + 1
        log.warning("update %d: the run resumes from its checkpoint", snapshot.made)

    def _resume_notes(self, notes: dict[str, Any]) -> None:
        """Takes up the records besides the columns."""
        self.incidents = notes["incidents"]

    def _columns(self) -> dict[str, np.ndarray]:
        """Returns the records as arrays whose last axis counts updates."""
        columns = {name: np.array(self.rows[name], dtype) for name, dtype in self.columns.items()}
        if "block_version" in columns:
            columns["block_version"] = columns["block_version"].reshape(-1, self.pool.num_blocks).T
        return columns

    def recording(self) -> Recording:
        """Returns the recording, once all updates are made."""
        columns = self._columns()
        trace = self._trace(columns)
        steps = at_ends_of_steps(self.run.prepared.steps, trace)  # where a step ends is known only now
        self.run.prepared = dataclasses.replace(self.run.prepared, trace=trace, slots=plan(trace), steps=steps)
        result = self.run.result()
        return Recording(trace, result, columns["digest"], columns["compute_seconds"], self.incidents)

    def _trace(self, columns: dict[str, np.ndarray]) -> Trace:
        blocks = columns["block_version"].T
        return Trace(
            blocks.min(axis=1),
            block_version=blocks,
            worker=columns["worker"],
            time=columns["time"],
            arrival=columns["arrival"],
            sample=columns["sample"],
            num_workers=self.pool.num_workers,
        )


def _matches(message: GradientMessage, request: GradientRequest) -> bool:
    return (message.version, message.sample) == (request.version, request.sample)


def _is_finite(tree: PyTree) -> bool:
    return all(bool(np.all(np.isfinite(np.asarray(leaf)))) for leaf in jax.tree.leaves(tree))


def _are_equal(a: PyTree, b: PyTree) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
