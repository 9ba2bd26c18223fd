"""Least squares against scikit-learn and the Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.linear_model

import asyncopt
from asyncopt import InputError
from asyncopt.problems import data, least_squares


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_the_minimum_is_that_of_scikit_learn(l2):
    rows = data.normal_rows(300, 7, noise=0.5, data_seed=2)
    problem = least_squares(rows, l2, intercept=False)
    ridge = sklearn.linear_model.Ridge(alpha=300 * l2, fit_intercept=False, solver="cholesky")
    expected = ridge.fit(rows.features, rows.targets).coef_
    np.testing.assert_allclose(problem.minimiser, expected, rtol=1e-9)
    assert problem.objective(jnp.asarray(expected)) == pytest.approx(float(problem.optimum), rel=1e-12)
    residuals = rows.features @ expected - rows.targets
    assert problem.optimum == pytest.approx(0.5 * np.mean(residuals**2) + 0.5 * l2 * expected @ expected, rel=1e-12)


@pytest.mark.parametrize(("rows", "l2"), [("diabetes", 0.0), ("diabetes", 0.1), (data.normal_rows(5, 8), 0.0)])
def test_its_constants_are_the_extreme_eigenvalues_of_the_hessian(rows, l2):
    problem = least_squares(rows, l2)
    eigenvalues = np.linalg.eigvalsh(jax.hessian(problem.objective)(jnp.asarray(problem.minimiser)))
    assert problem.constants.smoothness == pytest.approx(eigenvalues[-1], rel=1e-10)
    assert problem.constants.strong_convexity == pytest.approx(eigenvalues[0], rel=1e-8, abs=1e-12)
    assert jnp.abs(jax.grad(problem.objective)(jnp.asarray(problem.minimiser))).max() < 1e-10


def test_mini_batches_are_means_of_rows():
    problem = least_squares("diabetes", 0.2, batch_size=3)
    x, batch = jnp.arange(11.0), jnp.array([4, 4, 7])
    one = [0.5 * (problem.features[i] @ x - problem.targets[i]) ** 2 + 0.1 * jnp.sum(x**2) for i in (4, 4, 7)]
    assert problem.loss(x, batch) == pytest.approx(float(np.mean(one)))


def test_a_replay_reaches_the_minimum():
    problem = least_squares(data.normal_rows(200, 5, noise=0.0), batch_size=20)
    run = asyncopt.replay(problem, optax.sgd(0.2), asyncopt.traces.constant(400, 3))
    assert abs(run.gap[-1]) < 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: least_squares("digits"), "data is 'digits', expected one of"),
        (lambda: least_squares(data.digits()), "data is Dataset, expected RegressionData"),
        (lambda: least_squares(l2=-1), "l2 is -1"),
        (lambda: least_squares(batch_size=0), "batch_size is 0"),
        (lambda: least_squares(intercept=1), "intercept is 1"),
        (lambda: data.normal_rows(0), "num_rows is 0"),
        (lambda: data.normal_rows(3, 0), "num_features is 0"),
        (lambda: data.normal_rows(3, 2, noise=-1.0), "noise is -1.0"),
        (lambda: data.normal_rows(3, 2, data_seed=-1), "data_seed is -1"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(InputError, match=message):
        make()
