"""Sums over all rows of a data set, a part of them at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def sums_in_parts(part_sums: Callable[[PyTree[Array]], Array], rows: PyTree[Array], at_once: int) -> Array:
    """Returns the sums over all rows, from so many rows at a time: what they take in between fits into memory then.

    Args:
      part_sums: a function of some rows that returns their sums.
      rows: arrays whose first axis has the rows.
      at_once: the number of rows of a part, but for the last.
    """
    # For a gradient, a part is computed again: what it takes in between would be kept for all parts otherwise.
    part_sums = jax.checkpoint(part_sums)
    number = len(jax.tree.leaves(rows)[0])
    size = min(at_once, number)
    whole = number // size * size
    parts = jax.tree.map(lambda x: x[:whole].reshape(-1, size, *x.shape[1:]), rows)
    sums = jnp.sum(jax.lax.map(part_sums, parts), axis=0)
    if whole < number:
        sums += part_sums(jax.tree.map(lambda x: x[whole:], rows))
    return sums
