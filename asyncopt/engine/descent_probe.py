"""What the tighter non-convex bound needs: weighted sums of squares over an APAM run without a constraint."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from asyncopt.engine import measure
from asyncopt.engine.apam_probe import ApamProbe, apam_state, itself, ratio, scale_of
from asyncopt.engine.regret_probe import difference, total
from asyncopt.engine.state import LoopState
from asyncopt.optim import ApamState


class DescentTerms(NamedTuple):
    """Sums over the updates so far, weighted by w_k = max_i V_{k-1,i}, and what the next update needs.

    The symbols are those of section 3 in ``docs/theory.md``: p_k = 1 / min_i V_{k-1,i}, z_k = x_k + c (x_k - x_{k-1}).
    """

    moved: Float[Array, ""]  # Σ w_k ‖z_{k+1} - z_k‖²
    errors: Float[Array, ""]  # Σ w_k ‖e_k‖² in the norm of V_{k-1}
    read: Float[Array, ""]  # Σ w_k p_k ‖x_k - y_k‖²
    lag: Float[Array, ""]  # Σ w_k p_k ‖z_k - x_k‖²
    previous: PyTree  # x_{k-1}
    step: PyTree  # x_{k-1} - x_{k-2}
    scale: PyTree  # V_{k-2}


class DescentColumns(NamedTuple):
    """What is recorded at an evaluation after K updates."""

    descent_moved: Float[Array, ""]
    descent_errors: Float[Array, ""]
    descent_read: Float[Array, ""]
    descent_lag: Float[Array, ""]
    scale_max: Float[Array, ""]  # w_{K+1}
    lag_last: Float[Array, ""]  # ‖z_{K+1} - x_{K+1}‖


@dataclasses.dataclass(frozen=True)
class DescentProbe:
    """Records what bound (4b) in ``docs/theory.md`` needs, for APAM without a constraint.

    Args:
      state_of: as in `asyncopt.engine.ApamProbe`.
    """

    state_of: Callable[[PyTree], ApamState] = itself

    def init(self, params: PyTree, optimizer_state: PyTree) -> DescentTerms:
        """See `asyncopt.engine.probes.Probe`."""
        ApamProbe(self.state_of).init(params, optimizer_state)  # refuses other states
        zero = jnp.zeros((), measure.drift(params, params).dtype)
        still = difference(params, params)
        return DescentTerms(zero, zero, zero, zero, params, still, scale_of(self.state_of(optimizer_state)))

    def observe(
        self, terms: DescentTerms, k: Int[Array, ""], before: LoopState, stale: PyTree, gradient: PyTree
    ) -> DescentTerms:
        """See `asyncopt.engine.probes.Probe`."""
        del k, gradient
        state = apam_state(self.state_of(before.optimizer_state))
        terms = self._complete(terms, before)
        weight, carried = largest(terms.scale), momentum_factor(state)
        spread = (weight / smallest(terms.scale)).astype(terms.read.dtype)
        return terms._replace(
            read=terms.read + spread * measure.drift(before.params, stale),
            lag=terms.lag + spread * carried**2 * norm_sq(terms.step),
        )

    def evaluate(self, terms: DescentTerms, state: LoopState) -> DescentColumns:
        """See `asyncopt.engine.probes.Probe`."""
        last = apam_state(self.state_of(state.optimizer_state))
        terms = self._complete(terms, state)
        ahead = momentum_factor(last) * jnp.sqrt(norm_sq(terms.step))
        sums = (terms.moved, terms.errors, terms.read, terms.lag)
        return DescentColumns(*sums, largest(terms.scale).astype(terms.moved.dtype), ahead)

    def _complete(self, terms: DescentTerms, after: LoopState) -> DescentTerms:
        """Adds what the last update contributed, once its iterate is known; before the first update, nothing."""
        state = apam_state(self.state_of(after.optimizer_state))
        scale, carried, dtype = scale_of(state), momentum_factor(state), terms.moved.dtype
        step = difference(after.params, terms.previous)
        weight = largest(terms.scale).astype(dtype)

        def error(m, old, new):
            """Adds V_{k-1} ((1/V_{k-1} - 1/V_k) m_k)², coordinate by coordinate."""
            return old * (ratio(m, old) - ratio(m, new)) ** 2

        moved = total(lambda s, before: ((1 + carried) * s - carried * before) ** 2, step, terms.step)
        factor = ((1 + carried) * state.step_size) ** 2
        return terms._replace(
            moved=terms.moved + weight * moved.astype(dtype),
            errors=terms.errors + weight * (factor * total(error, state.amsgrad.mu, terms.scale, scale)).astype(dtype),
            previous=after.params,
            step=step,
            scale=scale,
        )


def momentum_factor(state: ApamState) -> Float[Array, ""]:
    """Returns c = β1 / (1 - β1); then 1 / (1 - β1) = 1 + c."""
    return state.b1 / (1 - state.b1)


def norm_sq(tree: PyTree) -> Float[Array, ""]:
    """Returns ‖tree‖²."""
    return total(lambda x: x**2, tree)


def largest(scale: PyTree) -> Float[Array, ""]:
    """Returns max_i V_i."""
    return jax.tree.reduce(jnp.maximum, jax.tree.map(jnp.max, scale))


def smallest(scale: PyTree) -> Float[Array, ""]:
    """Returns min_i V_i."""
    return jax.tree.reduce(jnp.minimum, jax.tree.map(jnp.min, scale))
