"""The steps of the proofs that need the full gradient, measured in every update.

These probes take one or three full gradients in each update, so they are for small problems. They record both sides of
each inequality, and the noise that the proofs average away.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from asyncopt.engine import measure
from asyncopt.engine.observing import ObservesApam, ObservesProblem, largest, scale_of, zero
from asyncopt.engine.state import LoopState

# Rounding errors of an inequality are expected below this many units in the last place of the sum of its parts' sizes.
_UNITS = 64.0


class ConvexChainTerms(NamedTuple):
    """Sums over the updates so far."""

    gaps: Float[Array, ""]  # Σ F(x_k) - F*
    stale_regret: Float[Array, ""]  # Σ ⟨∇F(y_k), x_k - x*⟩
    curvature: Float[Array, ""]  # Σ F(x_k) - F(y_k) - ⟨∇F(y_k), x_k - y_k⟩
    noise_square: Float[Array, ""]  # Σ ⟨∇F(y_k) - g_k, x_k - x*⟩²
    broken_at: Int[Array, ""]  # the first update that breaks the inequality of step 2, or -1


class ConvexChainColumns(NamedTuple):
    """What is recorded at an evaluation, as in `ConvexChainTerms`."""

    gap_sum: Float[Array, ""]
    stale_regret: Float[Array, ""]
    curvature_sum: Float[Array, ""]
    regret_noise_square: Float[Array, ""]
    stale_broken_at: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class ConvexChainProbe(ObservesProblem):
    """Records step 2 of the convex proof, F(x_k) - F* ≤ ⟨∇F(y_k), x_k - x*⟩ + (L/2) ‖x_k - y_k‖², in every update."""

    def init(self, params: PyTree, optimizer_state: PyTree) -> ConvexChainTerms:
        """See `asyncopt.engine.probes.Probe`."""
        del optimizer_state
        return ConvexChainTerms(*[zero(params)] * 4, broken_at=jnp.full((), -1, jnp.int32))

    def observe(
        self, terms: ConvexChainTerms, k: Int[Array, ""], before: LoopState, stale: PyTree, gradient: PyTree
    ) -> ConvexChainTerms:
        """See `asyncopt.engine.probes.Probe`."""
        problem, dtype = self.problem, terms.gaps.dtype
        newest = problem.objective(before.params)
        gap = (newest - problem.optimum).astype(dtype)
        value, full = jax.value_and_grad(problem.objective)(stale)
        distance = measure.difference(before.params, problem.minimiser)
        linear, used = measure.dot(full, distance).astype(dtype), measure.dot(gradient, distance).astype(dtype)
        bent = (newest - value).astype(dtype) - measure.dot(full, measure.difference(before.params, stale)).astype(
            dtype
        )
        curved = (problem.constants.smoothness / 2 * measure.drift(before.params, stale)).astype(dtype)
        sizes = jnp.abs(gap) + jnp.abs(linear) + curved + abs(problem.optimum)
        broken = exceeds(gap, linear + curved, sizes)
        return ConvexChainTerms(
            gaps=terms.gaps + gap,
            stale_regret=terms.stale_regret + linear,
            curvature=terms.curvature + bent,
            noise_square=terms.noise_square + (linear - used) ** 2,
            broken_at=first(terms.broken_at, broken, k),
        )

    def evaluate(self, terms: ConvexChainTerms, state: LoopState) -> ConvexChainColumns:
        """See `asyncopt.engine.probes.Probe`."""
        del state
        return ConvexChainColumns(*terms[:-1], terms.broken_at.astype(terms.gaps.dtype))


class DescentChainTerms(NamedTuple):
    """Sums over the updates so far, all but the first weighted by w_k, and what the next update needs."""

    gradients: Float[Array, ""]  # Σ ‖∇F(x_k)‖²
    weighted: Float[Array, ""]  # Σ w_k ‖∇F(x_k)‖²_P
    inner: Float[Array, ""]  # Σ w_k ⟨∇F(z_k), P ∇F(y_k)⟩
    near: Float[Array, ""]  # Σ w_k (‖∇F(z_k) - ∇F(x_k)‖²_P + ‖∇F(y_k) - ∇F(x_k)‖²_P)
    noise: Float[Array, ""]  # Σ w_k ⟨∇F(z_k), P (∇F(y_k) - g_k)⟩
    noise_square: Float[Array, ""]  # the sum of the squares of these
    errors: Float[Array, ""]  # Σ w_k ⟨∇F(z_k), e_k⟩, for the updates that are complete
    potential: Float[Array, ""]  # Σ w_k (F(z_k) - F(z_{k+1})), for the updates that are complete
    broken_at: Int[Array, ""]  # the first update that breaks the descent inequality, or -1
    previous: PyTree  # x_{k-1}
    ahead: PyTree  # z_{k-1}
    slope: PyTree  # ∇F(z_{k-1})
    value: Float[Array, ""]  # F(z_{k-1})
    used: Float[Array, ""]  # ⟨∇F(z_{k-1}), P g_{k-1}⟩
    weight: Float[Array, ""]  # w_{k-1}


class DescentChainColumns(NamedTuple):
    """What is recorded at an evaluation, as in `DescentChainTerms`."""

    chain_gradients: Float[Array, ""]
    chain_weighted: Float[Array, ""]
    chain_inner: Float[Array, ""]
    chain_near: Float[Array, ""]
    chain_noise: Float[Array, ""]
    chain_noise_square: Float[Array, ""]
    chain_errors: Float[Array, ""]
    chain_potential: Float[Array, ""]
    descent_broken_at: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class DescentChainProbe(ObservesProblem, ObservesApam):
    """Records every step of the non-convex proof, with what was measured in place of each expectation.

    In every update it checks the descent inequality F(z_{k+1}) ≤ F(z_k) + ⟨∇F(z_k), z_{k+1} - z_k⟩ +
    (L/2) ‖z_{k+1} - z_k‖².
    """

    def init(self, params: PyTree, optimizer_state: PyTree) -> DescentChainTerms:
        """See `asyncopt.engine.probes.Probe`."""
        zero, still = self.zero(params, optimizer_state), measure.difference(params, params)
        return DescentChainTerms(
            gradients=zero, weighted=zero, inner=zero, near=zero, noise=zero, noise_square=zero, errors=zero,
            potential=zero, broken_at=jnp.full((), -1, jnp.int32), previous=params,
            ahead=jax.tree.map(measure.wide, params), slope=still, value=zero, used=zero, weight=zero,
        )  # fmt: skip

    def observe(
        self, terms: DescentChainTerms, k: Int[Array, ""], before: LoopState, stale: PyTree, gradient: PyTree
    ) -> DescentChainTerms:
        """See `asyncopt.engine.probes.Probe`."""
        dtype, gradient_of = terms.inner.dtype, jax.grad(self.problem.objective)
        terms, value, slope = self._complete(terms, k - 1, before)
        scale = scale_of(self.read(before.optimizer_state))
        newest, read = gradient_of(before.params), gradient_of(stale)
        weight = largest(scale).astype(dtype)

        def scaled(a, b):
            return measure.total_of(lambda x, y, v: measure.wide(x) * y / v, a, b, scale).astype(dtype)

        here, there = measure.difference(slope, newest), measure.difference(read, newest)
        inner, used = scaled(slope, read), scaled(slope, gradient)
        return terms._replace(
            gradients=terms.gradients + measure.dot(newest, newest).astype(dtype),
            weighted=terms.weighted + weight * scaled(newest, newest),
            inner=terms.inner + weight * inner,
            near=terms.near + weight * (scaled(here, here) + scaled(there, there)),
            noise=terms.noise + weight * (inner - used),
            noise_square=terms.noise_square + (weight * (inner - used)) ** 2,
            slope=slope,
            value=value,
            used=used,
            weight=weight,
        )

    def evaluate(self, terms: DescentChainTerms, state: LoopState) -> DescentChainColumns:
        """See `asyncopt.engine.probes.Probe`."""
        count = self.read(state.optimizer_state).amsgrad.count
        terms, _, _ = self._complete(terms, count - 1, state)
        return DescentChainColumns(*terms[:8], terms.broken_at.astype(terms.inner.dtype))

    def _complete(
        self, terms: DescentChainTerms, k: Array, after: LoopState
    ) -> tuple[DescentChainTerms, Float[Array, ""], PyTree]:
        """Adds what update k contributed, once its iterate is known; returns also F and ∇F at the new z.

        Before the first update the weight is zero, so nothing is added.
        """
        state = self.read(after.optimizer_state)
        dtype, carried = terms.inner.dtype, state.momentum_factor
        step = measure.difference(after.params, terms.previous)
        ahead = jax.tree.map(lambda x, s: x + carried * s, after.params, step)
        moved = measure.difference(ahead, terms.ahead)
        # In the parameters' own dtype, as the objective expects them.
        point = jax.tree.map(lambda z, x: z.astype(x.dtype), ahead, after.params)
        value, slope = jax.value_and_grad(self.problem.objective)(point)
        value, linear = value.astype(dtype), measure.dot(terms.slope, moved).astype(dtype)
        curved = (self.problem.constants.smoothness / 2 * measure.dot(moved, moved)).astype(dtype)
        sizes = jnp.abs(value) + jnp.abs(terms.value) + jnp.abs(linear) + curved
        broken = (terms.weight > 0) & exceeds(value, terms.value + linear + curved, sizes)
        error = linear + state.step_size.astype(dtype) * terms.used
        terms = terms._replace(
            errors=terms.errors + terms.weight * error,
            potential=terms.potential + terms.weight * (terms.value - value),
            broken_at=first(terms.broken_at, broken, k),
            previous=after.params,
            ahead=jax.tree.map(measure.wide, ahead),
        )
        return terms, value, slope


def exceeds(left: Array, right: Array, sizes: Array) -> Array:
    """Whether the left side is larger by more than rounding; ``sizes`` is the sum of the sizes of all parts."""
    return left > right + _UNITS * jnp.finfo(left.dtype).eps * sizes


def first(before: Int[Array, ""], broken: Array, k: Array) -> Int[Array, ""]:
    """Returns the first broken update, or -1: ``before`` if there was one, else k if it is broken."""
    return jnp.where((before < 0) & broken, k, before).astype(jnp.int32)
