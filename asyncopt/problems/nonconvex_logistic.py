"""Logistic regression with a bounded, non-convex regulariser."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from asyncopt.checks import check_flag, check_number
from asyncopt.problems.data import Dataset
from asyncopt.problems.logistic import Logistic, logistic
from asyncopt.problems.partitioned import Partitioned, of_workers
from asyncopt.problems.problem import Constants, Described

# Of h(w) = w²/(1 + w²): h' = 2w/(1 + w²)² is largest at w = 1/√3, |h''| = |2 - 6w²|/(1 + w²)³ at w = 0.
_LARGEST_SLOPE = 3 * math.sqrt(3) / 8
_LARGEST_CURVATURE = 2.0


class NonconvexLogistic(Described, eqx.Module):
    """Mean cross-entropy plus λ Σ w_i²/(1 + w_i²), which pulls small weights to zero and hardly affects large ones."""

    title: ClassVar[str] = "non-convex logistic regression"
    logistic: Logistic  # without a regulariser of its own
    penalty: Float[Array, ""]
    constants: Constants
    optimum: None
    minimiser: None
    constraint: None

    @property
    def num_rows(self) -> int:
        """N, the number of training rows."""
        return self.logistic.num_rows

    @property
    def batch_size(self) -> int:
        """B, the number of rows of a mini-batch."""
        return self.logistic.batch_size

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return self.logistic.num_classes

    def init(self, key: Key[Array, ""]) -> Float[Array, "d *C"]:
        """Returns normal draws of standard deviation ``init_scale``."""
        return self.logistic.init(key)

    def sample(self, key: Key[Array, ""]) -> Any:
        """Draws ``batch_size`` training rows, with replacement."""
        return self.logistic.sample(key)

    def loss(self, params: Float[Array, "d *C"], batch: Any) -> Float[Array, ""]:
        """Returns the regularised mean cross-entropy of a mini-batch."""
        return self.logistic.loss(params, batch) + self._regulariser(params)

    def objective(self, params: Float[Array, "d *C"]) -> Float[Array, ""]:
        """Returns F(x), the loss over all training rows."""
        return self.logistic.objective(params) + self._regulariser(params)

    def metrics(self, params: Float[Array, "d *C"]) -> dict[str, Float[Array, ""]]:
        """Returns the accuracy on the training rows, and on the held-out rows if there are any."""
        return self.logistic.metrics(params)

    def _regulariser(self, params: Float[Array, "d *C"]) -> Float[Array, ""]:
        squares = params**2
        return self.penalty * jnp.sum(squares / (1 + squares))


def nonconvex_logistic(
    data: str | Dataset = "breast_cancer",
    penalty: float = 0.1,
    batch_size: int = 32,
    *,
    intercept: bool = True,
    init_scale: float = 0.0,
) -> NonconvexLogistic | Partitioned:
    """Returns logistic regression on real data with the non-convex regulariser λ Σ w²/(1 + w²).

    F is smooth, with bounded gradients, and bounded below: all that the non-convex bound asks.
    F* is unknown; ``constants.lower_bound`` is the minimum of the cross-entropy alone, certified, or else 0.

    Args:
      data: "digits", "breast_cancer", or a `Dataset`.
      penalty: λ, at least 0.
      batch_size: rows drawn for a gradient, at least 1.
      intercept: add a column of ones.
      init_scale: standard deviation of each coordinate of the start; 0 starts from zero.

    Raises:
      InputError: if a number is out of range.

    References:
      Antoniadis, Gijbels and Nikolova, `Penalized likelihood regression for generalized linear models with
      non-quadratic penalties <https://doi.org/10.1007/s10463-009-0242-4>`_, 2011.
    """
    check_flag("intercept", intercept)
    penalty = check_number("penalty", penalty, at_least=0)
    base: Any = logistic(data, 0.0, batch_size, intercept=intercept, init_scale=init_scale)
    num_workers = 1
    if isinstance(base, Partitioned):
        base, num_workers = base.whole, base.num_workers
    smoothness, gradient_bound = base.constants.smoothness, base.constants.gradient_bound
    assert smoothness is not None
    assert gradient_bound is not None
    problem = NonconvexLogistic(
        logistic=base,
        penalty=jnp.asarray(penalty, jnp.zeros(()).dtype),
        constants=Constants(
            base.constants.dimension,
            smoothness=smoothness + _LARGEST_CURVATURE * penalty,
            gradient_bound=gradient_bound + _LARGEST_SLOPE * penalty,
            lower_bound=0.0 if base.optimum is None else base.optimum,
        ),
        optimum=None,
        minimiser=None,
        constraint=None,
    )
    return of_workers(problem, num_workers)
