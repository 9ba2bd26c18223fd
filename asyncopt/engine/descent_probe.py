"""What the tighter non-convex bound needs: weighted sums of squares over an APAM run without a constraint."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from asyncopt.engine import measure
from asyncopt.engine.observing import ObservesApam, largest, ratio, scale_of, smallest
from asyncopt.engine.state import LoopState


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
class DescentProbe(ObservesApam):
    """Records what bound (4b) in ``docs/theory.md`` needs, for APAM without a constraint."""

    def init(self, params: PyTree, optimizer_state: PyTree) -> DescentTerms:
        """See `asyncopt.engine.probes.Probe`."""
        zero, still = self.zero(params, optimizer_state), measure.difference(params, params)
        return DescentTerms(zero, zero, zero, zero, params, still, scale_of(self.read(optimizer_state)))

    def observe(
        self, terms: DescentTerms, k: Int[Array, ""], before: LoopState, stale: PyTree, gradient: PyTree
    ) -> DescentTerms:
        """See `asyncopt.engine.probes.Probe`."""
        del k, gradient
        state = self.read(before.optimizer_state)
        terms = self._complete(terms, before)
        weight, carried = largest(terms.scale), state.momentum_factor
        spread = (weight / smallest(terms.scale)).astype(terms.read.dtype)
        return terms._replace(
            read=terms.read + spread * measure.drift(before.params, stale),
            lag=terms.lag + spread * carried**2 * measure.dot(terms.step, terms.step),
        )

    def evaluate(self, terms: DescentTerms, state: LoopState) -> DescentColumns:
        """See `asyncopt.engine.probes.Probe`."""
        last = self.read(state.optimizer_state)
        terms = self._complete(terms, state)
        ahead = last.momentum_factor * jnp.sqrt(measure.dot(terms.step, terms.step))
        sums = (terms.moved, terms.errors, terms.read, terms.lag)
        return DescentColumns(*sums, largest(terms.scale).astype(terms.moved.dtype), ahead)

    def _complete(self, terms: DescentTerms, after: LoopState) -> DescentTerms:
        """Adds what the last update contributed, once its iterate is known; before the first update, nothing."""
        state = self.read(after.optimizer_state)
        scale, carried, dtype = scale_of(state), state.momentum_factor, terms.moved.dtype
        step = measure.difference(after.params, terms.previous)
        weight = largest(terms.scale).astype(dtype)

        def error(m, old, new):
            """Adds V_{k-1} ((1/V_{k-1} - 1/V_k) m_k)², coordinate by coordinate."""
            return old * (ratio(m, old) - ratio(m, new)) ** 2

        moved = measure.total_of(lambda s, before: ((1 + carried) * s - carried * before) ** 2, step, terms.step)
        errors = ((1 + carried) * state.step_size) ** 2 * measure.total_of(error, state.amsgrad.mu, terms.scale, scale)
        return terms._replace(
            moved=terms.moved + weight * moved.astype(dtype),
            errors=terms.errors + weight * errors.astype(dtype),
            previous=after.params,
            step=step,
            scale=scale,
        )
