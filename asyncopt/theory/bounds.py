r"""Upper bounds on what APAM reaches in K updates under delay, term by term.

Notation as in ``docs/theory.md``, where both are derived: K updates of constant step size a, which the theorems take
as a = α/√K; β1, β2, ε of the method; n coordinates; L the smoothness of F; G a bound on every coordinate of every
gradient; D the ℓ∞ diameter of X; τ_k the delay of update k; c = β1/(1 - β1).

*A priori* bounds need the constants and the trace. *A posteriori* bounds put in what a run measured, and are smaller.
All functions take numbers or arrays that broadcast, and return arrays of that shape.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

Array = Float[np.ndarray, "..."]


class Bound(NamedTuple):
    """An upper bound in its three parts; the orders are those at step size α/√K."""

    leading: Array  # O(1/√K), what a run without delay and with K large is left with
    lower_order: Array  # O(1/K) and smaller, free of delay
    delay: Array  # O(mean τ²/K), zero without delay

    @property
    def total(self) -> Array:
        """The bound."""
        return self.leading + self.lower_order + self.delay


def convex_a_priori(
    *,
    num_updates: ArrayLike,
    step_size: ArrayLike,
    b1: ArrayLike,
    b2: ArrayLike,
    eps: ArrayLike,
    dimension: ArrayLike,
    smoothness: ArrayLike,
    gradient_bound: ArrayLike,
    diameter: ArrayLike,
    mean_square_delay: ArrayLike,
) -> Bound:
    r"""Bounds E F(x̄_K) - F* over a box, from constants alone.

    .. math::
      \underbrace{\frac{D^2 n (G + \varepsilon)}{2 a K} + \Bigl(\tfrac12 + c\Bigr) \frac{a n G}{\sqrt{1-\beta_2}}
      }_{\text{leading}}
      + \underbrace{\frac{c\, D n G}{K}}_{\text{lower order}}
      + \underbrace{\frac{L a^2 n}{2 (1-\beta_2)}\, \overline{\tau_k^2}}_{\text{delay}}

    Args:
      num_updates: K.
      step_size: a, the same in all updates.
      b1: β1.
      b2: β2.
      eps: ε.
      dimension: n.
      smoothness: L of ∇F in ℓ2.
      gradient_bound: G, at least ‖∇f(x; ξ)‖_∞ on X.
      diameter: D, the longest side of the box.
      mean_square_delay: the mean of τ_k² over the trace.
    """
    num_updates, step_size, b1, b2, eps = _floats(num_updates, step_size, b1, b2, eps)
    dimension, smoothness, gradient_bound = _floats(dimension, smoothness, gradient_bound)
    diameter, mean_square_delay = _floats(diameter, mean_square_delay)
    carried = b1 / (1 - b1)
    size = dimension * gradient_bound
    distance = diameter**2 * (size + dimension * eps) / (2 * step_size * num_updates)
    noise = (0.5 + carried) * step_size * size / np.sqrt(1 - b2)
    return Bound(
        leading=distance + noise,
        lower_order=carried * diameter * size / num_updates,
        delay=smoothness * step_size**2 * dimension / (2 * (1 - b2)) * mean_square_delay,
    )


def convex_a_posteriori(
    *,
    num_updates: ArrayLike,
    step_size: ArrayLike,
    b1: ArrayLike,
    smoothness: ArrayLike,
    diameter: ArrayLike,
    scale_l1: ArrayLike,
    scaled_momentum_sum: ArrayLike,
    momentum_l1: ArrayLike,
    mean_drift: ArrayLike,
) -> Bound:
    r"""Bounds F(x̄_K) - F* in expectation over a box, from what each run measured; average it over the runs.

    .. math::
      \underbrace{\frac{D^2 \|V_K\|_1}{2 a_K K} + \Bigl(\tfrac12 + c\Bigr) \frac1K \sum_k a_k
      \sum_i \frac{m_{k,i}^2}{V_{k,i}}}_{\text{leading}}
      + \underbrace{\frac{c\, D \|m_K\|_1}{K}}_{\text{lower order}}
      + \underbrace{\frac L2\, \overline{\|x_k - y_k\|^2}}_{\text{delay}}

    Args:
      num_updates: K.
      step_size: a_K, of the last update; steps may shrink over the run, not grow.
      b1: β1.
      smoothness: L of ∇F in ℓ2.
      diameter: D, the longest side of the box.
      scale_l1: ‖V_K‖_1.
      scaled_momentum_sum: Σ_k a_k Σ_i m_{k,i}²/V_{k,i}.
      momentum_l1: ‖m_K‖_1.
      mean_drift: the mean of ‖x_k - y_k‖² over the updates.
    """
    num_updates, step_size, b1, smoothness, diameter = _floats(num_updates, step_size, b1, smoothness, diameter)
    scale_l1, scaled_momentum_sum, momentum_l1 = _floats(scale_l1, scaled_momentum_sum, momentum_l1)
    (mean_drift,) = _floats(mean_drift)
    carried = b1 / (1 - b1)
    distance = diameter**2 * scale_l1 / (2 * step_size)
    noise = (0.5 + carried) * scaled_momentum_sum
    return Bound(
        leading=(distance + noise) / num_updates,
        lower_order=carried * diameter * momentum_l1 / num_updates,
        delay=smoothness / 2 * mean_drift,
    )


def nonconvex_a_priori(
    *,
    num_updates: ArrayLike,
    step_size: ArrayLike,
    b1: ArrayLike,
    b2: ArrayLike,
    eps: ArrayLike,
    dimension: ArrayLike,
    smoothness: ArrayLike,
    gradient_bound: ArrayLike,
    initial_gap: ArrayLike,
    mean_delay: ArrayLike,
    mean_square_delay: ArrayLike,
) -> Bound:
    r"""Bounds the mean of E‖∇F(x_k)‖² over the run, on ℝⁿ, from constants alone.

    It is `nonconvex_a_posteriori` with the largest values that W² and B² can take,

    .. math:: W^2 = \frac{G^2 n}{\varepsilon^2}, \qquad B^2 = \frac{n}{1 - \beta_2}.

    Args:
      num_updates: K.
      step_size: a, the same in all updates.
      b1: β1.
      b2: β2.
      eps: ε, above 0; with 0 the bound is infinite.
      dimension: n.
      smoothness: L of ∇F in ℓ2.
      gradient_bound: G, at least ‖∇f(x; ξ)‖_∞ everywhere.
      initial_gap: F(x_0) - F*, or with a lower bound in place of F*.
      mean_delay: the mean of τ_k over the trace.
      mean_square_delay: the mean of τ_k².
    """
    b2, eps, dimension, gradient_bound = _floats(b2, eps, dimension, gradient_bound)
    with np.errstate(divide="ignore"):
        mean_scaled_gradient = gradient_bound**2 * dimension / eps**2
    return nonconvex_a_posteriori(
        num_updates=num_updates,
        step_size=step_size,
        b1=b1,
        eps=eps,
        dimension=dimension,
        smoothness=smoothness,
        gradient_bound=gradient_bound,
        initial_gap=initial_gap,
        mean_delay=mean_delay,
        mean_square_delay=mean_square_delay,
        mean_scaled_gradient=mean_scaled_gradient,
        scaled_momentum_max=np.sqrt(dimension / (1 - b2)),
    )


def nonconvex_a_posteriori(
    *,
    num_updates: ArrayLike,
    step_size: ArrayLike,
    b1: ArrayLike,
    eps: ArrayLike,
    dimension: ArrayLike,
    smoothness: ArrayLike,
    gradient_bound: ArrayLike,
    initial_gap: ArrayLike,
    mean_delay: ArrayLike,
    mean_square_delay: ArrayLike,
    mean_scaled_gradient: ArrayLike,
    scaled_momentum_max: ArrayLike,
) -> Bound:
    r"""Bounds the mean of ‖∇F(x_k)‖² in expectation, on ℝⁿ, from what each run measured; average it over the runs.

    .. math::
      4 (G + \varepsilon) \Bigl\{
      \underbrace{\frac{F(x_0) - F^*}{a K} + L a W^2}_{\text{leading}}
      + \underbrace{\frac{G^2 n}{(1-\beta_1) \varepsilon K} + \frac{L a G^2 n}{(1-\beta_1)^2 \varepsilon^2 K}
      + \frac{a^2 L^2 B^2 c^2}{2 \varepsilon}}_{\text{lower order}}
      + \underbrace{\frac{a^2 L^2 B^2}{\varepsilon} \bigl(\overline{\tau_k^2} + c\,\overline{\tau_k}\bigr)
      }_{\text{delay}} \Bigr\}

    Args:
      num_updates: K.
      step_size: a, the same in all updates.
      b1: β1.
      eps: ε, above 0; with 0 the bound is infinite.
      dimension: n.
      smoothness: L of ∇F in ℓ2.
      gradient_bound: G, at least ‖∇f(x; ξ)‖_∞ everywhere.
      initial_gap: F(x_0) - F*, or with a lower bound in place of F*.
      mean_delay: the mean of τ_k over the trace.
      mean_square_delay: the mean of τ_k².
      mean_scaled_gradient: W², the mean of ‖g_k / V_{k-1}‖² over the updates.
      scaled_momentum_max: B, the largest ‖m_k / V_k‖_2.
    """
    num_updates, step_size, b1, eps = _floats(num_updates, step_size, b1, eps)
    dimension, smoothness, gradient_bound = _floats(dimension, smoothness, gradient_bound)
    initial_gap, mean_delay, mean_square_delay = _floats(initial_gap, mean_delay, mean_square_delay)
    mean_scaled_gradient, scaled_momentum_max = _floats(mean_scaled_gradient, scaled_momentum_max)
    size = gradient_bound**2 * dimension
    carried = b1 / (1 - b1)
    positive = np.where(eps > 0, eps, 1.0)
    moved = step_size**2 * smoothness**2 * scaled_momentum_max**2 / positive
    preconditioner = size / ((1 - b1) * positive * num_updates)
    preconditioner_squared = smoothness * step_size * size / ((1 - b1) ** 2 * positive**2 * num_updates)
    factor = 4 * (gradient_bound + eps)
    descent = initial_gap / (step_size * num_updates)
    noise = smoothness * step_size * mean_scaled_gradient
    parts = Bound(
        leading=factor * (descent + noise),
        lower_order=factor * (preconditioner + preconditioner_squared + moved * carried**2 / 2),
        delay=factor * moved * (mean_square_delay + carried * mean_delay),
    )
    return Bound(*(np.where(eps > 0, part, np.inf) for part in parts))


def _floats(*values: ArrayLike) -> tuple[Array, ...]:
    return tuple(np.asarray(value, float) for value in values)
