"""Makes a run one update at a time, with gradients from elsewhere: what real runs and exact replays share.

Gradient and update are compiled functions of their own here. A run and its replay call the same ones, so that the same
trace gives the same bits. (`asyncopt.engine.loop` is one program, which XLA rounds in its own way.)
"""

import hashlib
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from asyncopt.engine import layerwise, loop, minimum
from asyncopt.engine.blocks import slices
from asyncopt.engine.checkpoint import Snapshot, plain
from asyncopt.engine.draws import batch_key, draw_one
from asyncopt.engine.drive import Report
from asyncopt.engine.plan import done_after_each
from asyncopt.engine.prepare import Prepared
from asyncopt.engine.result import Result, result_of
from asyncopt.engine.state import Evaluation, Facts, LoopState
from asyncopt.problems import Problem

# The caller keeps the history: one slot is the least that `loop.start` makes.
_NO_HISTORY = 1


@eqx.filter_jit
def gradient(
    problem: Problem,
    params: PyTree,
    seed_key: Key[Array, ""],
    sample: Int[Array, ""],
    worker: Int[Array, ""],
    backward: PyTree = None,
) -> PyTree:
    """Returns a worker's gradient at ``params`` of mini-batch number ``sample`` in the run of ``seed_key``.

    With ``backward``, its backward pass has those parameters.
    """
    batch = draw_one(problem, batch_key(seed_key, sample), worker)
    if backward is not None:
        return layerwise.gradient(problem, params, backward, batch)
    return jax.grad(problem.loss)(params, batch)


def gradient_on_host(problem: Problem, params: PyTree, seed_key: Key[Array, ""], sample: int, worker: int) -> PyTree:
    """Returns `gradient` as NumPy arrays, as workers send it; the device is that of ``problem`` and ``seed_key``."""
    host = jax.tree.map(np.asarray, params)
    sample_number, worker_number = (jnp.asarray(number, jnp.int32) for number in (sample, worker))
    return jax.tree.map(np.asarray, gradient(problem, host, seed_key, sample_number, worker_number))


_step = eqx.filter_jit(loop.step)
_evaluate = eqx.filter_jit(loop.evaluate)


@eqx.filter_jit
def _measured(*observed: Any) -> LoopState:
    """Returns the state that `loop.measured` returns, without what only the loop needs."""
    return loop.measured(*observed)[0]


