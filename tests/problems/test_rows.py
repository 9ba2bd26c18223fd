"""Sparse rows of any length: products, and their gradients, against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

import asyncopt
from asyncopt.problems import data
from asyncopt.problems.rows import rows_of


def ragged(rng, num_rows=300, num_columns=120, longest=97):
    """Rows of very different lengths; row 0 is empty, row 1 has one value, rows 2 and 3 the most."""
    lengths = np.minimum(rng.geometric(0.06, num_rows), longest)
    lengths[:4] = 0, 1, longest, longest
    columns = [np.sort(rng.choice(num_columns, length, replace=False)) for length in lengths]
    values = rng.normal(size=lengths.sum())
    starts = np.append(0, np.cumsum(lengths))
    return scipy.sparse.csr_array((values, np.concatenate(columns), starts), shape=(num_rows, num_columns))


def mini_batches(rng, num_rows):
    """200 mini-batches: the longest rows only, the empty row only, the row of one value only, and random ones."""
    yield np.array([2, 3] * 16)
    yield np.zeros(32, int)
    yield np.ones(32, int)
    for _ in range(197):
        yield rng.integers(0, num_rows, 32)


@jax.jit
def loss_and_gradient(rows, batch, weights, factors):
    """Returns ½ Σ factors (rows · weights)², and its gradient."""
    return jax.value_and_grad(lambda x: 0.5 * jnp.sum((rows.take(batch) @ x) ** 2 * factors))(weights)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_two_hundred_mini_batches(num_classes):
    rng = np.random.default_rng(num_classes)
    matrix = ragged(rng)
    rows = rows_of(matrix, np.float64)
    classes = (num_classes,) if num_classes else ()
    chunks = []
    for batch in mini_batches(rng, matrix.shape[0]):
        weights, factors = rng.normal(size=(120, *classes)), rng.normal(size=(32, *classes))
        value, gradient = loss_and_gradient(rows, jnp.asarray(batch), jnp.asarray(weights), jnp.asarray(factors))
        scores = matrix[batch] @ weights
        np.testing.assert_allclose(value, 0.5 * np.sum(scores**2 * factors), rtol=1e-12, atol=1e-12)
        expected = matrix[batch].T @ (scores * factors)
        scale = abs(matrix[batch]).T @ abs(scores * factors)  # sums may cancel
        assert np.all(abs(gradient - expected) <= 1e-12 * scale)
        chunks.append(int(rows.take(jnp.asarray(batch)).num_chunks))
    # The loop over chunks is needed: without it, the longest rows would be cut off.
    assert chunks[0] > 1
    assert chunks[1] == 0
    assert np.mean(np.array(chunks[3:]) == 1) > 0.95


def test_all_rows():
    rng = np.random.default_rng(0)
    matrix = ragged(rng)
    rows = rows_of(matrix, np.float64)
    for shape in ((), (4,)):
        weights, factors = rng.normal(size=(120, *shape)), rng.normal(size=(300, *shape))
        products, transpose = jax.vjp(rows.__matmul__, jnp.asarray(weights))
        np.testing.assert_allclose(products, matrix @ weights, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(transpose(jnp.asarray(factors))[0], matrix.T @ factors, rtol=1e-12, atol=1e-12)


def test_second_derivatives():
    rng = np.random.default_rng(0)
    matrix = ragged(rng, num_rows=20, num_columns=100)
    rows = rows_of(matrix, np.float64)
    gradient = jax.grad(lambda x: jnp.sum((rows @ x) ** 2) / 2)
    hessian = jax.jit(jax.jacrev(gradient))(jnp.zeros(100))
    np.testing.assert_allclose(hessian, (matrix.T @ matrix).toarray(), rtol=1e-12, atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(1, 40), st.integers(1, 9))
def test_small_matrices(seed, num_rows, num_columns, batch_size):
    rng = np.random.default_rng(seed)
    matrix = scipy.sparse.random_array((num_rows, num_columns), density=rng.random(), rng=rng, format="csr")
    rows = rows_of(matrix, np.float64)
    weights = rng.normal(size=num_columns)
    products = jax.jit(lambda x: rows @ x)(jnp.asarray(weights))
    np.testing.assert_allclose(products, matrix @ weights, rtol=1e-12, atol=1e-13)
    if num_rows:
        batch = rng.integers(0, num_rows, batch_size)
        products = jax.jit(lambda batch, x: rows.take(batch) @ x)(jnp.asarray(batch), jnp.asarray(weights))
        np.testing.assert_allclose(products, matrix[batch] @ weights, rtol=1e-12, atol=1e-13)


def test_sparse_and_dense_problems_agree():
    rng = np.random.default_rng(1)
    matrix = ragged(rng)
    labels = (matrix @ rng.normal(size=120) > 0).astype(int)
    trace = asyncopt.traces.uniform(200, 8)
    results = []
    for features in (matrix, matrix.toarray()):
        dataset = data.split("ragged", features, labels, 2, test_fraction=0.2, seed=0)
        problem = asyncopt.problems.logistic(dataset, l2=1e-3, batch_size=32)
        results.append(asyncopt.replay(problem, asyncopt.apam(0.01), trace, seeds=[0, 1], eval_every=50))
    sparse, dense = results
    np.testing.assert_allclose(sparse.params, dense.params, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(sparse.objective, dense.objective, rtol=1e-10)
    np.testing.assert_allclose(sparse.average_objective, dense.average_objective, rtol=1e-10)
    np.testing.assert_array_equal(sparse.metrics["test_accuracy"], dense.metrics["test_accuracy"])
