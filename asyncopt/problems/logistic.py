"""Logistic regression, binary and multinomial, on dense and on sparse rows."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from asyncopt.checks import InputError, check_flag, check_integer, check_number
from asyncopt.optim.constraints import Box, Constraint
from asyncopt.problems.data import Dataset, by_name, with_intercept
from asyncopt.problems.logistic_optimum import LogisticLoss, minimise
from asyncopt.problems.partitioned import Partitioned, of_workers
from asyncopt.problems.problem import Constants, Described
from asyncopt.problems.rows import DenseRows, SparseRows, rows_of


class Logistic(Described, eqx.Module):
    """Mean cross-entropy of a linear classifier over the training rows, plus ½ l2 ‖x‖².

    Parameters are float[d] for two classes, float[d, C] for more, d counting the intercept's column.
    """

    title: ClassVar[str] = "logistic regression"
    rows: DenseRows | SparseRows
    labels: Int[Array, " N"]
    test_rows: DenseRows | SparseRows
    test_labels: Int[Array, " M"]
    l2: Float[Array, ""] | None  # None for no regulariser: it would cost a pass over all coordinates
    init_scale: Float[Array, ""]
    constants: Constants
    optimum: float | None
    minimiser: np.ndarray | None  # float64, of the parameters' shape
    constraint: Constraint | None
    num_features: int = eqx.field(static=True)
    num_classes: int = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)

    @property
    def num_rows(self) -> int:
        """N, the number of training rows."""
        return self.labels.shape[0]

    def init(self, key: Key[Array, ""]) -> Float[Array, "d *C"]:
        """Returns normal draws of standard deviation ``init_scale``."""
        shape = _parameter_shape(self.num_features, self.num_classes)
        return self.init_scale * jax.random.normal(key, shape, self.rows.values.dtype)

    def sample(self, key: Key[Array, ""]) -> Int[Array, " B"]:
        """Draws the numbers of ``batch_size`` training rows, with replacement."""
        # One call of the generator instead of `randint`'s three; the modulus favours no row by more than N / 2³².
        bits = jax.random.bits(key, (self.batch_size,), jnp.uint32)
        return (bits % self.labels.shape[0]).astype(jnp.int32)

    def loss(self, params: Float[Array, "d *C"], batch: Int[Array, " B"]) -> Float[Array, ""]:
        """Returns the regularised MEAN cross-entropy of a mini-batch (the paper's own code sums over it)."""
        return self._mean_loss(params, self.rows.take(batch), self.labels[batch])

    def objective(self, params: Float[Array, "d *C"]) -> Float[Array, ""]:
        """Returns F(x), the loss over all training rows."""
        return self._mean_loss(params, self.rows, self.labels)

    def _mean_loss(self, params, rows, labels):
        scores = rows @ params
        if self.num_classes == 2:
            losses = jax.nn.softplus(jnp.where(labels == 1, -scores, scores))
        else:
            losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
        if self.l2 is None:
            return jnp.mean(losses)
        return jnp.mean(losses) + 0.5 * self.l2 * jnp.sum(params**2)

    def metrics(self, params: Float[Array, "d *C"]) -> dict[str, Float[Array, ""]]:
        """Returns the accuracy on the training rows, and on the held-out rows if there are any."""
        accuracies = {"train_accuracy": self._accuracy(params, self.rows, self.labels)}
        if self.test_labels.shape[0]:
            accuracies["test_accuracy"] = self._accuracy(params, self.test_rows, self.test_labels)
        return accuracies

    def _accuracy(self, params, rows, labels):
        scores = rows @ params
        predicted = scores > 0 if self.num_classes == 2 else jnp.argmax(scores, axis=1)
        return jnp.mean(predicted == labels, dtype=scores.dtype)


def logistic(
    data: str | Dataset = "digits",
    l2: float = 1e-3,
    batch_size: int = 32,
    *,
    intercept: bool = True,
    init_scale: float = 0.0,
    constraint: Constraint | None = None,
) -> Logistic | Partitioned:
    """Returns logistic regression on real data, with its optimum from an independent solver.

    Arrays have JAX's default float dtype; the optimum is computed in float64 in any case. Sparse rows stay
    sparse, and may have any length.

    Args:
      data: "digits", "breast_cancer", or a `Dataset` (from `asyncopt.problems.data.libsvm`, say). Rows that
        `asyncopt.problems.data.partition` has divided make a problem whose workers have data of their own.
      l2: weight of ½‖x‖², at least 0. It falls on the intercept as well, so that F is strongly convex.
      batch_size: rows drawn for a gradient, at least 1.
      intercept: add a column of ones.
      init_scale: standard deviation of each coordinate of the start; 0 starts from zero.
      constraint: X, a `Box` with numbers as bounds, an `L2Ball` about a number, or None.

    Returns:
      A problem whose ``optimum`` is certified to 1e-10 of F*, and attained at ``minimiser``. Both are None where that
      could not be certified. On separable data without l2 or constraint, ``optimum`` is 0, which is attained nowhere.

    Raises:
      InputError: if a number is out of range.
    """
    dataset = by_name(data) if isinstance(data, str) else data
    if not isinstance(dataset, Dataset):
        raise InputError(
            f"data is {type(data).__name__}, expected a Dataset, which has classes, or the name of a bundled one"
        )
    check_flag("intercept", intercept)
    l2 = check_number("l2", l2, at_least=0)
    batch_size = check_integer("batch_size", batch_size, at_least=1)
    init_scale = check_number("init_scale", init_scale, at_least=0)
    features = with_intercept(dataset.features) if intercept else dataset.features
    test_features = with_intercept(dataset.test_features) if intercept else dataset.test_features

    num_features = features.shape[1]
    shape = _parameter_shape(num_features, dataset.num_classes)
    loss = LogisticLoss(features, dataset.labels, dataset.num_classes, l2)
    best = minimise(loss, constraint)
    dtype = jax.dtypes.canonicalize_dtype(float)
    problem = Logistic(
        rows=rows_of(features, dtype),
        # Placed as they are: each kind of conversion by JAX is a program of its own, which takes 5 ms to start.
        labels=jax.device_put(dataset.labels.astype(np.int32)),
        test_rows=rows_of(test_features, dtype),
        test_labels=jax.device_put(dataset.test_labels.astype(np.int32)),
        l2=jax.device_put(np.asarray(l2, dtype)) if l2 else None,
        init_scale=jax.device_put(np.asarray(init_scale, dtype)),
        constants=_constants(loss, constraint, 0.0 if best is None else best.value),
        optimum=None if best is None else np.float64(best.value),
        minimiser=None if best is None or best.point is None else best.point.reshape(shape),
        constraint=constraint,
        num_features=num_features,
        num_classes=dataset.num_classes,
        batch_size=batch_size,
    )
    return of_workers(problem, dataset.num_workers)


def _parameter_shape(num_features: int, num_classes: int) -> tuple[int, ...]:
    return (num_features,) if num_classes == 2 else (num_features, num_classes)


def _constants(loss: LogisticLoss, constraint: Constraint | None, lower_bound: float) -> Constants:
    """Returns the constants: L from the largest singular value, G from the largest feature, and with l2 the box.

    The cross-entropy's Hessian in the scores has norm at most 1/4 (two classes) or 1/2 (more), and its gradient
    is at most 1 in each score (Böhning, Multinomial logistic regression algorithm, 1992).
    """
    curvature = 0.25 if loss.num_classes == 2 else 0.5
    largest_weight, diameter = np.inf, None
    if isinstance(constraint, Box):
        lower, upper = float(np.min(constraint.lower)), float(np.max(constraint.upper))
        largest_weight = max(abs(lower), abs(upper))
        diameter = upper - lower if np.isfinite(largest_weight) else None
    regulariser_gradient = loss.l2 * largest_weight if loss.l2 else 0.0
    gradient_bound = abs(loss.features).max() + regulariser_gradient
    return Constants(
        dimension=loss.size,
        smoothness=curvature * loss.largest_singular_value() ** 2 / len(loss.labels) + loss.l2,
        strong_convexity=loss.l2 or None,
        gradient_bound=float(gradient_bound) if np.isfinite(gradient_bound) else None,
        diameter=diameter,
        lower_bound=lower_bound,
        convex=True,
    )
