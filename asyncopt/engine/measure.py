"""What is measured inside the compiled loop: the drift, and the sums in the a-posteriori bounds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PyTree

from asyncopt.optim import WRAPPER_STATES, ApamState

_LANES = 64


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

    None, too, where there are several, it sees only part of the parameters, or its steps are changed for their delay:
    the bounds are about one method on the whole vector.
    """
    kept_whole = (ApamState, *WRAPPER_STATES)
    leaves = jax.tree.leaves(optimizer_state, is_leaf=lambda leaf: isinstance(leaf, kept_whole))
    found = [leaf for leaf in leaves if isinstance(leaf, ApamState)]
    if len(found) != 1 or jax.tree.structure(found[0].amsgrad.mu) != jax.tree.structure(params):
        return None
    return found[0]


def no_terms(dtype: Any) -> BoundTerms:
    """Returns the terms before the first update."""
    return BoundTerms(*(jnp.zeros((), dtype) for _ in BoundTerms._fields))


def add_state(terms: BoundTerms, state: ApamState) -> BoundTerms:
    """Returns the terms with what the update that left ``state`` adds through its step; before the first, nothing.

    The loop calls this one update late, on the state that it carries. Were it to look at moments in the update
    that makes them, XLA would fuse and round that update differently, and measuring would change the run.
    """
    momentum, scale = state.amsgrad.mu, _scale(state)
    dtype = terms.gradient_max.dtype
    square_sum = _sum(lambda m, v: m * _ratio(m, v), momentum, scale).astype(dtype)
    size = jnp.sqrt(_sum(lambda m, v: _ratio(m, v) ** 2, momentum, scale)).astype(dtype)
    return terms._replace(
        scaled_momentum_sum=terms.scaled_momentum_sum + state.step_size.astype(dtype) * square_sum,
        scaled_momentum_max=jnp.maximum(terms.scaled_momentum_max, size),
    )


def add_gradient(terms: BoundTerms, before: ApamState, gradient: PyTree) -> BoundTerms:
    """Returns the terms with what a gradient adds, given the state before its update."""
    dtype = terms.gradient_max.dtype
    scaled = _sum(lambda g, v: _ratio(g, v) ** 2, gradient, _scale(before)).astype(dtype)
    largest = jax.tree.reduce(jnp.maximum, jax.tree.map(lambda g: jnp.max(jnp.abs(g)), gradient))
    return terms._replace(
        scaled_gradient_sum=terms.scaled_gradient_sum + scaled,
        gradient_max=jnp.maximum(terms.gradient_max, largest.astype(dtype)),
    )


def last_terms(state: ApamState) -> LastTerms:
    """Returns the terms that depend on the state alone."""
    return LastTerms(
        optax.tree.sum(_scale(state)),
        optax.tree.sum(jax.tree.map(jnp.abs, state.amsgrad.mu)),
        state.step_size,
    )


def drift(newest: PyTree, stale: PyTree) -> Float[Array, ""]:
    """Returns ‖newest - stale‖², float32 at least: inf if it overflows, NaN only if an entry is not finite.

    The zero product is what tells the two apart, in the same pass over the data: 0 · ∞ is NaN.
    """

    def leaf_drift(x, y):
        x, y = wide(x), wide(y)
        terms = ((x - y) ** 2 + 0 * x).ravel()
        # Partial sums side by side, one for each lane: of a vector XLA adds one entry after another.
        whole = terms.size // _LANES * _LANES
        return jnp.sum(jnp.sum(terms[:whole].reshape(-1, _LANES), axis=0)) + jnp.sum(terms[whole:])

    return optax.tree.sum(jax.tree.map(leaf_drift, newest, stale))


def norm_sq(tree: PyTree) -> Float[Array, ""]:
    """Returns ‖tree‖², float32 at least."""
    return optax.tree.norm(jax.tree.map(wide, tree), squared=True)


def wide(x: Array) -> Array:
    """Returns an array as float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _scale(state: ApamState) -> PyTree:
    return jax.tree.map(lambda v: jnp.sqrt(v) + state.eps.astype(v.dtype), state.amsgrad.nu_max)


def _sum(term: Callable[..., Array], *trees: PyTree) -> Float[Array, ""]:
    """Returns the sum of ``term`` over all coordinates."""
    return optax.tree.sum(jax.tree.map(lambda *leaves: jnp.sum(term(*leaves)), *trees))


def _ratio(numerator: Array, scale: Array) -> Array:
    """Returns numerator / scale with 0 / 0 := 0."""
    return jnp.where(numerator == 0, 0, numerator / scale)
