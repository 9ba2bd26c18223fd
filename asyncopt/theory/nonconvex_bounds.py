"""The bounds of the non-convex theorem: the mean of ‖∇F‖² over K updates of APAM under delay, term by term.

The proof is in ``docs/theory.md``, and the notation in `asyncopt.theory`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from asyncopt.theory import apam
from asyncopt.theory.theorem import Bound, Evidence, floats


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


def nonconvex_a_posteriori_weighted(
    *, num_updates: ArrayLike, step_size: ArrayLike, smoothness: ArrayLike, before: ArrayLike, potential: ArrayLike,
    moved: ArrayLike, errors: ArrayLike, read: ArrayLike, lag: ArrayLike,
) -> Bound:  # fmt: skip
    r"""Bounds the mean of ‖∇F(x_k)‖² in expectation, on ℝⁿ, from weighted sums that each run measured: (4b).

    Update k has the weight w_k = max_i V_{k-1,i}, so that nothing is divided by ε, and no bound on gradients is needed.
    The first k_0 updates are left out of all sums, and their own ‖∇F‖² is added. The bound holds for all θ > 0 and
    δ > 0 with θ + δ < 1. The best ones for the mean over the seeds, which are the last axis of the sums, are taken.

    .. math::
      \frac1K \sum_{k \le k_0} \|\nabla F(x_k)\|^2 + \frac{1}{(1 - \theta - \delta) K} \Bigl\{
      \underbrace{\frac{\Phi + \tfrac L2 \sum_k w_k \|z_{k+1} - z_k\|^2}{a}}_{\text{leading}}
      + \underbrace{\frac{\sum_k w_k \|e_k\|^2_{V_{k-1}}}{2 \delta a^2}
      + (\kappa + \delta) L^2 \sum_k w_k p_k \|z_k - x_k\|^2}_{\text{lower order}}
      + \underbrace{\kappa L^2 \sum_k w_k p_k \|x_k - y_k\|^2}_{\text{delay}} \Bigr\},
      \qquad \kappa = \frac{1 + \theta}{2 \theta}

    Args:
      num_updates: K.
      step_size: a.
      smoothness: L.
      before: Σ_{k ≤ k_0} ‖∇F(x_k)‖².
      potential: Φ = w_{k_0+1} (F(z_{k_0+1}) - F*) + Σ_{k > k_0+1} (w_k - w_{k-1}) (F(z_k) - F*).
      moved: Σ_k w_k ‖z_{k+1} - z_k‖².
      errors: Σ_k w_k ‖e_k‖² in the norm of V_{k-1}.
      read: Σ_k w_k p_k ‖x_k - y_k‖², where p_k = 1 / min_i V_{k-1,i}.
      lag: Σ_k w_k p_k ‖z_k - x_k‖².
    """
    num_updates, step_size, smoothness, before = floats(num_updates, step_size, smoothness, before)
    potential, moved, errors, read, lag = floats(potential, moved, errors, read, lag)
    leading = (potential + smoothness / 2 * moved) / (step_size * num_updates)
    error = errors / (2 * step_size**2 * num_updates)
    apart = smoothness**2 / num_updates
    theta, delta = best_shares(*(float(np.mean(part)) for part in (leading, apart * read, apart * lag, error)))
    factor, kappa = 1 / (1 - theta - delta), (1 + theta) / (2 * theta)
    return Bound(
        leading=factor * leading,
        lower_order=before / num_updates + factor * (error / delta + (kappa + delta) * apart * lag),
        delay=factor * kappa * apart * read,
    )


def best_shares(free: float, read: float, lag: float, error: float) -> tuple[float, float]:
    """Returns the θ and δ, on a grid, that minimise (A + κ (R + Z) + δ Z + E/δ) / (1 - θ - δ), κ = (1 + θ)/(2θ)."""
    shares = np.geomspace(1e-6, 0.9, 60)
    theta, delta = shares[:, None], shares
    total = free + (1 + theta) / (2 * theta) * (read + lag) + delta * lag + error / delta
    room = 1 - theta - delta
    bound = np.where(room > 0, total / np.where(room > 0, room, 1.0), np.inf)
    best = np.unravel_index(np.argmin(np.where(np.isnan(bound), np.inf, bound)), bound.shape)
    return float(shares[best[0]]), float(shares[best[1]])


def _constants(run: Evidence) -> dict[str, np.ndarray | float]:
    return {
        "num_updates": run.num_updates,
        "step_size": apam.step_size(run),
        "initial_gap": run.columns["objective"][:, 0] - run.facts["summary.problem.lower_bound"],
        **run.take("optimizer", "b1", "eps"),
        **run.take("summary.problem", "dimension", "smoothness", "gradient_bound"),
        **run.take("summary.trace", "mean_delay", "mean_square_delay"),
    }


def a_priori(run: Evidence) -> Bound:
    """Returns the a-priori bound of a run."""
    return nonconvex_a_priori(**_constants(run), **run.take("optimizer", "b2"))


def with_eps(run: Evidence) -> Bound:
    """Returns bound (4) of a run."""
    return nonconvex_a_posteriori(
        **_constants(run),
        mean_scaled_gradient=run.columns["scaled_gradient_sum"][:, -1] / run.num_updates,
        **run.last("scaled_momentum_max"),
    )


def weighted(run: Evidence, start: int) -> Bound:
    """Returns bound (4b) of a run. The updates before evaluation number ``start`` are its first k_0."""
    sums = {name: run.columns[f"descent_{name}"] for name in ("moved", "errors", "read", "lag")}
    return nonconvex_a_posteriori_weighted(
        num_updates=run.num_updates,
        step_size=apam.step_size(run),
        before=run.sum_until("grad_norm_sq", start),
        potential=_potential(run, start),
        **{name: values[:, -1] - values[:, start] for name, values in sums.items()},
        **run.take("summary.problem", "smoothness"),
    )


def best_start(run: Evidence) -> int:
    """Returns the number of the evaluation from which (4b) is smallest, as a mean over the seeds, up to k_0 = √K.

    With more updates left out, the bound would be little but the measured quantity itself.
    """
    starts = np.flatnonzero(run.columns["step"][0] <= np.sqrt(run.num_updates))
    with np.errstate(invalid="ignore"):  # a run that diverged has no finite bound
        totals = [np.mean(weighted(run, int(start)).total) for start in starts]
    return int(np.argmin(np.where(np.isnan(totals), np.inf, totals)))


def _potential(run: Evidence, start: int) -> np.ndarray:
    """Returns Φ by steps between the evaluations, each with the larger gap of its two ends."""
    names = ("scale_max", "lag_last", "grad_norm_sq", "objective")
    scale, lag, square_norm, objective = (run.columns[name][:, start:] for name in names)
    facts = run.take("summary.problem", "smoothness", "lower_bound")
    # F(z) is at most F(x) + ‖∇F(x)‖ ‖z - x‖ + (L/2) ‖z - x‖².
    gap = objective - facts["lower_bound"] + np.sqrt(square_norm) * lag + facts["smoothness"] / 2 * lag**2
    growth = np.diff(scale, axis=1) * np.maximum(gap[:, 1:], gap[:, :-1])
    return scale[:, 0] * gap[:, 0] + np.sum(growth, axis=1)


def chain_sums(run: Evidence, start: int) -> dict[str, np.ndarray]:
    """Returns what full gradients measured, for each seed: means over K of the sums after evaluation ``start``."""
    names = ("gradients", "weighted", "inner", "near", "noise", "noise_square", "errors", "potential")
    sums = {name: run.columns[f"chain_{name}"] for name in names} | {"moved": run.columns["descent_moved"]}
    return {name: (values[:, -1] - values[:, start]) / run.num_updates for name, values in sums.items()}


class Measured(NamedTuple):
    """Bound (4c), and the θ that it was taken at."""

    bound: Bound
    theta: float


def with_full_gradients(run: Evidence, start: int) -> Measured:
    """Returns bound (4c): (4b) with F, ∇F at z_k and the differences of gradients as they were measured."""
    later, smoothness = chain_sums(run, start), run.facts["summary.problem.smoothness"]
    descent = (later["potential"] + later["errors"] + smoothness / 2 * later["moved"]) / apam.step_size(run)
    theta, _ = best_shares(float(np.mean(descent)), float(np.mean(later["near"])), 0.0, 0.0)
    factor, kappa = 1 / (1 - theta), (1 + theta) / (2 * theta)
    before = run.columns["chain_gradients"][:, start] / run.num_updates
    return Measured(Bound(factor * descent, before, factor * kappa * later["near"]), theta)


def a_posteriori(run: Evidence) -> Bound:
    """Returns the smallest bound on a run that its columns allow, as a mean over the seeds: (4c), (4b) or (4)."""
    candidates = [with_eps(run)]
    if "descent_moved" in run.columns:
        start = best_start(run)
        candidates.append(weighted(run, start))
        if "chain_inner" in run.columns:
            candidates.append(with_full_gradients(run, start).bound)
    return min(candidates, key=lambda bound: float(np.mean(bound.total)))
