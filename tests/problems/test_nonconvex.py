"""Both non-convex problems against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets

import asyncopt
from asyncopt import InputError
from asyncopt.problems.data import RegressionData


def test_nonconvex_logistic_is_cross_entropy_plus_its_regulariser():
    data = asyncopt.problems.data.breast_cancer()
    problem = asyncopt.problems.nonconvex_logistic(data, penalty=0.3)
    x = np.random.default_rng(0).normal(size=31)
    scores = np.hstack([data.features, np.ones((len(data.features), 1))]) @ x
    signs = 2 * data.labels - 1
    expected = np.mean(np.log1p(np.exp(-signs * scores))) + 0.3 * np.sum(x**2 / (1 + x**2))
    assert float(problem.objective(jnp.asarray(x))) == pytest.approx(expected, rel=1e-12)
    accuracy = np.mean((scores > 0) == (data.labels == 1))
    assert float(problem.metrics(jnp.asarray(x))["train_accuracy"]) == pytest.approx(accuracy)


def test_robust_regression_is_the_mean_of_its_losses():
    problem = asyncopt.problems.robust_regression("diabetes", scale=0.7)
    features, targets = sklearn.datasets.load_diabetes(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    targets = (targets - targets.mean()) / targets.std()
    x = np.random.default_rng(0).normal(size=11)
    residual = features @ x[:10] + x[10] - targets
    expected = np.mean(0.5 * residual**2 / (1 + (residual / 0.7) ** 2))
    assert float(problem.objective(jnp.asarray(x))) == pytest.approx(expected, rel=1e-12)


def test_an_outlier_hardly_counts():
    rows = RegressionData("line", np.arange(20.0)[:, None], np.append(3 * np.arange(19.0), 1e6))
    problem = asyncopt.problems.robust_regression(rows, intercept=False)
    at_line = problem.objective(jnp.array([3.0]))
    assert float(at_line) == pytest.approx(0.5 / 20, rel=1e-6)  # one row, at its largest loss
    assert problem.init(jax.random.key(0)).shape == (1,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: asyncopt.problems.nonconvex_logistic(penalty=-1), "penalty is -1"),
        (lambda: asyncopt.problems.nonconvex_logistic("diabetes"), "data is 'diabetes'"),
        (lambda: asyncopt.problems.robust_regression("digits"), "data is 'digits'"),
        (
            lambda: asyncopt.problems.robust_regression(asyncopt.problems.data.digits()),
            "data is Dataset, expected Regr",
        ),
        (lambda: asyncopt.problems.robust_regression(scale=0), "scale is 0"),
        (lambda: asyncopt.problems.robust_regression(batch_size=0), "batch_size is 0"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(InputError, match=message):
        make()
