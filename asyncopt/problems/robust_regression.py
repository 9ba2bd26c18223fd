"""Regression under the Geman-McClure loss, in which rows far off hardly count."""

import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from asyncopt.checks import check_number
from asyncopt.problems.data import RegressionData
from asyncopt.problems.problem import Constants
from asyncopt.problems.regression import Regression, arrays, regression_rows

# Of ρ(r) = ½ r²/(1 + r²): ρ' = r/(1 + r²)² is largest at r = 1/√3, |ρ''| = |1 - 3r²|/(1 + r²)³ at r = 0.
_LARGEST_SLOPE = 3 * math.sqrt(3) / 16
_LARGEST_CURVATURE = 1.0


class RobustRegression(Regression):
    """Mean over the rows of s² ρ(r/s), ρ(r) = ½ r²/(1 + r²), r the residual of a linear model."""

    title: ClassVar[str] = "robust regression"
    scale: Float[Array, ""]

    def _mean_loss(self, params, features, targets):
        squares = ((features @ params - targets) / self.scale) ** 2
        return jnp.mean(0.5 * self.scale**2 * squares / (1 + squares))


def robust_regression(
    data: str | RegressionData = "diabetes",
    scale: float = 1.0,
    batch_size: int = 32,
    *,
    intercept: bool = True,
    init_scale: float = 0.0,
) -> RobustRegression:
    """Returns linear regression under the Geman-McClure loss.

    F is non-convex, smooth, and at least 0; its gradients are bounded.

    Args:
      data: "diabetes", or `RegressionData`.
      scale: s, above 0, in units of the targets; residuals well beyond it hardly count.
      batch_size: rows drawn for a gradient, at least 1.
      intercept: add a column of ones.
      init_scale: standard deviation of each coordinate of the start; 0 starts from zero.

    Raises:
      InputError: if a number is out of range.

    References:
      Barron, `A general and adaptive robust loss function <https://arxiv.org/abs/1701.03077>`_, 2019, section 1.
    """
    features, targets = regression_rows(data, intercept)
    scale = check_number("scale", scale, above=0)
    return RobustRegression(
        **arrays(features, targets, batch_size, init_scale),
        scale=jnp.asarray(scale, jnp.zeros(()).dtype),
        constants=Constants(
            features.shape[1],
            smoothness=_LARGEST_CURVATURE * np.linalg.norm(features, 2) ** 2 / len(features),
            gradient_bound=_LARGEST_SLOPE * scale * np.abs(features).max(),
            lower_bound=0.0,
        ),
        optimum=None,
        minimiser=None,
        constraint=None,
    )
