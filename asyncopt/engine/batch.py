"""Many runs as one program: what they have in common is shared, the rest has an axis of runs."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from asyncopt.checks import InputError
from asyncopt.engine import loop, memory
from asyncopt.engine.checkpoint import Checkpoint
from asyncopt.engine.drive import drive
from asyncopt.engine.prepare import Prepared, Run, Settings, param_shapes, prepare, state_shapes
from asyncopt.engine.probes import Probe
from asyncopt.engine.result import Result, result_of
from asyncopt.engine.state import Inputs, Schedule


def replay_batch(
    runs: Sequence[Run],
    settings: Settings,
    *,
    num_lanes: int = 0,
    capacity: int = 0,
    varying: Sequence[bool] | None = None,
    report: Callable[[int], object] = lambda updates: None,
    checkpoint: Checkpoint | None = None,
) -> list[Result]:
    """Replays runs of the same `program` side by side, each with all its seeds, spread over all local devices.

    Which lane of the batch a run has may change how its sums are rounded; what is in the other lanes does not, as long
    as ``num_lanes``, ``capacity`` and ``varying`` are the same.

    Args:
      runs: that differ in traces of one length, seeds, and numbers in the optimizer and the problem.
      settings: of all of them.
      num_lanes: of the batch, at least; copies of the last one fill it up.
      capacity: slots of every history, at least.
      varying: which leaves each run has for itself, as of `varying_leaves`; by default those in which ``runs`` differ.
      report: called with the number of updates made since it was last called.
      checkpoint: where to keep the batch on its way.

    Returns:
      A result for each run, as of `asyncopt.replay` with ``seeds``. Its seconds are its share of the batch's.

    Raises:
      InputError: as of `asyncopt.replay`, or if the runs are not of one program.
      TypeError: likewise.
    """
    ready = [prepare(run, settings) for run in runs]
    mask = varying_leaves(runs) if varying is None else varying
    return replay_prepared(ready, settings, mask, num_lanes, capacity, report, checkpoint)


def replay_prepared(
    prepared: Sequence[Prepared],
    settings: Settings,
    varying: Sequence[bool],
    num_lanes: int = 0,
    capacity: int = 0,
    report: Callable[[int], object] = lambda updates: None,
    checkpoint: Checkpoint | None = None,
) -> list[Result]:
    """`replay_batch` of runs that are ready to start."""
    first = prepared[0]
    compiled = program(first, settings)
    for other in prepared[1:]:
        if not compiled.accepts(program(other, settings)):
            raise InputError("runs of a batch must have one program, expected them to differ in numbers only")
    capacity = max(capacity, *(run.slots.capacity for run in prepared))
    lanes = [(run, seed) for run in range(len(prepared)) for seed in range(len(prepared[run].seeds))]
    used = len(lanes)
    total = max(used, num_lanes)
    devices = jax.local_devices()[:total]
    total += -total % len(devices)
    lanes += lanes[-1:] * (total - used)
    memory.check_fits(
        state_shapes(first, first.starts[0], capacity, settings),
        max((run.slots for run in prepared), key=lambda slots: slots.capacity),
        total,
    )
    mesh = Mesh(np.array(devices), (loop.RUNS,))
    shared, own = _inputs(prepared, lanes, varying)
    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(prepared[run].starts[seed] for run, seed in lanes))
    own, starts = jax.device_put((own, starts), NamedSharding(mesh, PartitionSpec(loop.RUNS)))
    snapshot = drive(
        functools.partial(
            loop.start_many,
            mesh,
            shared.optimizer,
            own.optimizer,
            starts,
            capacity,
            settings.history_dtype,
            first.probes,
        ),
        functools.partial(loop.advance_many, mesh, first.probes, shared, own),
        first.steps,
        report,
        checkpoint,
    )
    (evaluations,) = snapshot.evaluations
    final = snapshot.state._replace(history=None)
    results, begin = [], 0
    for run in prepared:
        end = begin + len(run.seeds)
        state, evaluated = jax.tree.map(lambda x, lanes=slice(begin, end): x[lanes], (final, evaluations))
        results.append(result_of(run, state, evaluated, snapshot.seconds * len(run.seeds) / used))
        begin = end
    return results


def _inputs(
    prepared: Sequence[Prepared], lanes: Sequence[tuple[int, int]], varying: Sequence[bool]
) -> tuple[Inputs, Inputs]:
    """Returns the loop's inputs as two trees: leaves that all runs share, and stacked ones of each lane."""
    runs = [(run.problem, run.optimizer, run.schedule) for run in prepared]
    leaves = [jax.tree.leaves(run) for run in runs]
    structure = jax.tree.structure(runs[0])
    shared, own = [], []
    for values, differ in zip(zip(*leaves, strict=True), varying, strict=True):
        shared.append(None if differ else values[0])
        own.append(jnp.stack([values[run] for run, _ in lanes]) if differ else None)
    batch_keys = jnp.stack([prepared[run].batch_keys[seed] for run, seed in lanes])
    return (
        Inputs(*jax.tree.unflatten(structure, shared), batch_keys=None),  # type: ignore[arg-type]
        Inputs(*jax.tree.unflatten(structure, own), batch_keys=batch_keys),
    )


