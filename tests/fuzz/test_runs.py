"""Replays of extreme numbers: as a plain loop has them, or refused; and of one parameter, of none, and of 10⁷."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncopt
from asyncopt import InputError
from tests import reference
from tests.fuzz import examples
from tests.strategies import traces

EXTREME = [0.0, -0.0, 5e-324, 1e-310, 1e-150, 1e-30, 1.0, -3.0, 1e30, -1e200, 1.7e308, np.inf, np.nan]
numbers = st.sampled_from(EXTREME) | st.floats(-2, 2).map(lambda number: round(number, 3))
pairs = st.tuples(numbers, numbers)
OPTIMIZERS = {
    "apam": (asyncopt.apam(0.05), lambda size: reference.NaiveApam(size, 0.05)),
    "apam, eps 0": (asyncopt.apam(0.05, eps=0.0), lambda size: reference.NaiveApam(size, 0.05, eps=0.0)),
    "apam in a box": (
        asyncopt.apam(0.1, constraint=asyncopt.Box(-1e30, 1e30)),
        lambda size: reference.NaiveApam(size, 0.1, project=reference.project_box(-1e30, 1e30)),
    ),
}


class Bowl(eqx.Module):
    """½ Σ h x², from any start; the parameters are a tree with a leaf that has no entry."""

    curvature: jax.Array
    start: jax.Array
    constants: None = None
    optimum: None = None

    def init(self, key):
        return {"x": jnp.asarray(self.start), "none": jnp.zeros((0, 3))}

    def sample(self, key):
        return jnp.zeros(())

    def loss(self, params, batch):
        return self.objective(params) + 0.0 * batch

    def objective(self, params):
        return 0.5 * jnp.sum(self.curvature * params["x"] ** 2)


@pytest.mark.filterwarnings("ignore:F is up to")
@pytest.mark.parametrize("name", OPTIMIZERS)
@settings(max_examples=examples(20), deadline=None)
@given(
    trace=st.sampled_from([1, 2, 8]).flatmap(traces),
    rows=st.sampled_from([1, 3]).flatmap(lambda size: st.lists(pairs, min_size=size, max_size=size)),
)
def test_extreme_numbers(name, trace, rows):
    curvature, start = np.array(rows, float).T
    optimizer, naive = OPTIMIZERS[name]
    problem = Bowl(jnp.asarray(curvature), jnp.asarray(start))
    # XLA takes a number below the least normal one for zero.
    curvature, start = (np.where(np.abs(x) < np.finfo(float).tiny, 0.0, x) for x in (curvature, start))
    try:
        result = asyncopt.replay(problem, optimizer, trace, eval_every=1)
    except InputError:
        assert not np.isfinite(start).all() or (name == "apam in a box" and np.abs(start).max() > 1e30)
        return
    with np.errstate(all="ignore"):
        iterates, _, _ = reference.naive_replay(
            start, lambda x, k: curvature * x, naive(len(start)), trace.read_version
        )
        objective = 0.5 * np.sum(curvature * iterates**2, axis=1)
        objective[np.isnan(objective)] = np.inf  # as documented
    bad = ~np.isfinite(iterates).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        assert result.diverged_at == first - 1
    else:
        first = len(iterates)
        assert result.diverged_at == -1
        np.testing.assert_allclose(result.params["x"], iterates[-1], rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(result.objective[:first], objective[:first], rtol=1e-9, atol=1e-300)
    assert np.isinf(result.objective[first:]).all()


@pytest.mark.parametrize("leaf", [jnp.arange(3), jnp.ones(2, bool), jnp.ones(2, complex)])
def test_leaves_that_no_gradient_has(leaf):
    problem = Bowl(jnp.ones(3), jnp.ones(3))
    with pytest.raises((InputError, TypeError)) as caught:
        asyncopt.replay(
            eqx.tree_at(lambda tree: tree.start, problem, leaf), asyncopt.apam(0.1), asyncopt.traces.uniform(5, 2)
        )
    assert str(caught.value).count("\n") < 3


@pytest.mark.parametrize("size", [1, 1_000] + [10_000_000] * (examples(0) > 0))
def test_any_number_of_parameters(size):
    """The optimizer treats each coordinate as if it were alone."""
    problem = Bowl(jnp.ones(size), jnp.linspace(0.5, 1.0, size) if size > 1 else jnp.ones(1))
    result = asyncopt.replay(problem, asyncopt.apam(0.05), asyncopt.traces.constant(4, 2), average=False, eval_every=4)
    start = np.asarray(problem.start)[[0, -1]]
    iterates, _, _ = reference.naive_replay(
        start, lambda x, k: x, reference.NaiveApam(2, 0.05), asyncopt.traces.constant(4, 2).read_version
    )
    np.testing.assert_allclose(result.params["x"][jnp.array([0, -1])], iterates[-1], rtol=1e-12)
