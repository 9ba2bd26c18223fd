"""What linear models with real targets have in common."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from asyncopt.checks import InputError, check_flag, check_integer, check_number
from asyncopt.problems.data import RegressionData, regression_by_name, with_intercept
from asyncopt.problems.problem import Constants, Described


class Regression(Described, eqx.Module):
    """A linear model of real targets; a subclass says what an error costs."""

    features: Float[Array, "N d"]
    targets: Float[Array, " N"]
    init_scale: Float[Array, ""]
    constants: Constants
    optimum: np.float64 | None
    minimiser: Float[np.ndarray, " d"] | None
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

    @abc.abstractmethod
    def _mean_loss(
        self, params: Float[Array, " d"], features: Float[Array, "B d"], targets: Float[Array, " B"]
    ) -> Float[Array, ""]: ...


def regression_rows(data: str | RegressionData, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features, perhaps with a column of ones, and the targets.

    Raises:
      InputError: if ``data`` is neither regression data nor the name of a bundled set, or ``intercept`` is no bool.
    """
    rows = regression_by_name(data) if isinstance(data, str) else data
    if not isinstance(rows, RegressionData):
        raise InputError(
            f"data is {type(rows).__name__}, expected RegressionData (real targets) or the name of a bundled set"
        )
    check_flag("intercept", intercept)
    return np.asarray(with_intercept(rows.features) if intercept else rows.features), rows.targets


def arrays(features: np.ndarray, targets: np.ndarray, batch_size: int, init_scale: float) -> dict[str, Any]:
    """Returns the fields of a `Regression` that do not depend on its loss, in JAX's default float dtype.

    Raises:
      InputError: if a number is out of range.
    """
    batch_size = check_integer("batch_size", batch_size, at_least=1)
    init_scale = check_number("init_scale", init_scale, at_least=0)
    dtype = jnp.zeros(()).dtype
    floats = {"features": features, "targets": targets, "init_scale": init_scale}
    return {name: jnp.asarray(value, dtype) for name, value in floats.items()} | {"batch_size": batch_size}
