"""Regression under the Geman-McClure loss, in which rows far off hardly count."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from asyncopt.checks import InputError, check_flag, check_integer, check_number
from asyncopt.problems.data import RegressionData, regression_by_name, with_intercept
from asyncopt.problems.problem import Constants, Described

# Of ρ(r) = ½ r²/(1 + r²): ρ' = r/(1 + r²)² is largest at r = 1/√3, |ρ''| = |1 - 3r²|/(1 + r²)³ at r = 0.
_LARGEST_SLOPE = 3 * math.sqrt(3) / 16
_LARGEST_CURVATURE = 1.0


class RobustRegression(Described, eqx.Module):
    """Mean over the rows of s² ρ(r/s), ρ(r) = ½ r²/(1 + r²), r the residual of a linear model."""

    title: ClassVar[str] = "robust regression"
    features: Float[Array, "N d"]
    targets: Float[Array, " N"]
    scale: Float[Array, ""]
    init_scale: Float[Array, ""]
    constants: Constants
    optimum: None
    minimiser: None
    constraint: None
    batch_size: int = eqx.field(static=True)

    @property
    def num_rows(self) -> int:
        """N, the number of rows."""
        return self.targets.shape[0]

    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """Returns normal draws of standard deviation ``init_scale``."""
        return self.init_scale * jax.random.normal(key, (self.features.shape[1],), self.features.dtype)

    def sample(self, key: Key[Array, ""]) -> Int[Array, " B"]:
        """Draws ``batch_size`` rows, with replacement."""
        return jax.random.randint(key, (self.batch_size,), 0, len(self.targets))

    def loss(self, params: Float[Array, " d"], batch: Int[Array, " B"]) -> Float[Array, ""]:
        """Returns the mean loss of a mini-batch."""
        return self._mean_loss(params, self.features[batch], self.targets[batch])

    def objective(self, params: Float[Array, " d"]) -> Float[Array, ""]:
        """Returns F(x), the mean loss of all rows."""
        return self._mean_loss(params, self.features, self.targets)

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
    rows = regression_by_name(data) if isinstance(data, str) else data
    if not isinstance(rows, RegressionData):
        raise InputError(
            f"data is {type(rows).__name__}, expected RegressionData (real targets) or the name of a bundled set"
        )
    check_flag("intercept", intercept)
    scale = check_number("scale", scale, above=0)
    batch_size = check_integer("batch_size", batch_size, at_least=1)
    init_scale = check_number("init_scale", init_scale, at_least=0)
    features = with_intercept(rows.features) if intercept else rows.features
    dtype = jnp.zeros(()).dtype
    return RobustRegression(
        features=jnp.asarray(features, dtype),
        targets=jnp.asarray(rows.targets, dtype),
        scale=jnp.asarray(scale, dtype),
        init_scale=jnp.asarray(init_scale, dtype),
        constants=Constants(
            features.shape[1],
            smoothness=_LARGEST_CURVATURE * np.linalg.norm(features, 2) ** 2 / len(features),
            gradient_bound=_LARGEST_SLOPE * scale * np.abs(features).max(),
            lower_bound=0.0,
        ),
        optimum=None,
        minimiser=None,
        constraint=None,
        batch_size=batch_size,
    )
