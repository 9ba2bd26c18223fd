"""Many runs as one program: what they have in common is shared, the rest has an axis of runs."""

import functools
from collections.abc import Sequence
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
from asyncopt.engine.blocks import LAYERS, has_layers
from asyncopt.engine.checkpoint import Checkpoint
from asyncopt.engine.drive import Check, OnEvaluation, Report, drive
from asyncopt.engine.plan import largest
from asyncopt.engine.prepare import Prepared, Run, Settings, param_shapes, prepare, state_shapes
from asyncopt.engine.result import Result, result_of
from asyncopt.engine.state import Inputs


def replay_batch(
    runs: Sequence[Run],
    settings: Settings,
    *,
    num_lanes: int = 0,
    capacity: int | tuple[int, ...] = 0,
    varying: Sequence[bool] | None = None,
    report: Report = lambda updates, evaluation_share: None,
    checkpoint: Checkpoint | None = None,
    check: Check = lambda evaluations: None,
    on_evaluation: OnEvaluation | None = None,
) -> list[Result]:
    """Replays runs of the same `program` side by side, each with all its seeds, spread over all local devices.

    A run's lane in the batch may change how its sums are rounded. The runs in the other lanes do not, as long as
    ``num_lanes``, ``capacity`` and ``varying`` are the same.

    Args:
      runs: runs that differ in traces of one length, seeds, and numbers in the optimizer and the problem.
      settings: how all of them are measured.
      num_lanes: least number of lanes; copies of the last lane fill the batch up.
      capacity: least number of slots of every history, or of that of each leaf.
      varying: for each leaf, whether runs differ in it, as `varying_leaves` returns it; default: for ``runs``.
      report: see `asyncopt.engine.drive.Report`.
      checkpoint: where to keep the batch while it runs.
      check: see `asyncopt.engine.drive.Check`; arrays begin with an axis of lanes.
      on_evaluation: see `asyncopt.engine.drive.OnEvaluation`; arrays begin with an axis of lanes.

    Returns:
      A result for each run, as `asyncopt.replay` returns it for ``seeds``; its seconds are its share of the total.

    Raises:
      InputError: as `asyncopt.replay` does, or if the runs are not of one program.
      TypeError: as `asyncopt.replay` does.
    """
    prepared = [run if isinstance(run, Prepared) else prepare(run, settings) for run in runs]
    varying = varying_leaves(prepared) if varying is None else varying
    first = prepared[0]
    compiled = program(first, settings)
    for other in prepared[1:]:
        if not compiled.accepts(program(other, settings)):
            raise InputError("runs of a batch must have one program, expected them to differ in numbers only")
    capacity = largest([capacity, *(run.slots.capacity for run in prepared)])
    lanes = [(run, seed) for run in range(len(prepared)) for seed in range(len(prepared[run].seeds))]
    used = len(lanes)
    total = max(used, num_lanes)
    devices = jax.local_devices()[:total]
    total += -total % len(devices)
    lanes += lanes[-1:] * (total - used)
    memory.check(
        state_shapes(first, first.starts[0], capacity, settings),
        max((run.slots for run in prepared), key=lambda slots: slots.largest_capacity),
        total,
    )
    mesh = Mesh(np.array(devices), (loop.RUNS,))
    shared, own = _inputs(prepared, lanes, varying)
    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(prepared[run].starts[seed] for run, seed in lanes))
    own, starts = jax.device_put((own, starts), NamedSharding(mesh, PartitionSpec(loop.RUNS)))
    snapshot, share = drive(
        lambda: loop.start_many(
            mesh,
            (shared.optimizer, shared.work),
            (own.optimizer, own.work),
            starts,
            capacity,
            settings.history_dtype,
            first.probes,
            first.average,
            first.has_steps,
            first.num_keepers,
        ),
        functools.partial(loop.advance_many, mesh, first.probes, shared, own),
        first.steps,
        report,
        checkpoint,
        check,
        on_evaluation,
    )
    (evaluations,) = snapshot.evaluations
    final = snapshot.state._replace(history=None)
    results, begin = [], 0
    for run in prepared:
        end = begin + len(run.seeds)
        state, evaluated = jax.tree.map(lambda x, lanes=slice(begin, end): x[lanes], (final, evaluations))
        seconds = snapshot.seconds * len(run.seeds) / used
        results.append(result_of(run, state, evaluated, seconds, share * seconds))
        begin = end
    return results


