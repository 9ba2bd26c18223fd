"""Least-squares fits of power laws to values and limits.

The functions take arrays with leading axes (a row for each bootstrap replicate) and fit every row.
"""

import numpy as np
import scipy.optimize
from jaxtyping import Float, Int

# What is known about an observation.
EXACT, AT_LEAST, AT_MOST = 0, 1, -1
_MAX_ITERATIONS = 100
# The fit of a surface starts from observations above this many standard errors; then it is reweighted.
_CLEAR, _REWEIGHTINGS = 2.0, 3
# The relative error up to which a power law is expected to hold.
_MODEL_ERROR = 0.05
_NEWTON_STEPS, _CLOSE = 8, 1e-12


def one_sided_least_squares(
    design: Float[np.ndarray, "... n p"], target: Float[np.ndarray, "... n"],
    side: Int[np.ndarray, "... n"], weight: Float[np.ndarray, "... n"] | None = None,
) -> Float[np.ndarray, "... p"]:  # fmt: skip
    r"""Fits a linear model in which a limit counts only where the fit is on the wrong side of it.

    .. math:: \min_\theta \sum_i w_i\, \rho_i(y_i - x_i^\top \theta),\qquad
      \rho(r) = r^2 \text{ (exact)},\ \max(r, 0)^2 \text{ (at least)},\ \min(r, 0)^2 \text{ (at most)}

    So a run that diverged or never reached the accuracy is neither dropped nor used as a measurement. The objective is
    convex and piecewise quadratic; iteration finds the set of limits that count.

    Args:
      design: x, one row for each observation.
      target: y.
      side: `EXACT`, `AT_LEAST` or `AT_MOST` for each observation.
      weight: w, at least 0; default 1.

    Returns:
      θ; NaN where fewer observations than parameters are exact.
    """
    design, target, side = np.broadcast_arrays(design, target[..., None], side[..., None])
    target, side = target[..., 0], side[..., 0]
    weight = np.ones(target.shape) if weight is None else np.broadcast_to(weight, target.shape)
    exact = side == EXACT
    counts = np.ones_like(exact)
    solvable = (exact & (weight > 0)).sum(axis=-1) >= design.shape[-1]
    theta = np.full((*target.shape[:-1], design.shape[-1]), np.nan)
    for _ in range(_MAX_ITERATIONS):
        theta = _least_squares(design, target, weight * counts, solvable)
        residual = target - np.sum(design * theta[..., None, :], axis=-1)
        updated = exact | ((side == AT_LEAST) & (residual > 0)) | ((side == AT_MOST) & (residual < 0))
        if np.array_equal(updated, counts):
            break
        counts = updated
    return theta


def power_law_slope(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, "... n"], side: Int[np.ndarray, "... n"]
) -> Float[np.ndarray, "... 2"]:
    """Returns c and p of log y = c + p log x."""
    design = np.stack([np.ones(len(x)), np.log(x)], axis=-1)
    return one_sided_least_squares(design, np.log(y), side)


def power_law_surface(
    delay: Float[np.ndarray, " n"], num_updates: Float[np.ndarray, " n"],
    y: Float[np.ndarray, "R n"], error: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "R 3"]:  # fmt: skip
    r"""Returns c, p and q of y = e^c τ^p K^q, by weighted least squares in y itself.

    .. math:: \min \sum_i \frac{(y_i - f_i)^2}{\sigma_i^2}, \qquad \sigma_i^2 = e_i^2 + (0.05 f_i)^2

    A fit in logarithms would have to drop uncertain y below zero but keep those that noise made large, which biases the
    exponents. The second part of σ prevents that a few precise cells decide alone: no real excess is exactly a power
    law.

    Args:
      delay: τ, above 0.
      num_updates: K.
      y: the seeds' own values in row 0, which is fitted from scratch; the replicates start from its parameters.
      error: e, the standard error of y, above 0; at least 3 of y in row 0 must be several times as large.

    Returns:
      The parameters; NaN where the observations do not determine them.
    """
    design = np.stack([np.ones(len(delay)), np.log(delay), np.log(num_updates)], axis=-1)
    clear = y[0] > _CLEAR * error
    theta = one_sided_least_squares(design[clear], np.log(y[0, clear]), np.full(clear.sum(), EXACT))
    if np.isnan(theta).any():
        return np.full((len(y), 3), np.nan)
    sigma = error
    for _ in range(_REWEIGHTINGS):
        sigma = np.hypot(error, _MODEL_ERROR * np.exp(design @ theta))
        theta = scipy.optimize.least_squares(lambda t, s=sigma: (y[0] - np.exp(design @ t)) / s, theta).x
    weight = 1 / sigma**2
    parameters, solvable = np.tile(theta, (len(y), 1)), np.ones(len(y) - 1, bool)
    for _ in range(_NEWTON_STEPS):
        fitted = np.exp(parameters[1:] @ design.T)
        derivatives, weights = fitted[..., None] * design, np.broadcast_to(weight, fitted.shape)
        change = _least_squares(derivatives, y[1:] - fitted, weights, solvable)
        parameters[1:] += change
        if not np.any(np.abs(change) > _CLOSE):
            break
    return parameters


def _least_squares(
    design: Float[np.ndarray, "... n p"], target: Float[np.ndarray, "... n"],
    weight: Float[np.ndarray, "... n"], solvable: np.ndarray,
) -> Float[np.ndarray, "... p"]:  # fmt: skip
    weighted = design * weight[..., None]
    gram = np.einsum("...np,...nq->...pq", weighted, design)
    moment = np.einsum("...np,...n->...p", weighted, target)
    # The determinant over its largest possible value: 0 if the observations do not determine the parameters.
    volume = np.linalg.det(gram) / np.maximum(np.prod(np.diagonal(gram, axis1=-2, axis2=-1), axis=-1), 1e-300)
    good = solvable & (volume > 1e-9)
    safe = np.where(good[..., None, None], gram, np.eye(design.shape[-1]))
    return np.where(good[..., None], np.linalg.solve(safe, moment[..., None])[..., 0], np.nan)
