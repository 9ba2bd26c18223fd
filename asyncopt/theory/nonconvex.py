"""The non-convex theorem: the mean of ‖∇F‖² over K updates of APAM under delay, bounded term by term.

The proof is in ``docs/theory.md``, and the notation in `asyncopt.theory`.
"""

import numpy as np
from numpy.typing import ArrayLike

from asyncopt.theory import apam
from asyncopt.theory.theorem import Bound, Evidence, Theorem, absent, floats, known


def nonconvex_a_priori(
    *, num_updates: ArrayLike, step_size: ArrayLike, b1: ArrayLike, b2: ArrayLike, eps: ArrayLike,
    dimension: ArrayLike, smoothness: ArrayLike, gradient_bound: ArrayLike, initial_gap: ArrayLike,
    mean_delay: ArrayLike, mean_square_delay: ArrayLike,
) -> Bound:  # fmt: skip
    r"""Bounds the mean of E‖∇F(x_k)‖² over the run, on ℝⁿ, from constants alone. With ε = 0 the bound is infinite.

    The arguments are explained in `asyncopt.theory`. It is `nonconvex_a_posteriori` with the largest values that W²
    and B² can take,

    .. math:: W^2 = \frac{G^2 n}{\varepsilon^2}, \qquad B^2 = \frac{n}{1 - \beta_2}.
    """
    b2, eps, dimension, gradient_bound = floats(b2, eps, dimension, gradient_bound)
    with np.errstate(divide="ignore"):
        mean_scaled_gradient = gradient_bound**2 * dimension / eps**2
    return nonconvex_a_posteriori(
        num_updates=num_updates, step_size=step_size, b1=b1, eps=eps, dimension=dimension, smoothness=smoothness,
        gradient_bound=gradient_bound, initial_gap=initial_gap, mean_delay=mean_delay,
        mean_square_delay=mean_square_delay, mean_scaled_gradient=mean_scaled_gradient,
        scaled_momentum_max=np.sqrt(dimension / (1 - b2)),
    )  # fmt: skip


def nonconvex_a_posteriori(
    *, num_updates: ArrayLike, step_size: ArrayLike, b1: ArrayLike, eps: ArrayLike, dimension: ArrayLike,
    smoothness: ArrayLike, gradient_bound: ArrayLike, initial_gap: ArrayLike, mean_delay: ArrayLike,
    mean_square_delay: ArrayLike, mean_scaled_gradient: ArrayLike, scaled_momentum_max: ArrayLike,
) -> Bound:  # fmt: skip
    r"""Bounds the mean of ‖∇F(x_k)‖² in expectation, on ℝⁿ, from what each run measured; average it over the runs.

    The arguments are explained in `asyncopt.theory`. With ε = 0 the bound is infinite.

    .. math::
      4 (G + \varepsilon) \Bigl\{
      \underbrace{\frac{F(x_0) - F^*}{a K} + L a W^2}_{\text{leading}}
      + \underbrace{\frac{G^2 n}{(1-\beta_1) \varepsilon K} + \frac{L a G^2 n}{(1-\beta_1)^2 \varepsilon^2 K}
      + \frac{a^2 L^2 B^2 c^2}{2 \varepsilon}}_{\text{lower order}}
      + \underbrace{\frac{a^2 L^2 B^2}{\varepsilon} \bigl(\overline{\tau_k^2} + c\,\overline{\tau_k}\bigr)
      }_{\text{delay}} \Bigr\}
    """
    num_updates, step_size, b1, eps = floats(num_updates, step_size, b1, eps)
    dimension, smoothness, gradient_bound = floats(dimension, smoothness, gradient_bound)
    initial_gap, mean_delay, mean_square_delay = floats(initial_gap, mean_delay, mean_square_delay)
    mean_scaled_gradient, scaled_momentum_max = floats(mean_scaled_gradient, scaled_momentum_max)
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


def _constants(run: Evidence) -> dict[str, np.ndarray | float]:
    return {
        "num_updates": run.num_updates,
        "step_size": apam.step_size(run),
        "initial_gap": run.columns["objective"][:, 0] - run.facts["summary.problem.lower_bound"],
        **run.take("optimizer", "b1", "eps"),
        **run.take("summary.problem", "dimension", "smoothness", "gradient_bound"),
        **run.take("summary.trace", "mean_delay", "mean_square_delay"),
    }


def _a_priori(run: Evidence) -> Bound:
    return nonconvex_a_priori(**_constants(run), **run.take("optimizer", "b2"))


def _a_posteriori(run: Evidence) -> Bound:
    return nonconvex_a_posteriori(
        **_constants(run),
        mean_scaled_gradient=run.columns["scaled_gradient_sum"][:, -1] / run.num_updates,
        **run.last("scaled_momentum_max"),
    )


NONCONVEX = Theorem(
    name="nonconvex", title="the mean of APAM's ‖∇F‖² without a constraint", quantity="mean_grad_norm_sq",
    concerns=lambda run: True,
    hypotheses=(
        *apam.HYPOTHESES,
        absent("summary.labels.constraint", "there is a constraint"),
        lambda run: "" if run.facts.get("optimizer.eps", 0) > 0 else "ε is 0",
        known("summary.problem.lower_bound", "F has no known lower bound"),
    ),
    columns=("objective", "scaled_gradient_sum", "scaled_momentum_max"),
    a_priori=_a_priori, a_posteriori=_a_posteriori, claims=apam.CLAIMS,
)  # fmt: skip
