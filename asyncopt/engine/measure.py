"""What every run measures inside the compiled loop: drift, norms, and how wide numbers are when they are summed."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

_LANES = 64


def drift(newest: PyTree, stale: PyTree) -> Float[Array, ""]:
    """Returns ‖newest - stale‖², float32 at least: inf if it overflows, NaN only if an entry is not finite.

    The product with zero tells the two apart, in the same pass over the data: 0 · ∞ is NaN.
    """

    def leaf_drift(x, y):
        x, y = wide(x), wide(y)
        return total((x - y) ** 2 + 0 * x)

    return optax.tree.sum(jax.tree.map(leaf_drift, newest, stale))


def total(entries: Array) -> Float[Array, ""]:
    """Returns the sum of all entries, in partial sums side by side: XLA adds a vector's entries one after another."""
    terms = entries.ravel()
    whole = terms.size // _LANES * _LANES
    return jnp.sum(jnp.sum(terms[:whole].reshape(-1, _LANES), axis=0)) + jnp.sum(terms[whole:])


def total_of(term: Callable[..., Array], *trees: PyTree) -> Float[Array, ""]:
    """Returns the sum of ``term`` over all coordinates, each leaf's by `total`."""
    return optax.tree.sum(jax.tree.map(lambda *leaves: total(term(*leaves)), *trees))


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
