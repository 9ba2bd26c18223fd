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
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        asyncopt.problems.hard_instance(**{"num_updates": 10, **settings})
