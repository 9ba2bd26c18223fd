"""The loops that benchmarks compare: a plain Optax loop, and the engine's."""

import functools

import jax
import jax.numpy as jnp
import optax

import asyncopt
from asyncopt.engine import Run, Settings, loop, measure
from asyncopt.engine.draws import batch_keys
from asyncopt.engine.prepare import prepare
from asyncopt.engine.state import Inputs, Stops

MAX_DELAY = 20


def plain_loop(problem, optimizer, num_updates, measured=False):
    """Returns a compiled loop over an Optax optimizer, without delay, on the mini-batches of seed 0.

    With ``measured`` it measures what every replay does: the average, the drift, and where the run diverged.
    """
    keys = batch_keys(jax.random.key(0), jnp.arange(num_updates))

    def update(state, k):
        params, optimizer_state, average, drift, diverged_at = state
        gradient = jax.grad(problem.loss)(params, problem.sample(keys[k]))
        steps, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        new_params = optax.apply_updates(params, steps)
        if measured:
            # There is no stale iterate to compare with, so the drift is taken over one update.
            moved = measure.drift(new_params, params)
            drift = drift + moved
            average = jax.tree.map(lambda mean, x: mean + (x - mean) / (k + 1), average, params)
            diverged_at = jnp.where((diverged_at < 0) & jnp.isnan(moved), k, diverged_at)
        return (new_params, optimizer_state, average, drift, diverged_at), None

    @jax.jit
    def run(params, optimizer_state):
        state = (params, optimizer_state, params, jnp.zeros(()), jnp.full((), -1))
        return jax.lax.scan(update, state, jnp.arange(num_updates))[0]

    params = problem.init(jax.random.key(0))
    optimizer_state = optimizer.init(params)
    return lambda: run(params, optimizer_state)


def microseconds_of_one(problem, num_updates, num_seeds, rounds=5):
    """Replays seeds side by side, without evaluations but at start and end.

    Returns:
      The least time of an update of one seed, and the last run.
    """
    trace, optimizer = asyncopt.traces.uniform(num_updates, MAX_DELAY), asyncopt.apam(1e-3)
    runs = [
        asyncopt.replay(problem, optimizer, trace, seeds=range(num_seeds), eval_every=num_updates)
        for _ in range(rounds)
    ]
    seconds = min(run.seconds - run.evaluation_seconds for run in runs)
    return seconds / num_updates / num_seeds * 1e6, runs[-1]


def replay_loop(problem, optimizer, trace, recorded=()):
    """Returns the compiled loop of the engine, without evaluations and without what happens before it."""
    prepared = prepare(Run(problem, optimizer, trace, [0], tuple(recorded)), Settings(eval_every=trace.num_updates))
    (start,), (keys,) = prepared.starts, prepared.batch_keys
    state = loop.start_one(prepared.optimizer, start, prepared.slots.capacity, None, prepared.probes, True)
    inputs = Inputs(problem, prepared.optimizer, None, prepared.schedule, keys)
    stops = Stops(jnp.int32(0), jnp.int32(0), jnp.array([trace.num_updates], jnp.int32), jnp.array([False]))
    return functools.partial(loop.advance_one, prepared.probes, inputs, state, stops)
