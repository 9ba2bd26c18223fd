"""What every run measures inside the compiled loop: drift, norms, and how wide numbers are when they are summed."""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

_LANES = 64
_ROW = 128
_CACHED = 1 << 15  # entries

# How values of coordinates are combined, and the value of no coordinate.
SUM = (jnp.add, 0.0)
LARGEST = (jnp.maximum, -jnp.inf)
SMALLEST = (jnp.minimum, jnp.inf)


def drift(newest: PyTree, stale: PyTree) -> Float[Array, ""]:
    """Returns ‖newest - stale‖², float32 at least: inf if it overflows, NaN only if an entry is not finite.

    The product with zero tells the two apart, in the same pass over the data: 0 · ∞ is NaN.
    """

    def leaf_drift(x, y):
        x, y = wide(x), wide(y)
        return total((x - y) ** 2 + 0 * x)

    return optax.tree.sum(jax.tree.map(leaf_drift, newest, stale))


def next_mean(mean: Array, x: Array, weight: Float[Array, ""]) -> Array:
    """Returns a running mean after one more value, which has this weight.

    It is taken along one axis: of several, XLA vectorises the last alone, and that of a matrix of weights is short.
    """
    flat = mean.ravel()
    return (flat + (x.ravel() - flat) * weight.astype(mean.dtype)).reshape(mean.shape)


def total(entries: Array) -> Float[Array, ""]:
    """Returns the sum of all entries, in partial sums side by side: XLA adds a vector's entries one after another."""
    terms = entries.ravel()
    # A rest of one entry is no sum to XLA. It would compute the entry anew wherever the total is used, also after the
    # new iterate is written, and so copy the history in every update.
    lanes = next((number for number in range(_LANES, 0, -8) if terms.size % number != 1), _LANES)
    whole = terms.size // lanes * lanes
    return jnp.sum(jnp.sum(terms[:whole].reshape(-1, lanes), axis=0)) + jnp.sum(terms[whole:])


def total_of(term: Callable[..., Array], *trees: PyTree) -> Float[Array, ""]:
    """Returns the sum of ``term`` over all coordinates, float32 at least."""
    return over_coordinates(lambda *leaves: (term(*leaves),), *trees, by=(SUM,))[0]


def over_coordinates(term: Callable[..., tuple[Array, ...]], *trees: PyTree, by: Sequence) -> list[Float[Array, ""]]:
    """Returns several sums, maxima or minima over all coordinates, in one pass over the data, float32 at least.

    Args:
      term: returns a tuple of arrays of a leaf's shape, given the leaf of each tree.
      trees: trees of one structure and the same shapes.
      by: `SUM`, `LARGEST` or `SMALLEST` for each value of ``term``.
    """
    leaves = zip(*map(jax.tree.leaves, trees), strict=True)
    values = [_reduced([wide(value).ravel() for value in term(*leaf)], by) for leaf in leaves]
    return [functools.reduce(combine, parts) for (combine, _), *parts in zip(by, *values, strict=True)]


def _reduced(vectors: Sequence[Array], by: Sequence) -> Sequence[Array]:
    """Reduces vectors of one length together, row by row: XLA reads what they share once, and rounding stays small."""

    def reduce(operands, axis):
        return jax.lax.reduce(
            tuple(operands),
            tuple(jnp.asarray(empty, operand.dtype) for operand, (_, empty) in zip(operands, by, strict=True)),
            lambda xs, ys: tuple(combine(x, y) for x, y, (combine, _) in zip(xs, ys, by, strict=True)),
            (axis,),
        )

    # In a cache, entries side by side are fastest; beyond, entries in the order of memory.
    (width, axis) = (_LANES, 0) if vectors[0].size <= _CACHED else (_ROW, 1)
    whole = vectors[0].size // width * width
    if not whole:
        return reduce(vectors, 0)
    # Without the barrier XLA would make one reduction of the two.
    parts = jax.lax.optimization_barrier(reduce([v[:whole].reshape(-1, width) for v in vectors], axis))
    return reduce([jnp.concatenate([part, v[whole:]]) for part, v in zip(parts, vectors, strict=True)], 0)


def difference(a: PyTree, b: PyTree) -> PyTree:
    """Returns a - b, float32 at least."""
    return jax.tree.map(lambda x, y: wide(x) - wide(jnp.asarray(y)), a, b)


def dot(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Returns ⟨a, b⟩, float32 at least."""
    return total_of(lambda x, y: wide(x) * y, a, b)


def norm_sq(tree: PyTree) -> Float[Array, ""]:
    """Returns ‖tree‖², float32 at least."""
    return optax.tree.norm(jax.tree.map(wide, tree), squared=True)


def wide(x: Array) -> Array:
    """Returns an array as float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
