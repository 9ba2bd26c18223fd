"""The regret of an APAM run and its bound, both measured: the certificate of the convex theorem."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Int, PyTree

from asyncopt.engine import measure
from asyncopt.engine.observing import ObservesApam, ObservesProblem, ratio, scale_of
from asyncopt.engine.state import LoopState

# Rounding errors of a sum are expected below this many units in the last place of its entries' sizes.
_UNITS = 8.0


class RegretTerms(NamedTuple):
    """Sums over the updates so far. x* is the minimiser; the other symbols are those of ``docs/theory.md``."""

    regret: Float[Array, ""]  # Σ ⟨g_k, x_k - x*⟩
    bound: Float[Array, ""]  # right side of (1a) less c ⟨m_K, x_{K+1} - x*⟩, for the updates that are complete
    rounding: Float[Array, ""]  # how far rounding can move the two apart
    broken_at: Int[Array, ""]  # the first update after which the regret exceeds its bound, or -1
    previous: PyTree  # x_{k-1}


class RegretColumns(NamedTuple):
    """What is recorded at an evaluation after K updates."""

    regret: Float[Array, ""]
    regret_bound: Float[Array, ""]  # right side of (1a)
    regret_last_distance: Float[Array, ""]  # ‖x_{K+1} - x*‖² / (2 a_K) in the norm of V_K; (1b) is (1a) plus this
    regret_rounding: Float[Array, ""]
    regret_broken_at: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class RegretProbe(ObservesProblem, ObservesApam):
    """Records Σ ⟨g_k, x_k - x*⟩ and its bound (1a) in ``docs/theory.md``, and compares them after every update.

    The bound holds for every run of APAM on any closed convex set, without expectations. So a run that breaks it was
    not made by APAM, or not measured rightly.

    The ``minimiser`` of the problem is x*.
    """

    def init(self, params: PyTree, optimizer_state: PyTree) -> RegretTerms:
        """See `asyncopt.engine.probes.Probe`."""
        zero = self.zero(params, optimizer_state)
        return RegretTerms(zero, zero, zero, jnp.full((), -1, jnp.int32), params)

    def observe(
        self, terms: RegretTerms, k: Int[Array, ""], before: LoopState, stale: PyTree, gradient: PyTree
    ) -> RegretTerms:
        """See `asyncopt.engine.probes.Probe`."""
        del stale
        terms, _ = self._complete(terms, k - 1, before)
        step = measure.dot(gradient, measure.difference(before.params, self.problem.minimiser))
        return terms._replace(regret=terms.regret + step.astype(terms.regret.dtype))

    def evaluate(self, terms: RegretTerms, state: LoopState) -> RegretColumns:
        """See `asyncopt.engine.probes.Probe`."""
        last = self.read(state.optimizer_state)
        terms, edge = self._complete(terms, last.amsgrad.count - 1, state)
        distance = measure.difference(state.params, self.problem.minimiser)
        weighted = measure.total_of(lambda v, d: v * d**2, scale_of(last), distance) / (2 * last.step_size)
        return RegretColumns(
            terms.regret, terms.bound + edge, weighted, terms.rounding, terms.broken_at.astype(terms.regret.dtype)
        )

    def _complete(self, terms: RegretTerms, k: Array, after: LoopState) -> tuple[RegretTerms, Array]:
        """Adds what update k contributed to the bound, once its iterate is known, and compares.

        Before the first update all of it is zero. Returns the terms, and c ⟨m_K, x_{K+1} - x*⟩. In (1a) this and one
        more term of a sum, ⟨m_K, x_K - x_{K+1}⟩, make up ⟨m_K, x_K - x*⟩.
        """
        state = self.read(after.optimizer_state)
        dtype, momentum, scale = terms.bound.dtype, state.amsgrad.mu, scale_of(state)
        alpha, carried = state.step_size.astype(dtype), state.momentum_factor.astype(dtype)

        def contribution(m, v, x, y, d):
            """Returns what one coordinate adds to the sums of (1a), to ⟨m_K, x_{K+1} - x*⟩, and to rounding errors.

            x to y is the step, and d = y - x*. An iterate is rounded to its own size, however short the step; the bound
            weights that error with V d / a.
            """
            moved = x - y
            sums = weight * v * moved * (2 * d + moved) + m * (alpha / 2 * ratio(m, v) + carried * moved)
            return sums, m * d, jnp.abs(v * d * y) * _unit(y.dtype)

        weight = 1 / (2 * alpha)  # one division, not one for each coordinate
        distance = measure.difference(after.params, self.problem.minimiser)
        parts = (momentum, scale, terms.previous, after.params, distance)
        contributions = measure.over_coordinates(contribution, *parts, by=(measure.SUM,) * 3)
        added, last, size = (total.astype(dtype) for total in contributions)
        edge = carried * last
        bound = terms.bound + added
        sums = _unit(dtype) * (jnp.abs(terms.regret) + jnp.abs(bound) + jnp.abs(edge))
        rounding = terms.rounding + sums + size / alpha
        broken = (terms.broken_at < 0) & (terms.regret > bound + edge + rounding)
        broken_at = jnp.where(broken, k, terms.broken_at).astype(jnp.int32)
        return RegretTerms(terms.regret, bound, rounding, broken_at, after.params), edge


def _unit(dtype: DTypeLike) -> float:
    return _UNITS * float(jnp.finfo(dtype).eps)
