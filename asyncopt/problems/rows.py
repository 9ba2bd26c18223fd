"""Rows of a data matrix as the compiled loop reads them: dense, or sparse rows of any length."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, DTypeLike, Float, Int

from asyncopt.problems.data import Matrix

# Values of a segment. 16 are one line of a cache in single precision, and pad rows of text by a tenth.
_WIDTH = 16
# A mini-batch takes its segments in chunks. A chunk has room for the mean number of segments and this many standard
# deviations more, so that nearly every mini-batch needs one chunk.
_DEVIATIONS = 3
_CHUNK_STEP = 32  # chunks have a multiple of this number of segments


class DenseRows(eqx.Module):
    """Rows of a matrix."""

    values: Float[Array, "N d"]

    def take(self, rows: Int[Array, " B"]) -> "DenseRows":
        """Returns some of the rows."""
        return DenseRows(self.values[rows])

    def __matmul__(self, weights: Float[Array, "d *C"]) -> Float[Array, "N *C"]:
        return self.values @ weights


class Segments(eqx.Module):
    """A sparse matrix whose rows are cut into segments of 16 values.

    Zeros in column 0 fill up the last segment of a row. A row without values has no segment. One segment more, the
    last, has only zeros: it takes the places that are left in a chunk.
    """

    columns: Int[Array, "S+1 16"]
    values: Float[Array, "S+1 16"]
    row: Int[Array, " S+1"]  # the row that a segment is part of
    num_rows: int = eqx.field(static=True)

    def __matmul__(self, weights: Float[Array, "d *C"]) -> Float[Array, "N *C"]:
        products = _products(self.columns, self.values, weights)
        return _add(jnp.zeros((self.num_rows, *products.shape[1:]), products.dtype), self.row, products)


class SparseRows(eqx.Module):
    """Rows of a sparse matrix, which may have any length; derivatives are those of reverse mode.

    The matrix is kept twice, by rows and by columns, so that the gradient of all rows is a product as well.
    """

    by_rows: Segments
    by_columns: Segments
    first: Int[Array, " N+1"]  # the first segment of each row, and at last the number of segments
    mean_segments: float = eqx.field(static=True)  # of a row
    deviation: float = eqx.field(static=True)  # standard deviation of the number of segments of a row

    @property
    def values(self) -> Float[Array, "S+1 16"]:
        """The values, in segments."""
        return self.by_rows.values

    def take(self, rows: Int[Array, " B"]) -> "TakenRows":
        """Returns some of the rows."""
        return TakenRows(self, rows)

    def product(self, weights: Float[Array, "d *C"]) -> Float[Array, "N *C"]:
        """Returns the rows times ``weights``."""
        return self.by_rows @ weights

    def transposed_product(self, factors: Float[Array, "N *C"]) -> Float[Array, "d *C"]:
        """Returns the transposed rows times ``factors``."""
        return self.by_columns @ _stored(factors)

    def __matmul__(self, weights: Float[Array, "d *C"]) -> Float[Array, "N *C"]:
        return _product(weights, self)


class TakenRows(eqx.Module):
    """Some rows of a sparse matrix, in any order, perhaps with repetitions.

    Their segments are taken in chunks of one size, in a loop that runs until none is left: rows of every length are
    taken whole.
    """

    matrix: SparseRows
    rows: Int[Array, " B"]

    def product(self, weights: Float[Array, "d *C"]) -> Float[Array, "B *C"]:
        """Returns the rows times ``weights``."""
        segments = self.matrix.by_rows
        dtype = jnp.result_type(segments.values, weights)

        def add(chunk, total):
            taken, place = self._chunk(chunk)
            return _add(total, place, _products(segments.columns[taken], segments.values[taken], weights))

        return self._sum_of_chunks(add, jnp.zeros((len(self.rows), *weights.shape[1:]), dtype))

    def transposed_product(self, factors: Float[Array, "B *C"]) -> Float[Array, "d *C"]:
        """Returns the transposed rows times ``factors``."""
        segments = self.matrix.by_rows

        def add(chunk, total):
            taken, place = self._chunk(chunk)
            values = segments.values[taken].reshape(-1, _WIDTH, *[1] * (factors.ndim - 1))
            return total.at[segments.columns[taken]].add(values * factors[place][:, None])

        shape = (self.matrix.by_columns.num_rows, *factors.shape[1:])
        return self._sum_of_chunks(add, jnp.zeros(shape, factors.dtype))

    def __matmul__(self, weights: Float[Array, "d *C"]) -> Float[Array, "B *C"]:
        return _product(weights, self)

    def _sum_of_chunks(self, add, zero):
        """Returns the sum over all chunks. The first one is outside the loop, whose carry XLA may copy."""
        return jax.lax.fori_loop(1, self.num_chunks, add, add(0, zero))

    @property
    def num_chunks(self) -> Int[Array, ""]:
        """The number of chunks that hold all segments of the rows."""
        num_segments = jnp.sum(self.matrix.first[self.rows + 1] - self.matrix.first[self.rows])
        return (num_segments + self._chunk_size - 1) // self._chunk_size

    @property
    def _chunk_size(self) -> int:
        batch_size = len(self.rows)
        room = self.matrix.mean_segments * batch_size + _DEVIATIONS * self.matrix.deviation * math.sqrt(batch_size)
        return max(math.ceil(room / _CHUNK_STEP), 1) * _CHUNK_STEP

    def _chunk(self, chunk: Int[Array, ""] | int) -> tuple[Int[Array, " size"], Int[Array, " size"]]:
        """Returns the segments of a chunk, and the place in the mini-batch of the row that each is part of."""
        size = self._chunk_size
        first = self.matrix.first[self.rows]
        count = self.matrix.first[self.rows + 1] - first
        end = jnp.cumsum(count)  # of the segments of all rows in turn; of them, the chunk has begin..begin + size - 1
        begin = chunk * size
        in_chunk = jnp.clip(end - begin, 0, size) - jnp.clip(end - count - begin, 0, size)
        place = jnp.repeat(jnp.arange(len(self.rows), dtype=jnp.int32), in_chunk, total_repeat_length=size)
        number = begin + jnp.arange(size, dtype=jnp.int32)
        taken = (first - (end - count))[place] + number
        return jnp.where(number < end[-1], taken, self.matrix.first[-1]), place


def rows_of(features: Matrix, dtype: DTypeLike) -> DenseRows | SparseRows:
    """Returns the rows of a matrix as JAX arrays; a sparse matrix stays sparse."""
    if isinstance(features, np.ndarray):
        return DenseRows(jnp.asarray(features, dtype))
    by_rows, first = _segments(features, dtype)
    by_columns, _ = _segments(scipy.sparse.csr_array(features.T), dtype)
    counts = np.diff(first) if len(first) > 1 else np.zeros(1)
    return SparseRows(by_rows, by_columns, jnp.asarray(first, jnp.int32), float(counts.mean()), float(counts.std()))


def _segments(matrix: Any, dtype: DTypeLike) -> tuple[Segments, Int[np.ndarray, " N+1"]]:
    """Cuts the rows of a CSR matrix into segments; returns them, and the first segment of each row."""
    lengths = np.diff(matrix.indptr)
    counts = -(-lengths // _WIDTH)
    first = np.append(0, np.cumsum(counts))
    num_segments = int(first[-1])
    columns = np.zeros((num_segments + 1) * _WIDTH, np.int32)
    values = np.zeros((num_segments + 1) * _WIDTH, dtype)
    places = np.repeat(first[:-1] * _WIDTH - matrix.indptr[:-1], lengths) + np.arange(matrix.nnz)
    columns[places], values[places] = matrix.indices, matrix.data
    row = np.repeat(np.arange(matrix.shape[0]), counts)
    return Segments(
        columns=jnp.asarray(columns.reshape(-1, _WIDTH)),
        values=jnp.asarray(values.reshape(-1, _WIDTH)),
        row=jnp.asarray(np.append(row, max(matrix.shape[0] - 1, 0)), jnp.int32),
        num_rows=matrix.shape[0],
    ), first


@eqx.filter_custom_vjp
def _product(weights, rows):
    """Returns rows @ weights; its derivative is a product, too, where that of a gather would add number by number."""
    return rows.product(weights)


@_product.def_fwd
def _product_forward(perturbed, weights, rows):
    del perturbed
    return rows.product(weights), None


@_product.def_bwd
def _product_backward(residuals, factors, perturbed, weights, rows):
    del residuals, perturbed
    return rows.transposed_product(factors).astype(weights.dtype)


def _products(
    columns: Int[Array, "S 16"], values: Float[Array, "S 16"], weights: Float[Array, "d *C"]
) -> Float[Array, "S *C"]:
    """Returns the product of each segment with the weights."""
    picked = weights.at[columns].get(mode="promise_in_bounds")
    terms = values.reshape(*values.shape, *[1] * (weights.ndim - 1)) * picked
    # Halves are added to each other: XLA:CPU takes several times as long to sum what it gathers over a short axis.
    while terms.shape[1] > 1:
        half = terms.shape[1] // 2
        terms = terms[:, :half] + terms[:, half:]
    return terms[:, 0]


def _stored(x: Array) -> Array:
    """Returns ``x``. XLA:CPU stores what a scatter returns; else it computes an entry anew each time it is gathered."""
    return jnp.zeros_like(x).at[jnp.arange(len(x))].set(x, unique_indices=True, indices_are_sorted=True)


def _add(total: Float[Array, "N *C"], place: Int[Array, " S"], products: Float[Array, "S *C"]) -> Float[Array, "N *C"]:
    """Returns ``total`` with each product added to its place; places are sorted."""
    return total.at[place].add(products, mode="promise_in_bounds", indices_are_sorted=True)
