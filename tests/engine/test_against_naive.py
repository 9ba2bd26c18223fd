"""The engine against a simulator that keeps every iterate."""

import functools
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asyncopt
from asyncopt.engine import Run, Settings, replay_batch
from asyncopt.engine.batch import varying_leaves
from asyncopt.traces import Trace
from tests import reference
from tests.strategies import racing_traces
from tests.strategies import traces as any_trace

HESSIAN = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
BIAS = np.array([0.4, -0.3, 0.2])


class Coupled(eqx.Module):
    """A quadratic whose coordinates are coupled, with noise; written so that NumPy can follow it."""

    hessian: jax.Array
    optimum: None = None
    constants: None = None

    def init(self, key):
        return jax.random.uniform(key, (3,), minval=-0.4, maxval=0.4)

    def sample(self, key):
        return jax.random.normal(key, (3,))

    def loss(self, params, batch):
        return 0.5 * params @ self.hessian @ params + params @ (jnp.asarray(BIAS) + 0.1 * batch)

    def objective(self, params):
        return 0.5 * params @ self.hessian @ params + params @ jnp.asarray(BIAS)


PROBLEM = Coupled(jnp.asarray(HESSIAN))
OPTIMIZERS = {
    "apam": (asyncopt.apam(0.05), lambda: reference.NaiveApam(3, 0.05)),
    "apam, decreasing step, eps 0": (
        asyncopt.apam(lambda k: 0.2 / jnp.sqrt(k + 1.0), eps=0.0),
        lambda: reference.NaiveApam(3, lambda k: 0.2 / np.sqrt(k + 1), eps=0.0),
    ),
    "apam in a box": (
        asyncopt.apam(0.1, constraint=asyncopt.Box(-0.4, 0.45)),
        lambda: reference.NaiveApam(3, 0.1, project=reference.project_box(-0.4, 0.45)),
    ),
    "apam in a ball": (
        asyncopt.apam(0.1, constraint=asyncopt.L2Ball(0.7)),
        lambda: reference.NaiveApam(3, 0.1, project=reference.project_ball(0.7)),
    ),
    "momentum": (optax.sgd(0.02, momentum=0.8), lambda: reference.NaiveMomentum(3, 0.02, 0.8)),
    "adam": (optax.adam(0.03), lambda: reference.NaiveAdam(3, 0.03)),
}
LENGTHS = (1, 7, 30)  # few, so that compilations are shared
LARGEST_CAPACITY = 32  # slots of a history for any trace of these
SIDE_BY_SIDE = 8
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


@jax.jit
def draw(key, samples):
    return jax.vmap(lambda number: PROBLEM.sample(asyncopt.engine.batch_key(key, number)))(samples)


def side_by_side(optimizer, traces, seeds):
    """Replays in one program, with histories of the largest size: traces of one length share a compilation."""
    runs = [Run(PROBLEM, optimizer, trace, [seed]) for trace, seed in zip(traces, seeds, strict=True)]
    names = ("params", "average", "objective", "grad_norm_sq", "drift", "diverged_at")
    varying = (*varying_leaves(runs)[:-3], True, True, True)  # also where all schedules happen to be equal
    results = replay_batch(
        runs, Settings(eval_every=1), num_lanes=SIDE_BY_SIDE, capacity=LARGEST_CAPACITY, varying=varying
    )
    return [
        types.SimpleNamespace(step=result.step, **{name: getattr(result, name)[0] for name in names})
        for result in results
    ]


def compare(name, traces, seeds):
    optimizer, naive = OPTIMIZERS[name]
    # Where the blocks of every read happen to be of one iterate, a trace is consistent, and its program another one.
    for num_blocks in {trace.num_blocks for trace in traces}:
        chosen = [(trace, seed) for trace, seed in zip(traces, seeds, strict=True) if trace.num_blocks == num_blocks]
        for result, (trace, seed) in zip(side_by_side(optimizer, *zip(*chosen, strict=True)), chosen, strict=True):
            agrees(result, naive(), trace, seed)


def agrees(result, naive, trace, seed):
    key = jax.random.key(seed)
    noise = np.asarray(draw(key, jnp.asarray(trace.sample)))
    start = np.asarray(PROBLEM.init(asyncopt.engine.init_key(key)))
    consistent = trace.block_version is None
    read = trace.read_version if consistent else reference.version_of_coordinates(trace.block_version.tolist(), 3)
    iterates, average, drift = reference.naive_replay(
        start, lambda x, k: HESSIAN @ x + BIAS + 0.1 * noise[k], naive, read
    )
    objective = 0.5 * np.einsum("ki,ij,kj->k", iterates, HESSIAN, iterates) + iterates @ BIAS
    gradients = iterates @ HESSIAN + BIAS
    np.testing.assert_allclose(result.params, iterates[-1], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(result.average, average, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(result.objective, objective, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(result.grad_norm_sq, np.sum(gradients**2, axis=1), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(result.drift, np.r_[0.0, drift], rtol=1e-11, atol=1e-14)
    np.testing.assert_array_equal(result.step, np.arange(trace.num_updates + 1))
    assert result.diverged_at == -1


def several(trace):
    """As many traces as are replayed side by side."""
    return st.lists(trace, min_size=SIDE_BY_SIDE, max_size=SIDE_BY_SIDE)


seeds_of_several = st.lists(st.integers(0, 5), min_size=SIDE_BY_SIDE, max_size=SIDE_BY_SIDE)
# A set of traces is a large example, which is what a set of small ones is.
repeatedly = functools.partial(settings, deadline=None, suppress_health_check=list(HealthCheck))


@every_optimizer
@given(st.sampled_from(LENGTHS).flatmap(lambda length: several(any_trace(length))), seeds_of_several)
@repeatedly(max_examples=28)
def test_random_traces(name, traces, seeds):
    compare(name, traces, seeds)


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 5])
@given(st.sampled_from(LENGTHS), st.data(), seeds_of_several)
@repeatedly(max_examples=5)
def test_random_traces_with_inconsistent_reads(num_blocks, length, data, seeds):
    compare("apam", data.draw(several(racing_traces(length, num_blocks))), seeds)


@every_optimizer
@pytest.mark.parametrize(
    "trace",
    [
        asyncopt.traces.synchronous(30),
        asyncopt.traces.constant(30, 29),
        asyncopt.traces.pareto(30, 5.0, seed=1),
        asyncopt.traces.cluster(30, 6, compute="exponential", server=0.1),
        Trace(np.zeros(30)),
        Trace(np.arange(30), sample=np.arange(30)[::-1].copy()),
        Trace(np.arange(30) // 2, sample=np.full(30, 7)),
        Trace(np.arange(30) // 2, read_end=np.arange(30)),
    ],
)
def test_made_traces(name, trace):
    optimizer, naive = OPTIMIZERS[name]
    agrees(asyncopt.replay(PROBLEM, optimizer, trace, seed=3, eval_every=1), naive(), trace, seed=3)


def test_the_comparison_can_fail():
    trace = asyncopt.traces.constant(30, 3)
    wrong = Trace(np.maximum(trace.read_version - 1, 0))
    right = asyncopt.replay(PROBLEM, OPTIMIZERS["apam"][0], trace).params
    assert np.abs(right - asyncopt.replay(PROBLEM, OPTIMIZERS["apam"][0], wrong).params).max() > 1e-6
