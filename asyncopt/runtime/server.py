"""The server of a real run: applies each gradient as it comes, and notes what happened."""

import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import DTypeLike, PyTree

from asyncopt import traces
from asyncopt.checks import InputError
from asyncopt.engine import Checkpoint, Run, Settings, plan
from asyncopt.engine import progress as progress_bar
from asyncopt.engine.checkpoint import Snapshot
from asyncopt.engine.prepare import prepare
from asyncopt.engine.stepwise import Stepwise, digest
from asyncopt.problems import Problem
from asyncopt.runtime.crew import Crew, Lost, Order, Sent
from asyncopt.runtime.recording import Recording
from asyncopt.traces import Trace

log = logging.getLogger("asyncopt.runtime")
# A run whose workers are lost or refused this many times in a row, each, is not going to end well.
_MOST_FAILURES = 5


def record(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    crew: Crew,
    *,
    num_updates: int,
    seed: int = 0,
    eval_every: int | None = None,
    record_bounds: bool = True,
    param_dtype: DTypeLike | None = None,
    synchronous: bool = False,
    progress: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Recording:
    """Trains with real workers, asynchronously or in rounds, and records the trace of what happened.

    Every worker holds one order at a time: it is sent the newest iterate and the number of a mini-batch, and is sent
    the next once its gradient has been applied, so that the mean delay tends to p - 1. A worker that is lost is
    replaced, and a gradient that cannot be right (not finite, of another shape, for another order) is refused; both are
    noted. No gradient is applied twice. Replayed with ``asyncopt.replay(..., exact=True)``, the trace gives the same
    bits.

    Args:
      problem: what is minimised.
      optimizer: any Optax transform.
      crew: the workers.
      num_updates: K, at least 1.
      seed: of the start and the mini-batches.
      eval_every: as of `asyncopt.replay`. While the server evaluates, it applies nothing, and the clock goes on.
      record_bounds: as of `asyncopt.replay`.
      param_dtype: likewise.
      synchronous: rounds: all workers compute at one iterate, and the gradients are applied, in the order of the
        workers, when the last has come. For an optimizer that steps once a round,
        ``buffer_updates(optimizer, size=p, exponent=0)``; K is a multiple of p.
      progress: show a progress bar on the standard error.
      checkpoint: keep the run in this file while it runs, also when it ends with an error, and go on from there.

    Raises:
      InputError: if an argument is out of range, the run diverges, or its workers fail again and again.
    """
    settings = Settings(eval_every, record_bounds, param_dtype, None)
    # Of the trace only the length is known yet.
    run = prepare(Run(problem, optimizer, traces.synchronous(num_updates), [seed]), settings)
    if synchronous and num_updates % crew.num_workers:
        raise InputError(
            f"num_updates is {num_updates}, expected a multiple of the {crew.num_workers} workers: whole rounds"
        )
    server = _Server(Stepwise(run, settings), crew)
    if checkpoint is not None:
        server.resume_from(checkpoint)
    with progress_bar.reporter(num_updates, 1, progress) as report, contextlib.closing(crew):
        report(server.run.made)
        crew.start(problem, seed, server.run.params)
        crew.publish(server.run.made, server.run.params)
        try:
            server.serve(num_updates, synchronous, report, checkpoint)
        except BaseException:
            if checkpoint is not None and server.can_resume_from_here(synchronous):
                checkpoint.save(server.snapshot())
            raise
    return server.recording()


# What is noted of each update.
_COLUMNS = {
    "worker": np.int64,
    "sample": np.int64,
    "block_version": np.int64,  # of each block
    "arrival": np.float64,
    "time": np.float64,
    "compute_seconds": np.float64,
    "digest": np.uint64,
}


class _Server:
    """A run, its workers, and what has been noted so far."""

    def __init__(self, run: Stepwise, crew: Crew) -> None:
        self.run = run
        self.crew = crew
        self.rows: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self.incidents: list[dict[str, Any]] = []
        self.orders: dict[int, Order] = {}
        self.next_sample = 0
        self.failures = 0  # in a row
        self.earlier = 0.0  # seconds of the run before it went on

    def serve(
        self,
        num_updates: int,
        synchronous: bool,
        report: Callable[[int], object],
        checkpoint: Checkpoint | None,
    ) -> None:
        """Makes all updates that are left."""
        self.run.warm_up()
        self.began = time.perf_counter() - self.earlier
        for worker in range(self.crew.num_workers):
            self._dispatch(worker)
        together: dict[int, tuple[Sent, float]] = {}  # what has come of a round
        while self.run.made < num_updates:
            message, moment = self.crew.receive()
            arrival = max(moment - self.began, self.earlier)
            reason = message.reason if isinstance(message, Lost) else self._refusal(message)
            if isinstance(message, Lost) or reason is not None:
                self._note(message, str(reason))
                continue
            self.failures = 0
            together[message.worker] = (message, arrival)
            if synchronous and len(together) < self.crew.num_workers:
                continue
            made = self.run.made
            for worker in sorted(together):
                self._apply(*together[worker], synchronous)
            for worker in sorted(together):
                if self.run.made < num_updates:
                    self._dispatch(worker)
            together.clear()
            report(self.run.made - made)
            if checkpoint is not None and checkpoint.is_due and self.run.made < num_updates:
                checkpoint.save(self.snapshot())

    def _dispatch(self, worker: int) -> None:
        params = jax.tree.map(np.asarray, self.run.params)
        self.orders[worker] = Order(self.run.made, self.next_sample, params)
        self.next_sample += 1
        self.crew.dispatch(worker, self.orders[worker])

    def _apply(self, sent: Sent, arrival: float, synchronous: bool) -> None:
        order = self.orders.pop(sent.worker)
        k = self.run.made
        read, stale = np.array([order.version]), order.params
        if sent.block_version is not None:
            read, stale = sent.block_version, sent.stale
        if synchronous:
            # Between the steps of a round the iterate is left alone, so that the gradients are at the newest one.
            if not _same(self.run.params, order.params):
                raise InputError(
                    "optimizer: it stepped within a round, expected one that steps once a round: "
                    f"buffer_updates with size={self.crew.num_workers} and exponent=0"
                )
            read = np.full_like(read, k)
        self.run.update(sent.gradient, k - int(read.min()), stale)
        jax.block_until_ready(self.run.params)
        self.crew.publish(self.run.made, self.run.params)
        row = (sent.worker, sent.sample, read, arrival, time.perf_counter() - self.began, sent.seconds)
        for name, value in zip(_COLUMNS, (*row, digest(self.run.params)), strict=True):
            self.rows[name].append(value)
        if not _finite(self.run.params):
            raise InputError(f"the run diverged: iterate {k + 1} is not finite, expected a smaller step size")

    def _refusal(self, sent: Sent) -> str | None:
        """Returns why a gradient cannot be applied, or None if it can."""
        order = self.orders.get(sent.worker)
        if order is None or not self._answers_its_order(sent):
            asked = "none" if order is None else f"sample {order.sample} at iterate {order.version}"
            return f"a gradient of sample {sent.sample} at iterate {sent.version}, expected {asked}"
        blocks = sent.block_version
        if blocks is not None and not order.version <= blocks.min() <= blocks.max() <= self.run.made:
            return f"read iterates {blocks.min()} to {blocks.max()}, expected {order.version} to {self.run.made}"
        if jax.tree.structure(sent.gradient) != jax.tree.structure(order.params):
            return f"a gradient of structure {jax.tree.structure(sent.gradient)}"
        for found, wanted in zip(jax.tree.leaves(sent.gradient), jax.tree.leaves(order.params), strict=True):
            if (np.shape(found), found.dtype) != (wanted.shape, wanted.dtype):
                return f"shape {np.shape(found)} of {found.dtype}, expected {wanted.shape} of {wanted.dtype}"
        return None if _finite(sent.gradient) else "a gradient that is not finite"

    def _answers_its_order(self, sent: Sent) -> bool:
        order = self.orders.get(sent.worker)
        return order is not None and (sent.version, sent.sample) == (order.version, order.sample)

    def _note(self, message: Sent | Lost, reason: str) -> None:
        """Notes what went wrong, and has it made good."""
        what = "lost" if isinstance(message, Lost) else "refused"
        worker = message.worker
        self.incidents.append({"update": self.run.made, "worker": worker, "what": what, "reason": reason})
        log.warning("update %d: worker %d %s: %s", self.run.made, worker, what, reason)
        self.failures += 1
        if self.failures > _MOST_FAILURES * self.crew.num_workers:
            raise InputError(f"no gradient could be applied {self.failures} times in a row; worker {worker}: {reason}")
        if worker not in self.orders:
            return  # from nobody
        if isinstance(message, Lost) or not self._answers_its_order(message):
            self.crew.replace(worker)  # nobody knows what else is on its way from there
        self._dispatch(worker)

    def can_resume_from_here(self, synchronous: bool) -> bool:
        """Whether what is known fits together, wherever the run was stopped."""
        noted = len(self.rows["digest"])  # the last to be noted of an update
        return 0 < noted == self.run.made and not (synchronous and noted % self.crew.num_workers)

    def snapshot(self) -> Snapshot:
        """Returns the run as it is now, to be kept on disk."""
        columns = self._columns()
        said = np.frombuffer(json.dumps(self.incidents).encode(), np.uint8)
        return self.run.snapshot((columns, said))

    def resume_from(self, checkpoint: Checkpoint) -> None:
        """Takes up the run that a checkpoint holds, if it holds it."""
        kept = checkpoint.load(self.snapshot())
        if kept is None or not kept.made:
            return
        columns, said = kept.rows
        self.rows = {name: list(np.moveaxis(values, -1, 0)) for name, values in columns.items()}
        self.incidents = json.loads(said.tobytes())
        self.run.resume_from(kept)
        self.earlier = float(self.rows["time"][-1])
        self.next_sample = int(max(self.rows["sample"])) + 1
        log.warning("update %d: the run goes on from its checkpoint", kept.made)

    def _columns(self) -> dict[str, np.ndarray]:
        """Returns what has been noted, as arrays whose last axis counts updates."""
        columns = {name: np.array(self.rows[name], dtype) for name, dtype in _COLUMNS.items()}
        columns["block_version"] = columns["block_version"].reshape(-1, self.crew.num_blocks).T
        return columns

    def recording(self) -> Recording:
        """Returns the run, once all updates are made."""
        columns = self._columns()
        blocks = columns["block_version"].T
        trace = Trace(
            blocks.min(axis=1),
            block_version=blocks,
            worker=columns["worker"],
            time=columns["time"],
            arrival=columns["arrival"],
            sample=columns["sample"],
            num_workers=self.crew.num_workers,
        )
        self.run.prepared = dataclasses.replace(self.run.prepared, trace=trace, slots=plan(trace))
        result = self.run.result()
        return Recording(trace, result, columns["digest"], columns["compute_seconds"], self.incidents)


def _finite(tree: PyTree) -> bool:
    return all(bool(np.all(np.isfinite(np.asarray(leaf)))) for leaf in jax.tree.leaves(tree))


def _same(a: PyTree, b: PyTree) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