def _inputs(
    prepared: Sequence[Prepared], lanes: Sequence[tuple[int, int]], varying: Sequence[bool]
) -> tuple[Inputs, Inputs]:
    """Returns the loop's inputs as two trees: the leaves that all runs share, and the stacked ones of all lanes."""
    runs = [(run.problem, run.optimizer, run.work, run.schedule) for run in prepared]
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
    """Returns whether runs of one program differ, for each leaf of problem, optimizer, work and schedule, in order."""
    leaves = [jax.tree.leaves((run.problem, optax.with_extra_args_support(run.optimizer), run.work)) for run in runs]
    numbers = [eqx.is_array(values[0]) and not _all_equal(values) for values in zip(*leaves, strict=True)]
    schedules = len({run.trace.digest for run in runs}) > 1
    return (*numbers, *[schedules] * _schedule_leaves(runs[0]))


def _schedule_leaves(run: Run) -> int:
    """Returns the number of arrays in a run's schedule: slots, and facts of its updates."""
    slots = 2 if run.trace.backward_version is None else 3
    if run.has_steps:
        return slots + 4
    return slots + (3 if has_layers(run.trace, run.blocks) else 2)


def _all_equal(values: Sequence[Any]) -> bool:
    return all(_equal(values[0], value) for value in values[1:])


def _equal(a: Any, b: Any) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and np.array_equal(np.asarray(a), np.asarray(b)))


class Program(NamedTuple):
    """The parts of a run that are compiled into its program, and are no inputs of it."""

    compiled: tuple[Any, ...]  # everything but numbers
    large: tuple[Any, ...]  # arrays larger than the parameters; a batch keeps one copy of them

    def accepts(self, other: "Program") -> bool:
        """Whether runs of the two can be in one batch."""
        return self.compiled == other.compiled and all(map(_equal, self.large, other.large))


def program(run: Run, settings: Settings) -> Program:
    """Returns the parts of a run that are compiled into its program."""
    arrays, others = eqx.partition((run.problem, run.optimizer, run.work), eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)
    size = sum(leaf.size for leaf in jax.tree.leaves(param_shapes(run.problem)))
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    compiled = (shapes, structure, tuple(jax.tree.leaves(others)), run.trace.num_updates, _reads(run))
    # Runs are evaluated at the ends of steps, and those of a batch after the same updates.
    ends = None if run.trace.step is None else run.trace.step.tobytes()
    compiled = (*compiled, run.has_steps, ends, run.num_keepers)
    return Program((*compiled, run.probes, settings), tuple(leaf for leaf in leaves if leaf.size > size))


def _reads(run: Run) -> tuple[Any, ...]:
    """Returns what a program depends on of the blocks of a trace, whose layers are numbers."""
    if has_layers(run.trace, run.blocks):
        return (LAYERS, run.trace.backward_version is not None)
    return (run.trace.num_blocks,)


def with_arrays_of(reference: PyTree, tree: PyTree) -> PyTree:
    """Returns ``tree`` with equal arrays taken from ``reference``, so that memory holds them once."""
    return jax.tree.map(lambda a, b: a if eqx.is_array(a) and _equal(a, b) else b, reference, tree)


def bytes_a_lane(run: Run, settings: Settings, capacity: int | tuple[int, ...]) -> int:
    """Returns how much memory one seed of a run takes in a batch whose histories have ``capacity`` slots."""
    params = param_shapes(run.problem)
    state = state_shapes(run, params, capacity, settings)
    numbers = 2 + max(run.trace.num_blocks, 1)
    if has_layers(run.trace, run.blocks):
        numbers = 2 + 4 * len(jax.tree.leaves(params))
    return memory.bytes_of_run(state, run.trace.num_updates, numbers)