class Stepwise:
    """The state of one run, which makes one update for each gradient that it is given.

    Args:
      prepared: the run, of one seed. Only the length of its trace matters before `result`.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        (start,) = prepared.starts
        state = loop.start_one(
            prepared.optimizer, start, _NO_HISTORY, None, prepared.probes, prepared.average, prepared.has_steps
        )
        self.state = state._replace(history=None)
        self.made = 0
        self._evaluations: list[Evaluation] = []
        self._evaluated = 0  # updates made at the last evaluation
        self._next = 0  # place of the next evaluation in the steps of ``prepared``
        self._earlier = 0.0  # seconds of the run before it was resumed
        self._evaluating = 0.0  # seconds of evaluations
        self._began = time.perf_counter()
        self._evaluate_if_due()

    @property
    def params(self) -> PyTree:
        """The newest iterate."""
        return self.state.params

    @property
    def evaluation_share(self) -> float:
        """The share of the time so far, since the run was started or resumed, that went into evaluations."""
        return min(self._evaluating / max(time.perf_counter() - self._began, 1e-9), 1.0)

    def warm_up(self) -> None:
        """Compiles what `update` calls, so that the first update takes no longer than others; then starts the clock."""
        self._evaluating = 0.0
        zero = jax.tree.map(jnp.zeros_like, self.state.params)
        blocks = None if self.prepared.has_steps else self.prepared.leaf_blocks
        leaf_delay = None if blocks is None else np.zeros(len(blocks), np.int32)
        state, facts = self.state, jax.tree.map(jnp.asarray, self._facts(0, 0, True, 1.0, leaf_delay))
        _step(self.prepared.optimizer, state.params, state.optimizer_state, state.gradient_sum, zero, facts, zero)
        _measured(self.prepared.problem, self.prepared.probes, self.state, jnp.int32(0), zero, zero)
        self._began = time.perf_counter()

    def update(
        self,
        gradient: PyTree,
        delay: int,
        stale: PyTree,
        worker: int,
        makes_step: bool = True,
        weight: float = 1.0,
        leaf_delay: Int[np.ndarray, " n"] | None = None,
    ) -> None:
        """Makes the next update.

        Args:
          gradient: the gradient, in the structure of the parameters.
          delay: its delay in steps; of a step of several gradients, the largest.
          stale: the iterate at which it was taken.
          worker: which worker took it.
          makes_step: whether it is the last of its step; it counts where several gradients may make a step.
          weight: its factor in the sum of its step.
          leaf_delay: int32, the delay of each leaf's gradient, where blocks are layers.
        """
        k = jnp.asarray(self.made, jnp.int32)
        state, facts = self.state, self._facts(delay, worker, makes_step, weight, leaf_delay)
        params, optimizer_state, gradient_sum = _step(
            self.prepared.optimizer,
            state.params,
            state.optimizer_state,
            state.gradient_sum,
            gradient,
            jax.tree.map(jnp.asarray, facts),
            stale,
        )
        observed = _measured(self.prepared.problem, self.prepared.probes, state, k, stale, gradient)
        after = observed._replace(params=params, optimizer_state=optimizer_state, gradient_sum=gradient_sum)
        self.state, self.made = after, self.made + 1  # together: Ctrl-C comes between statements
        if makes_step:
            self._evaluate_if_due()

    def _facts(self, delay: int, worker: int, makes_step: bool, weight: float, leaf_delay: np.ndarray | None) -> Facts:
        facts = Facts(np.int32(delay), np.int32(worker), leaf_delay=leaf_delay)  # type: ignore[arg-type]
        if self.prepared.has_steps:
            facts = facts._replace(makes_step=np.bool_(makes_step), weight=np.asarray(weight))
        return facts

    def snapshot(self, rows: PyTree = None) -> Snapshot:
        """Returns the run as it is now, for a checkpoint.

        Args:
          rows: what else is recorded of the updates so far; NumPy arrays whose last axis counts updates.
        """
        evaluations = jax.tree.map(lambda *parts: np.stack(parts, axis=-1), *self._evaluations)
        seconds = self._earlier + time.perf_counter() - self._began
        return Snapshot(self.state, (evaluations,), self.made, self._evaluated, seconds, rows=rows)

    def resume_from(self, snapshot: Snapshot) -> None:
        """Resumes the run of a snapshot."""
        (evaluations,) = snapshot.evaluations
        count = evaluations.objective.shape[-1]
        self.state, self.made = snapshot.state, snapshot.made
        self._evaluations = [jax.tree.map(lambda x, i=i: x[..., i], evaluations) for i in range(count)]
        self._evaluated, self._next = snapshot.evaluated, self._planned_by(snapshot.evaluated)
        self._earlier = snapshot.seconds
        self._evaluate_if_due()  # the run may have stopped just before an evaluation

    def result(self) -> Result:
        """Returns the result, once all updates are made; the trace is that of ``prepared`` at this time."""
        snapshot = self.snapshot()
        return result_of(self.prepared, self.state, snapshot.evaluations[0], snapshot.seconds, self._evaluating)

    def _evaluate_if_due(self) -> None:
        steps = self.prepared.steps
        if self._next == len(steps) or self.made < steps[self._next]:
            return
        began = time.perf_counter()
        now, before = (jnp.asarray(step, jnp.int32) for step in (self.made, self._evaluated))
        marks, evaluation = _evaluate(self.prepared.problem, self.prepared.probes, self.state, now, before)
        state, evaluation = self.state._replace(**marks._asdict()), jax.tree.map(np.asarray, evaluation)
        minimum.check(self.prepared.problem, state.params, evaluation)
        self._evaluating += time.perf_counter() - began
        evaluations = [*self._evaluations, evaluation]
        place = self._planned_by(self.made)
        self.state, self._evaluations, self._evaluated, self._next = state, evaluations, self.made, place  # together

    def _planned_by(self, made: int) -> int:
        """Returns the number of evaluations planned until so many updates are made; some may fall into one step."""
        return int(np.searchsorted(self.prepared.steps, made, side="right"))


def replay_exactly(
    prepared: Prepared,
    report: Report,
    after_update: Callable[[int, PyTree], object] = lambda k, params: None,
) -> Result:
    """Replays a trace one update at a time, with the compiled functions of a real run.

    Args:
      prepared: the run, of one seed.
      report: see `asyncopt.engine.drive.Report`.
      after_update: called with k and the parameters after update k.
    """
    run = Stepwise(prepared)
    run.warm_up()
    trace = prepared.trace
    seed_key = jax.random.key(prepared.seeds[0])
    iterates = {0: run.params}
    for k, done in enumerate(done_after_each(trace)):
        if trace.block_version is None:
            stale = iterates[int(trace.read_version[k])]
        else:
            stale = mixture(iterates, trace.block_version[k].tolist(), prepared.leaf_blocks)
        sample, worker = (jnp.asarray(numbers[k], jnp.int32) for numbers in (trace.sample, trace.worker))
        backward = None
        if trace.backward_version is not None:
            backward = mixture(iterates, trace.backward_version[k].tolist(), prepared.leaf_blocks)
        taken = gradient(prepared.problem, stale, seed_key, sample, worker, backward)
        facts = jax.tree.map(lambda numbers, k=k: numbers[k], prepared.facts)
        run.update(taken, stale=stale, **{name: fact for name, fact in facts._asdict().items() if fact is not None})
        for version in done:
            del iterates[version]
        if k + 1 < trace.num_updates and trace.last_reader[k + 1] >= 0:
            iterates[k + 1] = run.params
        report(1, run.evaluation_share)
        after_update(k, run.params)
    return run.result()


def mixture(iterates: dict[int, PyTree], versions: list[int], leaf_blocks: tuple[int, ...] | None = None) -> PyTree:
    """Returns parameters whose block b is that of iterate ``versions[b]``; of coordinates, or of these leaves."""
    like = iterates[versions[0]]
    if leaf_blocks is not None:
        taken = [jax.tree.leaves(iterates[versions[block]])[leaf] for leaf, block in enumerate(leaf_blocks)]
        return jax.tree.unflatten(jax.tree.structure(like), taken)
    mixed = [np.array(leaf).ravel() for leaf in jax.tree.leaves(like)]
    for version, places in zip(versions, slices(tuple(leaf.size for leaf in mixed), len(versions)), strict=True):
        leaves = jax.tree.leaves(iterates[version])
        for leaf, coordinates in places:
            mixed[leaf][coordinates] = np.asarray(leaves[leaf]).ravel()[coordinates]
    shaped = [jnp.asarray(new.reshape(old.shape)) for new, old in zip(mixed, jax.tree.leaves(like), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(like), shaped)


def digest(tree: PyTree) -> int:
    """Returns a 64-bit digest of a tree of arrays: BLAKE2b of their bytes."""
    content = hashlib.blake2b(digest_size=8)
    for leaf in jax.tree.leaves(tree):
        content.update(plain(leaf).tobytes())
    return int.from_bytes(content.digest(), "little")
