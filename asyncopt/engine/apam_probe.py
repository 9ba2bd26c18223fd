"""What the convergence bounds of APAM need to know about a run."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from asyncopt.engine import measure
from asyncopt.engine.observing import ObservesApam, ratio, scale_of
from asyncopt.engine.state import LoopState
from asyncopt.optim import ApamState


class ApamTerms(NamedTuple):
    """Sums and maxima over the updates so far.

    m, v̂, V = √v̂ + ε, α as in `asyncopt.optim.apam`; g the (stale) gradient.
    """

    scaled_momentum_sum: Float[Array, ""]  # Σ_k α_k Σ_i m_{k,i}² / V_{k,i}
    scaled_gradient_sum: Float[Array, ""]  # Σ_k ‖g_k / V_{k-1}‖², inf while ε = 0 and a V is zero
    scaled_momentum_max: Float[Array, ""]  # max_k ‖m_k / V_k‖
    gradient_max: Float[Array, ""]  # max_k ‖g_k‖_∞


class ApamColumns(NamedTuple):
    """What is recorded at an evaluation after K updates: `ApamTerms`, and what depends on the last update alone."""

    scaled_momentum_sum: Float[Array, ""]
    scaled_gradient_sum: Float[Array, ""]
    scaled_momentum_max: Float[Array, ""]
    gradient_max: Float[Array, ""]
    scale_l1: Float[Array, ""]  # Σ_i V_{K,i}
    momentum_l1: Float[Array, ""]  # ‖m_K‖_1
    step_size: Float[Array, ""]  # α_K


@dataclasses.dataclass(frozen=True)
class ApamProbe(ObservesApam):
    """Records what the bounds in ``docs/theory.md`` need."""

    def init(self, params: PyTree, optimizer_state: PyTree) -> ApamTerms:
        """See `asyncopt.engine.probes.Probe`."""
        return ApamTerms(*[self.zero(params, optimizer_state)] * len(ApamTerms._fields))

    def observe(
        self, terms: ApamTerms, k: Int[Array, ""], before: LoopState, stale: PyTree, gradient: PyTree
    ) -> ApamTerms:
        """See `asyncopt.engine.probes.Probe`."""
        del k, stale
        state = self.read(before.optimizer_state)
        terms = _add_step(terms, state)
        dtype = terms.gradient_max.dtype
        scaled, largest = measure.over_coordinates(
            lambda g, v: (ratio(g, v) ** 2, jnp.abs(g)), gradient, scale_of(state), by=(measure.SUM, measure.LARGEST)
        )
        return terms._replace(
            scaled_gradient_sum=terms.scaled_gradient_sum + scaled.astype(dtype),
            gradient_max=jnp.maximum(terms.gradient_max, largest.astype(dtype)),
        )

    def evaluate(self, terms: ApamTerms, state: LoopState) -> ApamColumns:
        """See `asyncopt.engine.probes.Probe`."""
        last = self.read(state.optimizer_state)
        return ApamColumns(
            *_add_step(terms, last),
            optax.tree.sum(scale_of(last)),
            optax.tree.sum(jax.tree.map(jnp.abs, last.amsgrad.mu)),
            last.step_size,
        )


def _add_step(terms: ApamTerms, state: ApamState) -> ApamTerms:
    """Returns the terms plus what the update that produced ``state`` adds; before the first update, nothing.

    The loop calls this one update late, on the state that it carries. If it read moments within the update
    that computes them, XLA would fuse and round that update differently. Measuring would then change the run.
    """
    momentum, scale = state.amsgrad.mu, scale_of(state)
    dtype = terms.gradient_max.dtype
    square_sum, square = measure.over_coordinates(
        lambda m, v: (m * ratio(m, v), ratio(m, v) ** 2), momentum, scale, by=(measure.SUM, measure.SUM)
    )
    return terms._replace(
        scaled_momentum_sum=terms.scaled_momentum_sum + state.step_size.astype(dtype) * square_sum.astype(dtype),
        scaled_momentum_max=jnp.maximum(terms.scaled_momentum_max, jnp.sqrt(square).astype(dtype)),
    )
