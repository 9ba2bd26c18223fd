import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression

import asyncopt
from asyncopt import InputError
from asyncopt.problems import data, logistic
from asyncopt.problems.data import Dataset


def sklearn_optimum(problem, l2):
    """scikit-learn's own optimum of the same objective, the intercept being one of the features."""
    features = np.asarray(problem.rows.values)
    model = LogisticRegression(
        C=1 / (l2 * len(features)), fit_intercept=False, tol=1e-12, max_iter=10_000, solver="newton-cholesky"
    )
    model.fit(features, np.asarray(problem.labels))
    return model.coef_[0] if problem.num_classes == 2 else model.coef_.T


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
@pytest.mark.parametrize("l2", [1e-1, 1e-3])
def test_optimum_agrees_with_scikit_learn(name, l2):
    problem = logistic(name, l2=l2)
    theirs = sklearn_optimum(problem, l2)
    assert float(problem.objective(jnp.asarray(theirs))) == pytest.approx(problem.optimum, rel=1e-10)
    np.testing.assert_allclose(problem.minimiser, theirs, atol=1e-5)
    assert float(problem.objective(jnp.asarray(problem.minimiser))) == pytest.approx(problem.optimum, rel=1e-12)
    gradient = jax.grad(problem.objective)(jnp.asarray(problem.minimiser))
    assert float(jnp.abs(gradient).max()) < 1e-8


def test_gap_of_a_replay_is_against_that_optimum(digits):
    result = asyncopt.replay(digits, asyncopt.apam(0.01), asyncopt.traces.constant(200, 3), eval_every=100)
    theirs = sklearn_optimum(digits, 1e-3)
    expected = float(digits.objective(result.params)) - float(digits.objective(jnp.asarray(theirs)))
    assert result.gap[-1] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("constraint", "l2"),
    [
        (asyncopt.Box(-0.3, 0.2), 0.0),
        (asyncopt.Box(-0.3, 0.2), 1e-2),
        (asyncopt.L2Ball(1.0), 0.0),
        (asyncopt.L2Ball(1.0), 1e-2),
        (asyncopt.L2Ball(500.0), 1e-2),
    ],
)
def test_optimum_within_a_constraint_agrees_with_projected_gradients(constraint, l2):
    problem = logistic("breast_cancer", l2=l2, constraint=constraint)
    ones = jnp.ones(problem.constants.dimension)
    step = 1 / float(problem.constants.smoothness)

    @jax.jit
    def accelerated(carry, _):
        x, y, t = carry
        new_x = constraint.project(y - step * jax.grad(problem.objective)(y), ones)
        new_t = (1 + jnp.sqrt(1 + 4 * t * t)) / 2
        return (new_x, new_x + (t - 1) / new_t * (new_x - x), new_t), None

    zero = jnp.zeros(problem.constants.dimension)
    (x, _, _), _ = jax.lax.scan(accelerated, (zero, zero, 1.0), None, length=20_000)
    assert float(problem.objective(x)) == pytest.approx(problem.optimum, rel=1e-8)
    assert problem.optimum <= float(problem.objective(x)) * (1 + 1e-10)
    assert constraint.contains(jnp.asarray(problem.minimiser))


def test_separable_data_without_l2_have_no_minimum():
    problem = logistic("breast_cancer", l2=0.0)
    assert problem.optimum == 0.0
    assert problem.minimiser is None


def test_data_that_overlap_have_a_minimum_without_l2():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    problem = logistic(data.split("noise", features, labels, 2, 0.0, 0), l2=0.0)
    theirs = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=1000).fit(
        np.asarray(problem.rows.values), labels
    )
    np.testing.assert_allclose(problem.minimiser, theirs.coef_[0], atol=1e-5)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_sparse_rows_equal_dense_rows(num_classes):
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(60, 12)) * (rng.random((60, 12)) < 0.3)
    dense[7] = 0.0  # a row without values
    labels = rng.integers(0, num_classes, 60)
    test = (dense[:5], labels[:5])
    wide = logistic(Dataset("dense", dense, labels, num_classes, *test), intercept=True)
    thin = logistic(
        Dataset(
            "sparse",
            scipy.sparse.csr_array(dense),
            labels,
            num_classes,
            scipy.sparse.csr_array(test[0]),
            test[1],
        )
    )
    assert thin.optimum == pytest.approx(wide.optimum, rel=1e-12)
    assert float(thin.constants.smoothness) == pytest.approx(float(wide.constants.smoothness))
    params = jnp.asarray(rng.normal(size=wide.minimiser.shape))
    for key in jax.random.split(jax.random.key(0), 3):
        left = jax.value_and_grad(wide.loss)(params, wide.sample(key))
        right = jax.value_and_grad(thin.loss)(params, thin.sample(key))
        np.testing.assert_allclose(left[0], right[0], rtol=1e-13)
        np.testing.assert_allclose(left[1], right[1], atol=1e-13)
    for metric, value in wide.metrics(params).items():
        assert float(value) == float(thin.metrics(params)[metric])


