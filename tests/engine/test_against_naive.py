"""The engine against a simulator that keeps every iterate."""

import types

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncopt
from asyncopt.engine import Run, Settings, replay_batch
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
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)


@jax.jit
def draw(key, samples):
    return jax.vmap(lambda number: PROBLEM.sample(asyncopt.engine.batch_key(key, number)))(samples)


def replayed_in_one_size(optimizer, trace, seed):
    """Replays in a history of the largest size, so that traces of one length share a compilation."""
    run = Run(PROBLEM, optimizer, trace, [seed])
    (result,) = replay_batch([run], Settings(eval_every=1), capacity=LARGEST_CAPACITY)
    names = ("params", "average", "objective", "grad_norm_sq", "drift", "diverged_at")
    return types.SimpleNamespace(step=result.step, **{name: getattr(result, name)[0] for name in names})


def compare(name, trace, seed, one_size=False):
    optimizer, naive = OPTIMIZERS[name]
    if one_size:
        result = replayed_in_one_size(optimizer, trace, seed)
    else:
        result = asyncopt.replay(PROBLEM, optimizer, trace, seed=seed, eval_every=1)
    key = jax.random.key(seed)
    noise = np.asarray(draw(key, jnp.asarray(trace.sample)))
    start = np.asarray(PROBLEM.init(asyncopt.engine.init_key(key)))
    consistent = trace.block_version is None
    read = trace.read_version if consistent else reference.version_of_coordinates(trace.block_version.tolist(), 3)
    iterates, average, drift = reference.naive_replay(
        start, lambda x, k: HESSIAN @ x + BIAS + 0.1 * noise[k], naive(), read
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


@every_optimizer
@given(st.sampled_from(LENGTHS).flatmap(any_trace), st.integers(0, 5))
@settings(max_examples=220, deadline=None)
def test_random_traces(name, trace, seed):
    compare(name, trace, seed, one_size=True)


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 5])
@given(st.sampled_from(LENGTHS), st.data(), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_random_traces_with_inconsistent_reads(num_blocks, length, data, seed):
    compare("apam", data.draw(racing_traces(length, num_blocks)), seed, one_size=True)


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
    compare(name, trace, seed=3)


def test_the_comparison_can_fail():
    trace = asyncopt.traces.constant(30, 3)
    wrong = Trace(np.maximum(trace.read_version - 1, 0))
    right = asyncopt.replay(PROBLEM, OPTIMIZERS["apam"][0], trace).params
    assert np.abs(right - asyncopt.replay(PROBLEM, OPTIMIZERS["apam"][0], wrong).params).max() > 1e-6
