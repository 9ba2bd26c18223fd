"""The convex theorem: the gap of the average after K updates of APAM under delay, bounded term by term.

The proof is in ``docs/theory.md``, and the notation in `asyncopt.theory`.
"""

import numpy as np
from numpy.typing import ArrayLike

from asyncopt.theory import apam
from asyncopt.theory.theorem import Bound, Evidence, Theorem, floats, known


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


def _a_priori(run: Evidence) -> Bound:
    return convex_a_priori(
        num_updates=run.num_updates,
        step_size=apam.step_size(run),
        **run.take("optimizer", "b1", "b2", "eps"),
        **run.take("summary.problem", "dimension", "smoothness", "gradient_bound", "diameter"),
        **run.take("summary.trace", "mean_square_delay"),
    )


def _a_posteriori(run: Evidence) -> Bound:
    # The column holds the mean drift since the previous evaluation.
    drift = np.sum(run.columns["drift"][:, 1:] * np.diff(run.columns["step"][0]), axis=1)
    return convex_a_posteriori(
        num_updates=run.num_updates,
        mean_drift=drift / run.num_updates,
        **run.take("optimizer", "b1"),
        **run.take("summary.problem", "smoothness", "diameter"),
        **run.last("step_size", "scale_l1", "scaled_momentum_sum", "momentum_l1"),
    )


CONVEX = Theorem(
    name="convex", title="the gap of APAM's average on a convex problem in a box", quantity="average_gap",
    concerns=lambda run: bool(run.facts.get("summary.problem.convex", False)),
    hypotheses=(*apam.HYPOTHESES, known("summary.problem.diameter", "X is not a bounded box")),
    columns=("step_size", "scale_l1", "scaled_momentum_sum", "momentum_l1", "drift"),
    a_priori=_a_priori, a_posteriori=_a_posteriori, claims=apam.CLAIMS,
)  # fmt: skip