def varying_leaves(runs: Sequence[Run]) -> tuple[bool, ...]:
    """Returns in which leaves runs of one program differ: of problem, optimizer and schedule, in this order."""
    leaves = [jax.tree.leaves((run.problem, optax.with_extra_args_support(run.optimizer))) for run in runs]
    numbers = [eqx.is_array(values[0]) and not _all_equal(values) for values in zip(*leaves, strict=True)]
    schedules = len({run.trace.digest for run in runs}) > 1
    return (*numbers, *[schedules] * len(Schedule._fields))


def _all_equal(values: Sequence[Any]) -> bool:
    return all(_equal(values[0], value) for value in values[1:])


def _equal(a: Any, b: Any) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and np.array_equal(np.asarray(a), np.asarray(b)))


class Program(NamedTuple):
    """What of a run is compiled and not given to the program: runs of one program can be in one batch."""

    structure: Any
    shapes: tuple[tuple[tuple[int, ...], np.dtype], ...]
    others: tuple[Any, ...]  # leaves that are no arrays
    large: tuple[Any, ...]  # arrays larger than the parameters, of which a batch keeps one
    num_updates: int
    num_blocks: int  # of inconsistent reads; 0 where all are consistent
    probes: tuple[Probe, ...]
    settings: Settings

    def accepts(self, other: "Program") -> bool:
        """Whether runs of the two can be in one batch."""
        return (
            (self.num_updates, self.num_blocks) == (other.num_updates, other.num_blocks)
            and (self.probes, self.settings) == (other.probes, other.settings)
            and self.shapes == other.shapes
            and self.structure == other.structure
            and self.others == other.others
            and all(_equal(a, b) for a, b in zip(self.large, other.large, strict=True))
        )


def program(run: Run, settings: Settings) -> Program:
    """Returns what of a run is compiled."""
    arrays, others = eqx.partition((run.problem, run.optimizer), eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    size = sum(leaf.size for leaf in jax.tree.leaves(param_shapes(run.problem)))
    return Program(
        structure,
        tuple((leaf.shape, leaf.dtype) for leaf in leaves),
        tuple(jax.tree.leaves(others)),
        tuple(leaf for leaf in leaves if leaf.size > size),
        run.trace.num_updates,
        run.trace.num_blocks,
        run.probes,
        settings,
    )


def with_arrays_of(reference: PyTree, tree: PyTree) -> PyTree:
    """Returns ``tree`` with the arrays that ``reference`` has too taken from there, so that memory holds them once."""
    return jax.tree.map(lambda a, b: a if eqx.is_array(a) and _equal(a, b) else b, reference, tree)


def bytes_a_lane(run: Run, settings: Settings, capacity: int) -> int:
    """Returns how much memory one seed of a run takes in a batch whose histories have ``capacity`` slots."""
    state = state_shapes(run, param_shapes(run.problem), capacity, settings)
    return memory.bytes_of_run(state, run.trace.num_updates, run.trace.num_blocks)
