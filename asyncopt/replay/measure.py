"""What is measured inside the compiled loop: the drift, and the sums in the a-posteriori bounds."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from asyncopt.optim import ApamState


class BoundTerms(NamedTuple):
    """What a run must know of itself to evaluate the convergence bounds; sums and maxima over updates so far.

    m, v̂, V = √v̂ + ε, α as in `asyncopt.optim.apam`; g the (stale) gradient.
    """

    scaled_momentum_sum: Float[Array, ""]  # Σ_k α_k Σ_i m_{k,i}² / V_{k,i}
    scaled_gradient_sum: Float[Array, ""]  # Σ_k ‖g_k / V_{k-1}‖², inf while ε = 0 and a V is zero
    scaled_momentum_max: Float[Array, ""]  # max_k ‖m_k / V_k‖
    gradient_max: Float[Array, ""]  # max_k ‖g_k‖_∞


class LastTerms(NamedTuple):
    """The parts of the bounds that only the last update enters."""

    scale_l1: Float[Array, ""]  # Σ_i V_{K,i}
    momentum_l1: Float[Array, ""]  # ‖m_K‖_1
    step_size: Float[Array, ""]  # α_K


def find_apam_state(optimizer_state: PyTree, params: PyTree) -> ApamState | None:
    """Returns the one `ApamState` over all of ``params`` inside an optimizer's state, or None.

    None, too, where there are several or it sees only part of the parameters: the bounds are about one method
    on the whole vector.
    """
    leaves = jax.tree.leaves(optimizer_state, is_leaf=lambda leaf: isinstance(leaf, ApamState))
    found = [leaf for leaf in leaves if isinstance(leaf, ApamState)]
    if len(found) != 1 or jax.tree.structure(found[0].amsgrad.mu) != jax.tree.structure(params):
        return None
    return found[0]


def no_terms(dtype: Any) -> BoundTerms:
    """Returns the terms before the first update."""
    return BoundTerms(*(jnp.zeros((), dtype) for _ in BoundTerms._fields))


def add_update(terms: BoundTerms, before: ApamState, after: ApamState, gradient: PyTree) -> BoundTerms:
    """Returns the terms after one more update."""
    old_scale, new_scale = _scale(before), _scale(after)
    momentum = after.amsgrad.mu
    dtype = terms.gradient_max.dtype
    alpha = after.step_size.astype(dtype)

    def total(term, *trees):
        return optax.tree.sum(jax.tree.map(lambda *leaves: jnp.sum(term(*leaves).astype(dtype)), *trees))

    momentum_square = total(lambda m, v: _ratio(m, v) ** 2, momentum, new_scale)
    largest = jax.tree.reduce(jnp.maximum, jax.tree.map(lambda g: jnp.max(jnp.abs(g)), gradient))
    return BoundTerms(
        scaled_momentum_sum=terms.scaled_momentum_sum
        + alpha * total(lambda m, v: m * _ratio(m, v), momentum, new_scale),
        scaled_gradient_sum=terms.scaled_gradient_sum
        + total(lambda g, v: _ratio(g, v) ** 2, gradient, old_scale),
        scaled_momentum_max=jnp.maximum(terms.scaled_momentum_max, jnp.sqrt(momentum_square)),
        gradient_max=jnp.maximum(terms.gradient_max, largest.astype(dtype)),
    )


def last_terms(state: ApamState) -> LastTerms:
    """Returns the terms that depend on the state alone."""
    return LastTerms(
        optax.tree.sum(_scale(state)), optax.tree.sum(jax.tree.map(jnp.abs, state.amsgrad.mu)), state.step_size
    )


def drift(newest: PyTree, stale: PyTree) -> Float[Array, ""]:
    """Returns ‖newest - stale‖², float32 at least: inf if it overflows, NaN only if an entry is not finite.

    The zero product is what tells the two apart, in the same pass over the data: 0 · ∞ is NaN.
    """

    def leaf_drift(x, y):
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return jnp.sum((x.astype(wide) - y.astype(wide)) ** 2 + 0 * x.astype(wide))

    return optax.tree.sum(jax.tree.map(leaf_drift, newest, stale))


def _scale(state: ApamState) -> PyTree:
    return jax.tree.map(lambda v: jnp.sqrt(v) + state.eps.astype(v.dtype), state.amsgrad.nu_max)


def _ratio(numerator: Array, scale: Array) -> Array:
    """Returns numerator / scale with 0 / 0 := 0."""
    return jnp.where(numerator == 0, 0, numerator / scale)
