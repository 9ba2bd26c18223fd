"""Linear regression with the squared error, whose minimum is known."""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from asyncopt.checks import check_number
from asyncopt.problems.data import RegressionData
from asyncopt.problems.problem import Constants
from asyncopt.problems.regression import Regression, arrays, regression_rows


class LeastSquares(Regression):
    """F(x) = 1/(2N) ‖A x - b‖² + l2/2 ‖x‖², the rows of A and b being the data."""

    title: ClassVar[str] = "least squares"
    l2: Float[Array, ""]

    def _mean_loss(self, params, features, targets):
        return 0.5 * (jnp.mean((features @ params - targets) ** 2) + self.l2 * jnp.sum(params**2))


def least_squares(
    data: str | RegressionData = "diabetes",
    l2: float = 0.0,
    batch_size: int = 32,
    *,
    intercept: bool = True,
    init_scale: float = 0.0,
) -> LeastSquares:
    """Returns linear regression with the squared error.

    F is convex and smooth. Its minimum is computed in float64 by a singular value decomposition; if there are several
    minimisers, ``minimiser`` is the smallest of them.

    Args:
      data: "diabetes", or `RegressionData`.
      l2: weight of ½‖x‖², at least 0; it falls on the intercept as well.
      batch_size: rows drawn for a gradient, at least 1.
      intercept: add a column of ones.
      init_scale: standard deviation of each coordinate of the start; 0 starts from zero.

    Raises:
      InputError: if a number is out of range, ``intercept`` is no bool, or ``data`` has no real targets.
    """
    features, targets = regression_rows(data, intercept)
    l2 = check_number("l2", l2, at_least=0)
    num_rows, dimension = features.shape
    # ‖A x - b‖² + N l2 ‖x‖² is that of A with rows of √(N l2) I below it, and of b with zeros.
    below = np.sqrt(num_rows * l2) * np.eye(dimension)
    minimiser, _, rank, singular_values = np.linalg.lstsq(
        np.vstack([features, below]), np.append(targets, np.zeros(dimension))
    )
    residual = features @ minimiser - targets
    optimum = 0.5 * (residual @ residual / num_rows + l2 * minimiser @ minimiser)
    return LeastSquares(
        **arrays(features, targets, batch_size, init_scale),
        l2=jnp.asarray(l2, jnp.zeros(()).dtype),
        constants=Constants(
            dimension,
            smoothness=singular_values[0] ** 2 / num_rows,
            strong_convexity=singular_values[-1] ** 2 / num_rows if rank == dimension else 0.0,
            lower_bound=optimum,
            convex=True,
        ),
        optimum=np.float64(optimum),
        minimiser=minimiser,
        constraint=None,
    )
