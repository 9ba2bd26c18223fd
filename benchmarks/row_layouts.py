"""Times layouts of ragged sparse rows side by side: scores of all rows, their gradient, and steps on mini-batches.

segments  rows cut into segments of 16 values, kept by rows and by columns: what `asyncopt.problems.rows` does
flat      every value with its row and its column, as SciPy's COO format; a mini-batch takes its values one by one
padded    rows padded to the longest one
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import timing

from asyncopt.problems import data
from asyncopt.problems.rows import rows_of

BATCH_SIZE, NUM_UPDATES = 64, 300


class Padded(eqx.Module):
    """Rows padded with zeros in column 0."""

    columns: jax.Array
    values: jax.Array

    def take(self, rows):
        """Returns some of the rows."""
        return Padded(self.columns[rows], self.values[rows])

    def __matmul__(self, weights):
        return jnp.einsum("nw,nw->n", self.values, weights[self.columns])


class Flat(eqx.Module):
    """Values one after another, with room in a mini-batch for the mean and four deviations more."""

    columns: jax.Array
    values: jax.Array
    row: jax.Array
    first: jax.Array
    room: int = eqx.field(static=True)

    def take(self, rows):
        """Returns some of the rows; what has no room is cut off, which a layout to be used must not do."""
        first, count = self.first[rows], self.first[rows + 1] - self.first[rows]
        end = jnp.cumsum(count)
        place = jnp.repeat(jnp.arange(len(rows)), count, total_repeat_length=self.room)
        number = jnp.arange(self.room)
        taken = jnp.where(number < end[-1], (first - end + count)[place] + number, len(self.values) - 1)
        return Flat(self.columns[taken], self.values[taken], place, jnp.append(0, end), self.room)

    def __matmul__(self, weights):
        products = self.values * weights[self.columns]
        return jax.ops.segment_sum(products, self.row, len(self.first) - 1, indices_are_sorted=True)


def padded(matrix, dtype):
    """Returns the padded rows of a CSR matrix."""
    lengths = np.diff(matrix.indptr)
    filled = np.arange(lengths.max()) < lengths[:, None]
    columns, values = np.zeros(filled.shape, np.int32), np.zeros(filled.shape, dtype)
    columns[filled], values[filled] = matrix.indices, matrix.data
    return Padded(jnp.asarray(columns), jnp.asarray(values))


def flat(matrix, dtype):
    """Returns the values of a CSR matrix one after another, and a zero."""
    lengths = np.diff(matrix.indptr)
    room = int(lengths.mean() * BATCH_SIZE + 4 * lengths.std() * BATCH_SIZE**0.5)
    return Flat(
        jnp.asarray(np.append(matrix.indices, 0), jnp.int32),
        jnp.asarray(np.append(matrix.data, 0), dtype),
        jnp.asarray(np.append(np.repeat(np.arange(len(lengths)), lengths), len(lengths) - 1), jnp.int32),
        jnp.asarray(matrix.indptr, jnp.int32),
        room,
    )


def loss(rows, signs, weights):
    """Returns the mean logistic loss."""
    return jnp.mean(jax.nn.softplus(-signs * (rows @ weights)))


@eqx.filter_jit
def steps(rows, signs, batches, weights):
    """Makes steps of SGD on mini-batches."""

    def step(k, weights):
        batch = batches[k]
        return weights - 0.1 * jax.grad(functools.partial(loss, rows.take(batch), signs[batch]))(weights)

    return jax.lax.fori_loop(0, len(batches), step, weights)


def main():
    """Times all layouts in single precision, and returns the rows of the tables."""
    dataset = data.rcv1_like()
    matrix, dtype = dataset.features, np.float32
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(size=matrix.shape[1]), dtype)
    signs = jnp.asarray(np.where(dataset.labels == 1, 1, -1), dtype)
    batches = jnp.asarray(rng.integers(0, matrix.shape[0], (NUM_UPDATES, BATCH_SIZE)), jnp.int32)
    layouts = {"segments": rows_of(matrix, dtype), "flat": flat(matrix, dtype), "padded": padded(matrix, dtype)}
    evaluate = eqx.filter_jit(lambda rows, weights: jax.value_and_grad(functools.partial(loss, rows, signs))(weights))

    def calls(function):
        return {name: functools.partial(function, rows) for name, rows in layouts.items()}

    return [
        *timing.compare("scores of all rows", calls(lambda rows: scores(rows, weights))),
        *timing.compare("F and its gradient", calls(lambda rows: evaluate(rows, weights))),
        *timing.compare("a step of SGD", calls(lambda rows: steps(rows, signs, batches, weights)), NUM_UPDATES),
    ]


scores = eqx.filter_jit(lambda rows, weights: rows @ weights)


if __name__ == "__main__":
    timing.script(main, __doc__)
