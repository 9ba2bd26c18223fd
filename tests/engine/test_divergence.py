"""A run that diverges says at which update, and reads infinity from there on."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import traces


def test_divergence_is_recorded_with_its_update():
    problem = asyncopt.problems.quadratic(5, noise=0.0)
    trace = traces.constant(2_000, 2)
    eigenvalues = np.asarray(problem.eigenvalues)
    iterates = [np.asarray(problem.init(asyncopt.engine.init_key(jax.random.key(0))))]
    with np.errstate(over="ignore", invalid="ignore"):
        while np.isfinite(iterates[-1]).all():
            stale = iterates[trace.read_version[len(iterates) - 1]]
            iterates.append(iterates[-1] - 3.0 * eigenvalues * stale)
    expected = len(iterates) - 2
    for eval_every in (100, 10_000):
        result = asyncopt.replay(problem, optax.sgd(3.0), trace, eval_every=eval_every)
        assert result.diverged_at == expected
        after = result.step > expected
        for values in (result.objective, result.gap, result.grad_norm_sq, result.average_gap, result.drift):
            assert not np.isnan(values).any()
            assert np.isinf(values[after]).all()
        assert np.isfinite(result.objective[0])


def test_divergence_of_one_seed_leaves_the_others_alone():
    class Trap(eqx.Module):
        """Seeds whose start is positive run away."""

        optimum: float = 0.0
        constants: None = None

        def init(self, key):
            return jax.random.normal(key, (1,))

        def sample(self, key):
            return jnp.zeros(())

        def loss(self, params, batch):
            return jnp.sum(jnp.where(params > 0, -jnp.exp(params), 0.5 * params**2))

        def objective(self, params):
            return jnp.sum(params**2)

    result = asyncopt.replay(Trap(), optax.sgd(0.5), traces.synchronous(50), seeds=range(6))
    starts = [float(Trap().init(asyncopt.engine.init_key(jax.random.key(s)))[0]) for s in range(6)]
    np.testing.assert_array_equal(result.diverged_at >= 0, np.array(starts) > 0)
    assert 0 < (result.diverged_at >= 0).sum() < 6
    assert np.isfinite(result.gap[result.diverged_at < 0]).all()
    assert np.isinf(result.gap[result.diverged_at >= 0, -1]).all()


def test_the_last_update_may_be_the_one_that_diverges():
    problem = asyncopt.problems.quadratic(2, noise=0.0)
    result = asyncopt.replay(problem, optax.sgd(1.7e308), traces.synchronous(2))
    assert result.diverged_at == 1


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_a_start_that_is_not_finite_is_refused(number):
    problem = asyncopt.problems.quadratic(3)
    start = lambda key: {"a": jnp.ones(2), "b": jnp.array([1.0, number])}  # noqa: E731
    with pytest.raises(asyncopt.InputError, match=r"the start\['b'\] is not finite: "):
        asyncopt.replay(NamedStart(problem, start), optax.sgd(0.1), traces.synchronous(3))


class NamedStart(eqx.Module):
    """A problem with another start."""

    problem: asyncopt.problems.Problem
    init: Callable
    optimum: None = None
    constants: None = None

    def sample(self, key):
        return self.problem.sample(key)

    def loss(self, params, batch):
        return jnp.sum(params["a"]) + jnp.sum(params["b"])

    def objective(self, params):
        return self.loss(params, None)


def test_a_value_near_the_largest_number_is_no_overflow():
    """What warns of growth must not overflow itself: warnings are errors here."""

    class Steep(eqx.Module):
        optimum: None = None
        constants: None = None

        def init(self, key):
            return jnp.ones(1)

        def sample(self, key):
            return jnp.zeros(())

        def loss(self, params, batch):
            return 1.7e308 * jnp.sum(params)

        def objective(self, params):
            return 1.7e308 * jnp.sum(params)

    assert asyncopt.replay(Steep(), asyncopt.apam(0.1), traces.synchronous(3)).objective[0] == 1.7e308
