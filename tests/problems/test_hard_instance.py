import jax
import jax.numpy as jnp
import numpy as np
import pytest

import asyncopt
from asyncopt import InputError


def test_the_slope_shrinks_with_the_run():
    for num_updates in (1, 100, 10_000):
        problem = asyncopt.problems.hard_instance(num_updates, slope_scale=3.0, noise=0.5)
        slope = 3.0 / np.sqrt(num_updates)
        assert float(problem.objective(jnp.array([0.25]))) == pytest.approx(0.25 * slope)
        assert float(problem.optimum) == pytest.approx(-slope)
        gradients = {
            float(jax.grad(problem.loss)(jnp.zeros(1), problem.sample(jax.random.key(seed)))[0]) for seed in range(20)
        }
        assert sorted(gradients) == pytest.approx([slope - 0.5, slope + 0.5])


@pytest.mark.parametrize("b1", [0.0, 0.9])
def test_both_signs_are_mirror_images(b1):
    """Without noise a method that prefers no direction has the same gap at both, to the last bit."""
    runs = []
    for sign in (1, -1):
        problem = asyncopt.problems.hard_instance(300, noise=0.0, start=0.5, sign=sign)
        assert float(problem.objective(jnp.asarray(problem.minimiser))) == problem.optimum
        optimizer = asyncopt.apam(0.3, b1=b1, constraint=problem.constraint)
        runs.append(asyncopt.replay(problem, optimizer, asyncopt.traces.constant(300, 7)))
    right, left = runs
    np.testing.assert_array_equal(right.gap, left.gap)
    np.testing.assert_array_equal(right.average_gap, left.average_gap)
    np.testing.assert_array_equal(right.average, -left.average)
    assert right.average_gap[-1] > 0
    assert right.gap[0] == pytest.approx(1.5 / np.sqrt(300))  # (0.5 - -1) δ


def test_the_draws_do_not_depend_on_the_sign():
    key = jax.random.key(3)
    first, second = (
        jax.grad(problem.loss)(problem.init(key), problem.sample(key))
        for problem in (asyncopt.problems.hard_instance(4, sign=sign) for sign in (1, -1))
    )
    np.testing.assert_allclose(first - second, 2 * 0.5)  # δ = 1/√4 against -δ, under the same noise
    assert asyncopt.problems.hard_instance(4).title == "hard instance"
    assert asyncopt.problems.hard_instance(4, sign=-1).title == "mirrored hard instance"


def test_no_delay_makes_a_difference():
    problem = asyncopt.problems.hard_instance(300)
    optimizer = asyncopt.apam(0.1, constraint=problem.constraint)
    fresh, stale = (
        asyncopt.replay(problem, optimizer, asyncopt.traces.constant(300, delay), seeds=range(3)) for delay in (0, 50)
    )
    np.testing.assert_array_equal(fresh.gap, stale.gap)
    assert stale.drift.max() > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_updates": 0}, "num_updates is 0"),
        ({"slope_scale": 0}, "slope_scale is 0"),
        ({"noise": -1}, "noise is -1"),
        ({"start": 1.5}, "start is 1.5, expected a number from -1 to 1"),
        ({"start": float("nan")}, "start is nan"),
        ({"sign": 0}, "sign is 0, expected 1 or -1"),
        ({"sign": True}, "sign is True, expected 1 or -1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        asyncopt.problems.hard_instance(**{"num_updates": 10, **settings})
