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
# The exponents q that are tried in A/K + B K^-q, before the best is refined.
_TRIED = np.linspace(-1.0, 0.99, 399)


def one_sided_least_squares(
    design: Float[np.ndarray, "... n p"], target: Float[np.ndarray, "... n"],
    side: Int[np.ndarray, "... n"],
) -> Float[np.ndarray, "... p"]:  # fmt: skip
    r"""Fits a linear model in which a limit counts only where the fit is on the wrong side of it.

    .. math:: \min_\theta \sum_i \rho_i(y_i - x_i^\top \theta),\qquad
      \rho(r) = r^2 \text{ (exact)},\ \max(r, 0)^2 \text{ (at least)},\ \min(r, 0)^2 \text{ (at most)}

    So a run that diverged or never reached the accuracy is neither dropped nor used as a measurement. The objective is
    convex and piecewise quadratic; iteration finds the set of limits that count.

    Args:
      design: x, one row for each observation.
      target: y.
      side: `EXACT`, `AT_LEAST` or `AT_MOST` for each observation.

    Returns:
      θ; NaN where fewer observations than parameters are exact.
    """
    design, target, side = np.broadcast_arrays(design, target[..., None], side[..., None])
    target, side = target[..., 0], side[..., 0]
    exact = side == EXACT
    counts = np.ones_like(exact)
    solvable = exact.sum(axis=-1) >= design.shape[-1]
    theta = _least_squares(design, target, counts, solvable)
    for _ in range(_MAX_ITERATIONS):
        residual = target - np.sum(design * theta[..., None, :], axis=-1)
        updated = exact | ((side == AT_LEAST) & (residual > 0)) | ((side == AT_MOST) & (residual < 0))
        if np.array_equal(updated, counts):
            break
        counts = updated
        theta = _least_squares(design, target, counts, solvable)
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


def curvature(x: Float[np.ndarray, " n"], y: Float[np.ndarray, "R n"]) -> Float[np.ndarray, " R"]:
    """Returns c of log y = a + b log x + c (log x)²: above 0 where a power law loses steepness; n is at least 3."""
    logs = np.log(x) - np.log(x).mean()
    design = np.stack([np.ones(len(x)), logs, logs**2], axis=-1)
    return one_sided_least_squares(design, np.log(y), np.full(y.shape, EXACT))[:, 2]


def tail_exponent(num_updates: Float[np.ndarray, " n"], y: Float[np.ndarray, "R n"]) -> Float[np.ndarray, " R"]:
    r"""Returns q of y = A/K + B K^-q with A, B ≥ 0: the rate that is left when a transient of 1/K has gone.

    .. math:: \min_{A, B \ge 0,\ -1 \le q < 1} \sum_i (1 - f_i / y_i)^2

    It is NaN where B = 0, which leaves q open.
    """
    k = num_updates / num_updates[-1]
    transient = (1 / k) / y
    slow = k[None, :, None] ** -_TRIED / y[:, :, None]  # [R, n, q]
    tt, ts, ss = (
        np.sum(transient**2, axis=1)[:, None],
        np.einsum("rn,rnq->rq", transient, slow),
        np.sum(slow**2, axis=1),
    )
    t1, s1 = transient.sum(axis=1)[:, None], slow.sum(axis=1)
    determinant = np.maximum(tt * ss - ts**2, 1e-12 * tt * ss)
    a, b = (ss * t1 - ts * s1) / determinant, (tt * s1 - ts * t1) / determinant
    # Of the two solutions with a part missing, and the one with both where it is allowed, the best.
    gain = np.where((a >= 0) & (b >= 0), a * t1 + b * s1, s1**2 / ss)
    best = np.clip(np.argmax(gain, axis=1), 1, len(_TRIED) - 2)
    left, middle, right = (np.take_along_axis(gain, (best + step)[:, None], axis=1)[:, 0] for step in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where(bend < 0, np.clip((left - right) / (2 * np.where(bend < 0, bend, -1.0)), -1, 1), 0.0)
    q = _TRIED[best] + shift * (_TRIED[1] - _TRIED[0])
    only_transient = (t1**2 / tt)[:, 0] >= np.max(gain, axis=1) * (1 - _CLOSE)
    return np.where(only_transient, np.nan, q)


def _least_squares(
    design: Float[np.ndarray, "... n p"], target: Float[np.ndarray, "... n"],
    weight: np.ndarray, solvable: np.ndarray,
) -> Float[np.ndarray, "... p"]:  # fmt: skip
    weighted = design * weight[..., None]
    gram = np.einsum("...np,...nq->...pq", weighted, design)
    moment = np.einsum("...np,...n->...p", weighted, target)
    # The determinant over its largest possible value: 0 if the observations do not determine the parameters.
    volume = np.linalg.det(gram) / np.maximum(np.prod(np.diagonal(gram, axis1=-2, axis2=-1), axis=-1), 1e-300)
    good = solvable & (volume > 1e-9)
    safe = np.where(good[..., None, None], gram, np.eye(design.shape[-1]))
    return np.where(good[..., None], np.linalg.solve(safe, moment[..., None])[..., 0], np.nan)
