import jax
import jax.numpy as jnp
import numpy as np
import pytest

import asyncopt
from asyncopt import InputError
from asyncopt.problems import quadratic


def test_gradient_noise_has_the_asked_size():
    problem = quadratic(3, noise=0.5)
    params = jnp.array([1.0, -2.0, 0.5])
    keys = jax.random.split(jax.random.key(0), 4000)
    gradients = jax.vmap(lambda key: jax.grad(problem.loss)(params, problem.sample(key)))(keys)
    np.testing.assert_allclose(gradients.mean(axis=0), problem.eigenvalues * params, atol=0.04)
    np.testing.assert_allclose(gradients.std(axis=0), 0.5, rtol=0.02)


def test_constants():
    problem = quadratic(eigenvalues=[0.5, 2.0], noise=0.1, constraint=asyncopt.Box(-1.0, 3.0))
    assert problem.constants.smoothness == 2.0
    assert problem.constants.strong_convexity == 0.5
    assert problem.constants.diameter == 4.0
    assert problem.constants.gradient_bound == pytest.approx(2.0 * 3.0 + 0.1)
    assert problem.optimum == 0.0
    assert quadratic(5).constants.gradient_bound is None


def test_starts_inside_its_constraint():
    problem = quadratic(10, init_scale=100.0, constraint=asyncopt.L2Ball(1.0))
    assert problem.constraint.contains(problem.init(jax.random.key(0)))


def test_spectrum():
    spectrum = np.asarray(quadratic(5, condition_number=16.0).eigenvalues)
    np.testing.assert_allclose(spectrum, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimension": 0}, "dimension is 0"),
        ({"condition_number": 0.5}, "condition_number is 0.5, expected a finite number >= 1"),
        ({"noise": -1.0}, "noise is -1.0"),
        ({"init_scale": -1.0}, "init_scale is -1.0"),
        ({"eigenvalues": [1.0, 0.0]}, "expected a list of positive numbers"),
        ({"eigenvalues": []}, "expected a list of positive numbers"),
        ({"constraint": asyncopt.Box(1.0, 2.0)}, "the minimiser, the origin, is outside"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        quadratic(**arguments)
