"""The bounds of the convex theorem: the gap of the average after K updates of APAM under delay, term by term.

The proof is in ``docs/theory.md``, and the notation in `asyncopt.theory`.
"""

import numpy as np
from numpy.typing import ArrayLike

from asyncopt.theory import apam
from asyncopt.theory.theorem import Bound, Evidence, floats


def convex_a_priori(
    *, num_updates: ArrayLike, step_size: ArrayLike, b1: ArrayLike, b2: ArrayLike, eps: ArrayLike,
    dimension: ArrayLike, smoothness: ArrayLike, gradient_bound: ArrayLike, diameter: ArrayLike,
    mean_square_delay: ArrayLike,
) -> Bound:  # fmt: skip
    r"""Bounds E F(x̄_K) - F* over a box, from constants alone. The arguments are explained in `asyncopt.theory`.

    .. math::
      \underbrace{\frac{D^2 n (G + \varepsilon)}{2 a K} + \Bigl(\tfrac12 + c\Bigr) \frac{a n G}{\sqrt{1-\beta_2}}
      }_{\text{leading}}
      + \underbrace{\frac{c\, D n G}{K}}_{\text{lower order}}
      + \underbrace{\frac{L a^2 n}{2 (1-\beta_2)}\, \overline{\tau_k^2}}_{\text{delay}}
    """
    num_updates, step_size, b1, b2, eps = floats(num_updates, step_size, b1, b2, eps)
    dimension, smoothness, gradient_bound = floats(dimension, smoothness, gradient_bound)
    diameter, mean_square_delay = floats(diameter, mean_square_delay)
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
    *, num_updates: ArrayLike, step_size: ArrayLike, b1: ArrayLike, smoothness: ArrayLike, diameter: ArrayLike,
    scale_l1: ArrayLike, scaled_momentum_sum: ArrayLike, momentum_l1: ArrayLike, mean_drift: ArrayLike,
) -> Bound:  # fmt: skip
    r"""Bounds F(x̄_K) - F* in expectation over a box, from what each run measured; average it over the runs.

    The arguments are explained in `asyncopt.theory`. ``step_size`` is a_K, of the last update: steps may shrink over
    the run, but not grow.

    .. math::
      \underbrace{\frac{D^2 \|V_K\|_1}{2 a_K K} + \Bigl(\tfrac12 + c\Bigr) \frac1K \sum_k a_k
      \sum_i \frac{m_{k,i}^2}{V_{k,i}}}_{\text{leading}}
      + \underbrace{\frac{c\, D \|m_K\|_1}{K}}_{\text{lower order}}
      + \underbrace{\frac L2\, \overline{\|x_k - y_k\|^2}}_{\text{delay}}
    """
    num_updates, step_size, b1, smoothness, diameter = floats(num_updates, step_size, b1, smoothness, diameter)
    scale_l1, scaled_momentum_sum, momentum_l1 = floats(scale_l1, scaled_momentum_sum, momentum_l1)
    (mean_drift,) = floats(mean_drift)
    carried = b1 / (1 - b1)
    distance = diameter**2 * scale_l1 / (2 * step_size)
    noise = (0.5 + carried) * scaled_momentum_sum
    return Bound(
        leading=(distance + noise) / num_updates,
        lower_order=carried * diameter * momentum_l1 / num_updates,
        delay=smoothness / 2 * mean_drift,
    )


def convex_a_posteriori_at_minimiser(
    *, num_updates: ArrayLike, regret_bound: ArrayLike, stale_cost: ArrayLike
) -> Bound:
    r"""Bounds F(x̄_K) - F* in expectation over any closed convex X, from the distances to x* that each run measured.

    X needs no diameter, and gradients need no bound.

    .. math::
      \underbrace{\frac1K \Bigl[ \tfrac12 \sum_k \bigl\| x_k - x^* \bigr\|^2_{V_k/a_k - V_{k-1}/a_{k-1}}
      + \tfrac12 \sum_k a_k \sum_i \frac{m_{k,i}^2}{V_{k,i}}
      + c \langle m_K, x_K - x^* \rangle + c \sum_{k<K} \langle m_k, x_k - x_{k+1} \rangle \Bigr]}_{\text{leading}}
      + \underbrace{\overline{F(x_k) - F(y_k) - \langle \nabla F(y_k), x_k - y_k \rangle}}_{\text{delay}}

    Args:
      num_updates: K.
      regret_bound: right side of (1b) in ``docs/theory.md``: the leading part, times K.
      stale_cost: the delay's part as measured with full gradients (2c), or its bound (L/2) mean ‖x_k - y_k‖² (2b).
    """
    num_updates, regret_bound, stale_cost = floats(num_updates, regret_bound, stale_cost)
    leading = regret_bound / num_updates
    return Bound(leading=leading, lower_order=np.zeros_like(leading), delay=stale_cost)


def a_priori(run: Evidence) -> Bound:
    """Returns bound (3) of a run."""
    return convex_a_priori(
        num_updates=run.num_updates,
        step_size=apam.step_size(run),
        **run.take("optimizer", "b1", "b2", "eps"),
        **run.take("summary.problem", "dimension", "smoothness", "gradient_bound", "diameter"),
        **run.take("summary.trace", "mean_square_delay"),
    )


def mean_drift(run: Evidence) -> np.ndarray:
    """Returns the mean of ‖x_k - y_k‖² over the run, for each seed."""
    # The column holds the mean drift since the previous evaluation.
    return np.sum(run.columns["drift"][:, 1:] * np.diff(run.columns["step"][0]), axis=1) / run.num_updates


def over_a_box(run: Evidence) -> Bound:
    """Returns bound (2) of a run."""
    return convex_a_posteriori(
        num_updates=run.num_updates,
        mean_drift=mean_drift(run),
        **run.take("optimizer", "b1"),
        **run.take("summary.problem", "smoothness", "diameter"),
        **run.last("step_size", "scale_l1", "scaled_momentum_sum", "momentum_l1"),
    )


def at_minimiser(run: Evidence, stale_cost: np.ndarray) -> Bound:
    """Returns bound (2b) or (2c) of a run, by its cost of a stale read."""
    return convex_a_posteriori_at_minimiser(
        num_updates=run.num_updates,
        regret_bound=run.columns["regret_bound"][:, -1] + run.columns["regret_last_distance"][:, -1],
        stale_cost=stale_cost,
    )


def stale_costs(run: Evidence) -> list[np.ndarray]:
    """Returns the costs of a stale read, smallest first: measured, if full gradients were taken, and by L."""
    measured = [run.columns["curvature_sum"][:, -1] / run.num_updates] if "curvature_sum" in run.columns else []
    return [*measured, run.facts["summary.problem.smoothness"] / 2 * mean_drift(run)]


def a_posteriori(run: Evidence) -> Bound:
    """Returns the smallest bound on a run that its columns allow: (2c), (2b) or (2)."""
    return at_minimiser(run, stale_costs(run)[0]) if "regret_bound" in run.columns else over_a_box(run)