def test_mini_batch_gradients_average_to_the_gradient(digits):
    params = 0.1 * jax.random.normal(jax.random.key(1), digits.minimiser.shape)
    keys = jax.random.split(jax.random.key(0), 20_000)
    sampled = jax.lax.map(lambda key: jax.grad(digits.loss)(params, digits.sample(key)), keys, batch_size=500)
    exact = jax.grad(digits.objective)(params)
    standard_error = sampled.std(axis=0) / np.sqrt(len(keys))
    z = np.abs(np.asarray(sampled.mean(axis=0) - exact)) / np.maximum(np.asarray(standard_error), 1e-12)
    assert z.max() < 5.0


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_constants_hold_where_they_are_tried(name):
    problem = logistic(name, l2=1e-2, constraint=asyncopt.Box(-1.0, 1.0))
    constants = problem.constants
    shape = problem.minimiser.shape
    assert constants.dimension == problem.minimiser.size
    assert constants.diameter == 2.0
    gradient = jax.jit(jax.grad(problem.objective))
    rng = np.random.default_rng(0)
    for key in jax.random.split(jax.random.key(0), 50):
        x, y = (jnp.asarray(rng.uniform(-1, 1, shape)) for _ in range(2))
        change, distance = gradient(x) - gradient(y), x - y
        assert jnp.linalg.norm(change) <= constants.smoothness * jnp.linalg.norm(distance)
        assert jnp.sum(change * distance) >= constants.strong_convexity * jnp.sum(distance**2) * (1 - 1e-9)
        stochastic = jax.grad(problem.loss)(x, problem.sample(key))
        assert jnp.abs(stochastic).max() <= constants.gradient_bound
    # The bound on the curvature is not idle: at zero the Hessian's largest eigenvalue is within 4 of it.
    hessian = jax.hessian(problem.objective)(jnp.zeros(shape)).reshape(constants.dimension, -1)
    assert constants.smoothness / 10 <= np.linalg.eigvalsh(hessian)[-1] <= constants.smoothness * (1 + 1e-9)


def test_accuracy_counts_rows(digits):
    scores = np.asarray(digits.rows.values) @ digits.minimiser
    expected = np.mean(scores.argmax(axis=1) == np.asarray(digits.labels))
    assert float(digits.metrics(jnp.asarray(digits.minimiser))["train_accuracy"]) == pytest.approx(expected)
    assert 0.9 < float(digits.metrics(jnp.asarray(digits.minimiser))["test_accuracy"]) < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "mnist"}, "data is 'mnist', expected one of"),
        ({"l2": -1.0}, "l2 is -1.0, expected a finite number >= 0"),
        ({"batch_size": 0}, "batch_size is 0, expected an integer of at least 1"),
        ({"init_scale": float("nan")}, "init_scale is nan"),
        ({"constraint": asyncopt.Box(jnp.zeros(3), 1.0)}, "expected a Box or L2Ball given by numbers"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        logistic(**arguments)


def test_a_start_outside_the_constraint_is_refused():
    problem = logistic("breast_cancer", init_scale=10.0, constraint=asyncopt.Box(-1.0, 1.0))
    with pytest.raises(InputError, match="the start is outside the problem's constraint Box"):
        asyncopt.replay(problem, asyncopt.apam(0.1), asyncopt.traces.synchronous(5))


def test_the_minimum_does_not_depend_on_the_threads_of_blas():
    code = """
import hashlib, asyncopt
print(hashlib.sha256(asyncopt.problems.logistic("digits").minimiser.tobytes()).hexdigest())
"""
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2")
    ]  # fmt: skip
    assert found[0] == found[1]
