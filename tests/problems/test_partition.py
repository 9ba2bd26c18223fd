"""Rows divided among workers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import asyncopt
from asyncopt.checks import InputError
from asyncopt.problems import data

DIGITS = data.digits()


def shares(divided):
    """The number of rows of each class for each worker."""
    labels = divided.labels.reshape(divided.num_workers, -1)
    return np.array([np.bincount(mine, minlength=divided.num_classes) for mine in labels])


@pytest.mark.parametrize("by", ["label", "shard", "random"])
def test_rows_are_divided_and_none_is_there_twice(by):
    divided = data.partition(DIGITS, 7, by=by, seed=3)
    size = len(DIGITS.labels) // 7
    assert divided.features.shape == (7 * size, 64) or by == "shard"
    rows = {row.tobytes() for row in DIGITS.features}
    assert {row.tobytes() for row in divided.features} <= rows
    pairs = np.column_stack([divided.features, divided.labels])
    whole = np.column_stack([DIGITS.features, DIGITS.labels])
    assert len(np.unique(pairs, axis=0)) >= len(pairs) - (len(whole) - len(np.unique(whole, axis=0)))
    np.testing.assert_array_equal(divided.test_features, DIGITS.test_features)
    assert np.array_equal(data.partition(DIGITS, 7, by=by, seed=3).labels, divided.labels)
    assert not np.array_equal(data.partition(DIGITS, 7, by=by, seed=4).labels, divided.labels)


def test_alpha_says_how_alike_workers_are():
    few, many = (shares(data.partition(DIGITS, 10, alpha=alpha)) for alpha in (0.05, 1000.0))
    assert (few.max(axis=1) / few.sum(axis=1)).mean() > 0.45  # the last workers take what is left
    assert (many.max(axis=1) / many.sum(axis=1)).mean() < 0.2
    expected = np.outer(many.sum(axis=1), many.sum(axis=0)) / many.sum()
    assert scipy.stats.chi2.sf(((many - expected) ** 2 / expected).sum(), 81) > 1e-3


def test_shards_have_few_classes():
    assert ((shares(data.partition(DIGITS, 10, by="shard")) > 0).sum(axis=1) <= 4).all()


def test_workers_draw_their_own_rows():
    problem = asyncopt.problems.logistic(data.partition(DIGITS, 7), batch_size=500)
    size = problem.num_rows // 7
    for worker in range(7):
        rows = np.asarray(problem.sample(jax.random.key(1), jnp.int32(worker)))
        assert rows.min() >= worker * size
        assert rows.max() < (worker + 1) * size
        assert len(np.unique(rows)) > size / 2


def test_the_objective_is_the_mean_of_the_workers():
    problem = asyncopt.problems.logistic(data.partition(DIGITS, 7))
    params = 0.01 * jax.random.normal(jax.random.key(0), (65, 10))
    mean = np.mean([problem.worker_objective(params, worker) for worker in range(7)])
    np.testing.assert_allclose(mean, problem.objective(params), rtol=1e-12)
    at_minimum = problem.dissimilarity(jnp.asarray(problem.minimiser))
    gradients = [jax.grad(problem.worker_objective)(jnp.asarray(problem.minimiser), worker) for worker in range(7)]
    np.testing.assert_allclose(at_minimum, np.mean([np.sum(np.square(g)) for g in gradients]), rtol=1e-6)
    alike = asyncopt.problems.logistic(data.partition(DIGITS, 7, by="random"))
    assert alike.dissimilarity(jnp.asarray(alike.minimiser)) < at_minimum / 5


def test_images_are_divided():
    images = data.partition(data.digits_images(), 5)
    problem = asyncopt.problems.perceptron(images, width=0.1, batch_size=300)
    _, labels = problem.sample(jax.random.key(0), jnp.int32(3))
    mine = images.labels[3 * (len(images.labels) // 5) : 4 * (len(images.labels) // 5)]
    assert set(np.asarray(labels).tolist()) <= set(mine.tolist())
    run = asyncopt.replay(problem, asyncopt.apam(0.01), asyncopt.traces.cluster(20, 5), eval_every=10)
    assert np.isfinite(run.objective).all()


def test_nonconvex_logistic_of_workers():
    problem = asyncopt.problems.nonconvex_logistic(data.partition(data.breast_cancer(), 4))
    run = asyncopt.replay(problem, asyncopt.apam(0.005), asyncopt.traces.cluster(200, 4), eval_every=100)
    assert run.objective[-1] < run.objective[0]


def test_the_trace_must_have_the_same_workers():
    problem = asyncopt.problems.logistic(data.partition(DIGITS, 7, by="random"))
    with pytest.raises(InputError, match="divided among 7 workers, and the trace has 4"):
        asyncopt.replay(problem, asyncopt.apam(0.1), asyncopt.traces.cluster(20, 4))
    with pytest.raises(InputError, match="drawn from all data"):
        asyncopt.replay(problem, asyncopt.apam(0.1), asyncopt.traces.cluster(20, 7), record_bounds=True)
    with pytest.raises(InputError, match="worker is 7, expected at most 6"):
        problem.worker_objective(jnp.zeros((65, 10)), 7)


def test_bad_input():
    for arguments, message in (
        ({"num_workers": 2000}, "num_workers is 2000, expected at most"),
        ({"num_workers": 800, "by": "shard"}, "num_workers · shards is 1600, expected at most"),
        ({"num_workers": 0}, "num_workers is 0"),
        ({"num_workers": 2, "by": "colour"}, "by is 'colour'"),
        ({"num_workers": 2, "alpha": 0}, "alpha is 0"),
        ({"num_workers": 2, "seed": -1}, "seed is -1"),
    ):
        with pytest.raises(InputError, match=message):
            data.partition(DIGITS, **arguments)
    with pytest.raises(InputError, match="dataset is str, expected a Dataset or ImageData"):
        data.partition("digits", 2)
