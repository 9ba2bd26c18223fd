"""The compiled loop: one update after another, each with the gradient of the iterate that the trace names."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, DTypeLike, Int, PyTree

from asyncopt.engine import layerwise, measure
from asyncopt.engine.blocks import block_of
from asyncopt.engine.columns import check_columns
from asyncopt.engine.draws import draw, draw_one, drawn_at_once
from asyncopt.engine.probes import Probe, bound_to
from asyncopt.engine.state import Evaluation, Facts, Inputs, LoopState, Marks, Stops
from asyncopt.engine.work import Work
from asyncopt.optim._shared import only_if
from asyncopt.optim.each_gradient import EachGradient
from asyncopt.problems import Problem

RUNS = "runs"  # the mesh axis over which seeds are spread
# A read of few blocks copies one piece after another; of so many it gathers entry by entry, which compiles faster.
_MANY_PIECES = 64


def start(
    optimizer: optax.GradientTransformationExtraArgs,
    params: PyTree,
    capacity: int | tuple[int, ...],
    history_dtype: DTypeLike | None,
    probes: tuple[Probe, ...],
    average: bool,
    steps: bool = False,
    work: Work | None = None,
    num_workers: int = 1,
) -> LoopState:
    """Returns the state before the first update: iterate 0 in slot 0 of an otherwise empty history.

    Args:
      optimizer: how to step.
      params: iterate 0.
      capacity: slots of the history, or of that of each leaf.
      history_dtype: dtype of the iterates in the history; None for that of the parameters.
      probes: what to record for theorems.
      average: whether to keep the average of the iterates.
      steps: whether several gradients may make a step.
      work: what workers do in place of one gradient.
      num_workers: how many there are; it matters with ``work`` only.
    """

    def empty_but_for_the_first(x, capacity):
        dtype = history_dtype or x.dtype
        return jnp.zeros((capacity, *x.shape), dtype).at[0].set(x.astype(dtype))

    leaves, structure = jax.tree.flatten(params)
    capacities = [capacity] * len(leaves) if isinstance(capacity, int) else capacity
    optimizer_state = optimizer.init(params)
    return LoopState(
        params=params,
        optimizer_state=optimizer_state,
        gradient_sum=jax.tree.map(lambda x: jnp.zeros_like(measure.wide(x)), params) if steps else None,
        work_state=None if work is None else work.init(params, num_workers),
        history=jax.tree.unflatten(structure, map(empty_but_for_the_first, leaves, capacities)),
        average=jax.tree.map(measure.wide, params) if average else None,
        drift_sum=jnp.zeros((), measure.drift(params, params).dtype),
        diverged_at=jnp.full((), -1, jnp.int32),
        probe_terms=tuple(probe.init(params, optimizer_state) for probe in probes),
    )


def update(inputs: Inputs, probes: tuple[Probe, ...], k: Int[Array, ""], batch: PyTree, state: LoopState) -> LoopState:
    """Makes update k: takes the gradient at the stale iterate, steps from the newest, and measures.

    With ``inputs.work``, ``batch`` is the key of the mini-batch, and the worker's job takes the place of the gradient.
    """
    problem, optimizer, work, schedule, _ = inputs
    read_at = read_leaves if schedule.write_slot.ndim == 2 else read
    stale = read_at(state.history, schedule.read_slot[k], state.params)
    facts = jax.tree.map(lambda x: x[k], schedule.facts)
    work_state = state.work_state
    if schedule.backward_slot is not None:
        backward = read_leaves(state.history, schedule.backward_slot[k], state.params)
        gradient = layerwise.gradient(problem, stale, backward, batch)
    elif work is None:
        gradient = jax.grad(problem.loss)(stale, batch)
    else:
        gradient, work_state = work.direction(problem, stale, batch, facts.worker, work_state)
    stepped = step(optimizer, state.params, state.optimizer_state, state.gradient_sum, gradient, facts, stale)
    params, optimizer_state, gradient_sum = stepped
    observed, never = measured(problem, probes, state, k, stale, gradient)
    # XLA writes the new iterate in place, here and in the history, only if it can see that no read comes after the
    # write. Else it copies the iterate, or all of the history, in every update. Gradient and step come before the
    # write, which depends on them. `never` makes what is measured come before it, too.
    params = jax.tree.map(lambda new, old: jnp.where(never, old, new), params, state.params)
    history = write(state.history, schedule.write_slot[k], params)
    return observed._replace(
        params=params,
        optimizer_state=optimizer_state,
        gradient_sum=gradient_sum,
        work_state=work_state,
        history=history,
    )


def read(history: PyTree, slot: Int[Array, ""] | Int[Array, " B"], like: PyTree) -> PyTree:
    """Returns the iterate in a slot, or block by block from several, with the dtypes of ``like``."""
    if slot.ndim == 0:
        return jax.tree.map(
            lambda slots, x: jax.lax.dynamic_index_in_dim(slots, slot, keepdims=False).astype(x.dtype), history, like
        )
    leaves, structure = jax.tree.flatten(like)
    places = block_of([leaf.size for leaf in leaves], slot.shape[0])

    def assembled(slots, x, blocks):
        rows = slots.reshape(slots.shape[0], -1)
        ends = np.flatnonzero(np.diff(blocks)) + 1
        if len(ends) < _MANY_PIECES:
            bounds = zip([0, *ends], [*ends, x.size], strict=True)
            pieces = [rows[slot[blocks[first]]][first:end] for first, end in bounds]
            entries = jnp.concatenate(pieces)
        else:
            entries = rows[slot[blocks], np.arange(x.size)]
        return entries.reshape(x.shape).astype(x.dtype)

    return jax.tree.unflatten(structure, map(assembled, jax.tree.leaves(history), leaves, places))


def read_leaves(history: PyTree, slots: Int[Array, " n"], like: PyTree) -> PyTree:
    """Returns each leaf of the iterate in its own slot, with the dtypes of ``like``."""
    leaves, structure = jax.tree.flatten(history)
    read_each = [read(leaf, slots[i], x) for i, (leaf, x) in enumerate(zip(leaves, jax.tree.leaves(like), strict=True))]
    return jax.tree.unflatten(structure, read_each)


def write(history: PyTree, slot: Int[Array, ""] | Int[Array, " n"], params: PyTree) -> PyTree:
    """Returns the history with an iterate in a slot, or each of its leaves in a slot of its own."""
    leaves, structure = jax.tree.flatten(history)
    slots = [slot] * len(leaves) if slot.ndim == 0 else [slot[i] for i in range(len(leaves))]
    written = [
        jax.lax.dynamic_update_index_in_dim(leaf, x.astype(leaf.dtype), slot, 0)
        for leaf, x, slot in zip(leaves, jax.tree.leaves(params), slots, strict=True)
    ]
    return jax.tree.unflatten(structure, written)


def step(
    optimizer: optax.GradientTransformationExtraArgs,
    params: PyTree,
    optimizer_state: PyTree,
    gradient_sum: PyTree,
    gradient: PyTree,
    facts: Facts,
    stale: PyTree,
) -> tuple[PyTree, PyTree, PyTree]:
    """Returns the next iterate, the optimizer's state after it, and the sum of the step's gradients until then.

    If several gradients make a step, the optimizer is given their sum, and neither one worker nor one stale iterate,
    unless it takes each gradient by itself.
    """
    makes_step = facts.makes_step
    if makes_step is None:
        extra = {"delay": facts.delay, "stale_params": stale, "worker": facts.worker}
        if facts.leaf_delay is not None:
            leaves, structure = jax.tree.flatten(params)
            extra["leaf_delay"] = jax.tree.unflatten(structure, [facts.leaf_delay[i] for i in range(len(leaves))])
        steps, optimizer_state = optimizer.update(gradient, optimizer_state, params, **extra)
        return optax.apply_updates(params, steps), optimizer_state, gradient_sum
    if isinstance(optimizer, EachGradient):
        extra = {"worker": facts.worker, "stale_params": stale, "makes_step": makes_step}
        steps, optimizer_state = optimizer.update(gradient, optimizer_state, params, delay=facts.delay, **extra)
        return optax.apply_updates(params, steps), optimizer_state, gradient_sum
    total = jax.tree.map(lambda t, g: (t + facts.weight * g).astype(t.dtype), gradient_sum, gradient)
    summed = jax.tree.map(lambda t, g: t.astype(g.dtype), total, gradient)
    steps, new_state = optimizer.update(summed, optimizer_state, params, delay=facts.delay)
    steps, optimizer_state = only_if(makes_step, steps, new_state, optimizer_state)
    emptied = jax.tree.map(lambda t: jnp.where(makes_step, jnp.zeros_like(t), t), total)
    return optax.apply_updates(params, steps), optimizer_state, emptied


def measured(
    problem: Problem,
    probes: tuple[Probe, ...],
    state: LoopState,
    k: Int[Array, ""],
    stale: PyTree,
    gradient: PyTree,
) -> tuple[LoopState, Bool[Array, ""]]:
    """Returns the state before update k with what that update adds to the measurements.

    The second value is never true, and depends on everything that was measured.
    """
    drift = measure.drift(state.params, stale)
    observe = zip(bound_to(problem, probes), state.probe_terms, strict=True)
    probe_terms = tuple(probe.observe(terms, k, state, stale, gradient) for probe, terms in observe)
    weight = 1 / (k + 1).astype(drift.dtype)  # one division, not one for each coordinate
    average = None
    if state.average is not None:
        average = jax.tree.map(lambda mean, x: measure.next_mean(mean, x, weight), state.average, state.params)
    never = drift < 0
    for term in jax.tree.leaves((probe_terms, average)):
        if term.size > 0:
            never |= 0 * term[(0,) * term.ndim] < 0
    # NaN means that iterate k is not finite, so update k - 1 diverged. `evaluate` checks the last iterate.
    newly_diverged = (state.diverged_at < 0) & jnp.isnan(drift)
    return state._replace(
        average=average,
        drift_sum=state.drift_sum + drift,
        diverged_at=jnp.where(newly_diverged, jnp.maximum(k - 1, 0), state.diverged_at),
        probe_terms=probe_terms,
    ), never


def evaluate(
    problem: Problem, probes: tuple[Probe, ...], state: LoopState, step: Array, previous_step: Array
) -> tuple[Marks, Evaluation]:
    """Evaluates the iterate and the average after ``step`` updates; a diverged run evaluates to infinity."""
    objective, gradient = jax.value_and_grad(problem.objective)(state.params)
    grad_norm_sq = measure.norm_sq(gradient)
    finite = ~jnp.isnan(measure.drift(state.params, state.params))
    diverged_at = jnp.where((state.diverged_at < 0) & ~finite, jnp.maximum(step - 1, 0), state.diverged_at)

    def finite_or_inf(value):
        return jnp.where((diverged_at < 0) & ~jnp.isnan(value), value, jnp.inf)

    average_objective = None if state.average is None else finite_or_inf(problem.objective(state.average))
    metrics = getattr(problem, "metrics", lambda params: {})(state.params)
    observed = zip(bound_to(problem, probes), state.probe_terms, strict=True)
    probed = tuple(probe.evaluate(terms, state) for probe, terms in observed)
    check_columns(probes, probed, metrics)  # before the first update, when this is traced
    evaluation = Evaluation(
        objective=finite_or_inf(objective),
        grad_norm_sq=finite_or_inf(grad_norm_sq),
        average_objective=average_objective,
        drift=finite_or_inf(state.drift_sum / jnp.maximum(step - previous_step, 1)),
        metrics=metrics,
        probed=jax.tree.map(finite_or_inf, probed),
    )
    return Marks(jnp.zeros_like(state.drift_sum), diverged_at), evaluation


def advance(probes: tuple[Probe, ...], inputs: Inputs, state: LoopState, stops: Stops) -> tuple[LoopState, Evaluation]:
    """Runs to each of the stops in turn, and evaluates where that is wanted.

    Returns:
      The state after the last stop, and the evaluations, with a leading axis of length E.
    """
    problem, work, batch_keys, facts = inputs.problem, inputs.work, inputs.batch_keys, inputs.schedule.facts
    workers = facts.worker
    size = 1 if work is not None else drawn_at_once(problem, facts.makes_step is not None)

    def one_update(k, batch, state):
        return _with_flat_average(update(inputs, probes, k, batch, _with_shaped_average(state)))

    def update_alone(k, state):
        key = batch_keys[k]
        return one_update(k, key if work is not None else draw_one(problem, key, workers[k]), state)

    def updates(made, stop, state):
        if size == 1:
            return jax.lax.fori_loop(made, stop, update_alone, state)
        return jax.lax.fori_loop(made // size, (stop + size - 1) // size, functools.partial(block, made, stop), state)

    def block(made, stop, number, state):
        first = number * size
        batches = draw(problem, batch_keys, workers, first, size)

        def update_in_block(k, state):
            return one_update(k, jax.tree.map(lambda x: x[k - first], batches), state)

        return jax.lax.fori_loop(jnp.maximum(first, made), jnp.minimum(first + size, stop), update_in_block, state)

    def to_stop(carry, goal):
        (state, made, evaluated), (stop, wanted) = carry, goal
        state = updates(made, stop, state)
        # The history stays outside: what goes through a condition may be copied.
        without_history = _with_shaped_average(state._replace(history=None))
        zeros = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype),
            jax.eval_shape(lambda state: evaluate(problem, probes, state, stop, stop), without_history),
        )
        marks, evaluation = jax.lax.cond(
            wanted,
            lambda: evaluate(problem, probes, without_history, stop, evaluated),
            lambda: (Marks(state.drift_sum, state.diverged_at), zeros[1]),
        )
        return (state._replace(**marks._asdict()), stop, jnp.where(wanted, stop, evaluated)), evaluation

    first = (_with_flat_average(state), stops.made, stops.evaluated)
    (state, _, _), evaluations = jax.lax.scan(to_stop, first, (stops.stops, stops.wanted))
    return _with_shaped_average(state), evaluations


def _with_flat_average(state: LoopState) -> LoopState:
    """Returns the state with the average as vectors, as `measure.next_mean` makes it: XLA would copy another shape."""
    return state._replace(average=jax.tree.map(jnp.ravel, state.average))


def _with_shaped_average(state: LoopState) -> LoopState:
    """Returns the state with the average in the shapes of the parameters."""
    if state.average is None:
        return state
    shaped = jax.tree.map(lambda mean, x: mean.reshape(x.shape), state.average, state.params)
    return state._replace(average=shaped)


@eqx.filter_jit
def start_one(optimizer, params, capacity, history_dtype, probes, average, steps=False, work=None, num_workers=1):
    """Compiled `start` of a single run."""
    return _strongly_typed(start(optimizer, params, capacity, history_dtype, probes, average, steps, work, num_workers))


@eqx.filter_jit
def start_many(mesh: Mesh, shared, own, params, capacity, history_dtype, probes, average, steps=False, num_workers=1):
    """Compiled `start` of a batch of runs, made where they will be run: on the devices of ``mesh``.

    Args:
      mesh: the devices.
      shared: the leaves of optimizer and work that all runs have in common, others None.
      own: the other leaves, with a leading axis of runs.
      params: iterate 0 of each run.
      capacity: slots of the history.
      history_dtype: dtype of the iterates in the history; None for that of the parameters.
      probes: what to record for theorems.
      average: whether to keep the average of the iterates.
      steps: whether several gradients may make a step.
      num_workers: how many there are.
    """

    def start_it(own, params):
        optimizer, work = eqx.combine(own, shared)
        return start(optimizer, params, capacity, history_dtype, probes, average, steps, work, num_workers)

    states = jax.vmap(start_it)(own, params)
    return _strongly_typed(jax.lax.with_sharding_constraint(states, NamedSharding(mesh, PartitionSpec(RUNS))))


def _strongly_typed(state: LoopState) -> LoopState:
    """Returns the state without weak types: the loop returns strong ones, and would be compiled twice."""

    def strong(x):
        x = x if isinstance(x, jax.Array) else jnp.asarray(x)
        return jax.lax.convert_element_type(x, x.dtype) if getattr(x, "weak_type", False) else x  # a key is never weak

    return jax.tree.map(strong, state)


@eqx.filter_jit
def advance_one(probes: tuple[Probe, ...], inputs: Inputs, state: LoopState, stops: Stops):
    """Compiled `advance` of a single run."""
    return advance(probes, inputs, state, stops)


@eqx.filter_jit
def advance_many(mesh: Mesh, probes: tuple[Probe, ...], shared: Inputs, own: Inputs, states: LoopState, stops: Stops):
    """Compiled `advance` of a batch of runs, spread over the devices of ``mesh``.

    Args:
      mesh: the devices.
      probes: what to record for theorems.
      shared: the leaves of the inputs that all runs have in common, others None. Seeds of one trace share the
        schedule, and their histories are read and written by one plain index.
      own: the other leaves, with a leading axis of runs.
      states: with a leading axis of runs.
      stops: where to evaluate, the same for all runs.
    """
    arrays, static = eqx.partition(shared, eqx.is_array)
    many, one = PartitionSpec(RUNS), PartitionSpec()

    def on_one_device(arrays, own, states, stops):
        def run(own, state):
            return advance(probes, eqx.combine(own, arrays, static), state, stops)

        if len(states.drift_sum) > 1:
            return jax.vmap(run)(own, states)
        # A batch of one would still have batched matrix products, which take a CPU twice as long.
        alone = run(*jax.tree.map(lambda x: x[0], (own, states)))
        return jax.tree.map(lambda x: x[None], alone)

    return jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(one, many, many, one),
        out_specs=many,
        check_vma=False,
    )(arrays, own, states, stops)
