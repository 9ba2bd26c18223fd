"""The minimum of regularised logistic regression, by SciPy in float64, with a certificate of its accuracy.

It shares no code with the JAX loss: their agreement is an independent check.
"""

from typing import NamedTuple

import numpy as np
import scipy  # which imports optimize and special at first use: they take long, and no other problem needs them
import scipy.sparse
import threadpoolctl
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, cg, svds

from asyncopt.checks import InputError
from asyncopt.optim.constraints import Box, Constraint, L2Ball
from asyncopt.problems.data import Matrix

Vector = Float[np.ndarray, " n"]

# The largest relative error of F* that is accepted.
ACCURACY = 1e-10
_MAX_NEWTON_STEPS = 200
# Up to so many numbers, products with the features take one thread: on a busy machine the threads of BLAS wait for
# each other twenty times as long, and the last digits would depend on the number of cores.
_FEW_NUMBERS = 10**7


class Minimum(NamedTuple):
    """The infimum of F over X, and where it is attained (None if nowhere, on separable data)."""

    point: Vector | None
    value: float


class LogisticLoss:
    """F(x), its gradient, and its Hessian times a vector, in NumPy and SciPy.

    Args:
      features: float64[N, d], dense or compressed sparse rows.
      labels: int64[N], classes 0..num_classes - 1.
      num_classes: C. With 2, x has d entries and class 1 has the score; with more, d · C.
      l2: weight of ½‖x‖².
    """

    def __init__(self, features: Matrix, labels: np.ndarray, num_classes: int, l2: float):
        self.features, self.labels, self.num_classes, self.l2 = features, labels, num_classes, l2
        self.num_scores = 1 if num_classes == 2 else num_classes
        self.size = features.shape[1] * self.num_scores
        # With two classes, the score of class 0 is 0: then both cases are a softmax.
        self._targets = np.eye(num_classes)[labels][:, num_classes - self.num_scores :]
        self._last: tuple[Vector, np.ndarray, np.ndarray] | None = None  # a point, and its probabilities

    def _scores(self, point: Vector) -> np.ndarray:
        """Returns each row's score of every class, N by C; with two classes that of class 0 is 0."""
        scores = self.features @ point.reshape(-1, self.num_scores)
        return np.hstack([np.zeros((len(scores), self.num_classes - self.num_scores)), scores])

    def _probabilities(self, point: Vector) -> tuple[np.ndarray, np.ndarray]:
        """Returns -log p of each row's own class, and p of each class that has a score.

        Those of the last point are kept: a solver asks for many products with the Hessian at one point.
        """
        if self._last is None or not np.array_equal(self._last[0], point):
            full = self._scores(point)
            log_p = full - scipy.special.logsumexp(full, axis=1, keepdims=True)
            own = -log_p[np.arange(len(full)), self.labels]
            self._last = point.copy(), own, np.exp(log_p[:, self.num_classes - self.num_scores :])
        return self._last[1:]

    def value_and_gradient(self, point: Vector) -> tuple[float, Vector]:
        """Returns F(x) and ∇F(x)."""
        own, p = self._probabilities(point)
        slope = self.features.T @ (p - self._targets) / len(own)
        return float(own.mean() + 0.5 * self.l2 * point @ point), slope.ravel() + self.l2 * point

    def separates(self, point: Vector) -> bool:
        """Whether every row's own class has the highest score, by more than rounding."""
        full = self._scores(point)
        rows = np.arange(len(full))
        own = full[rows, self.labels]
        full[rows, self.labels] = -np.inf
        return bool(np.all(own - full.max(axis=1) > 1e-9 * (1 + np.abs(own))))

    def hessian_times(self, point: Vector, direction: Vector) -> Vector:
        """Returns ∇²F(x) v."""
        _, p = self._probabilities(point)
        change = self.features @ direction.reshape(-1, self.num_scores)
        spread = p * (change - np.sum(p * change, axis=1, keepdims=True))
        return (self.features.T @ spread / len(p)).ravel() + self.l2 * direction

    def largest_singular_value(self) -> float:
        """Returns ‖features‖_2."""
        if min(self.features.shape) <= 1000:
            gram = self.features.T @ self.features
            if self.features.shape[0] < self.features.shape[1]:
                gram = self.features @ self.features.T
            dense = gram if isinstance(gram, np.ndarray) else gram.toarray()
            return float(np.sqrt(np.linalg.eigvalsh(dense)[-1]))
        # A fixed start: ARPACK's own is random, and the last digits would differ from run to run.
        start = np.ones(min(self.features.shape))
        return float(svds(self.features, k=1, v0=start, return_singular_vectors=False)[0])


def minimise(loss: LogisticLoss, constraint: Constraint | None) -> Minimum | None:
    """Returns the minimum of F over X, or None if it could not be certified to `ACCURACY` of its value.

    Args:
      loss: F.
      constraint: X: None, a `Box` with numbers as bounds, or an `L2Ball` about a number.

    Raises:
      InputError: for any other constraint.
    """
    few = loss.features.shape[0] * loss.features.shape[1] <= _FEW_NUMBERS
    with threadpoolctl.threadpool_limits(1 if few else None, "blas"):
        return _minimise(loss, constraint)


def _minimise(loss: LogisticLoss, constraint: Constraint | None) -> Minimum | None:
    error = np.inf
    if constraint is None:
        point = _unconstrained(loss, np.zeros(loss.size))
        if loss.l2 == 0 and loss.separates(point):
            return Minimum(None, 0.0)
        if loss.l2 == 0:
            error = _newton_decrement(loss, point)
    elif isinstance(constraint, Box) and np.ndim(constraint.lower) == np.ndim(constraint.upper) == 0:
        low, high = float(constraint.lower), float(constraint.upper)
        point = _within_box(loss, low, high)
        error = _box_gap(loss.value_and_gradient(point)[1], point, low, high)
    elif isinstance(constraint, L2Ball) and np.ndim(constraint.center) == 0:
        point = _within_ball(loss, constraint)
        error = _ball_gap(loss.value_and_gradient(point)[1], point, constraint)
    else:
        raise InputError(f"constraint is {constraint!r}, expected a Box or L2Ball given by numbers")
    value, gradient = loss.value_and_gradient(point)
    if loss.l2 > 0:
        # Strong convexity: F(x) - F* <= ‖∇F(x)‖² / (2μ), with or without a constraint.
        error = min(error, float(gradient @ gradient) / (2 * loss.l2))
    return Minimum(point, value) if error <= ACCURACY * value else None


def _unconstrained(loss: LogisticLoss, start: Vector) -> Vector:
    """Returns the minimiser by Newton's method in a trust region, to where rounding hides any further decrease.

    Without l2 it also stops at a point that separates the classes: F then has no minimum.
    """

    def stop_if_separated(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        if loss.l2 == 0 and loss.separates(intermediate_result.x):
            raise StopIteration

    result = scipy.optimize.minimize(
        loss.value_and_gradient,
        start,
        jac=True,
        hessp=loss.hessian_times,
        method="trust-ncg",
        callback=stop_if_separated,
        options={"gtol": 1e-12, "maxiter": _MAX_NEWTON_STEPS},
    )
    return result.x


def _newton_decrement(loss: LogisticLoss, point: Vector) -> float:
    """Returns ½ gᵀH⁻¹g, which near a minimum is F(x) - F* to first order."""
    _, gradient = loss.value_and_gradient(point)
    return float(0.5 * gradient @ _newton_direction(loss, point, gradient, np.ones(loss.size, bool)))


def _within_box(loss: LogisticLoss, low: float, high: float) -> Vector:
    """Returns the minimiser: L-BFGS-B finds which bounds hold, Newton steps refine the coordinates that are free."""
    bounds = scipy.optimize.Bounds(np.full(loss.size, low), np.full(loss.size, high))
    start = np.clip(np.zeros(loss.size), low, high)
    options = {"ftol": 1e-9, "gtol": 1e-9, "maxiter": 2000, "maxfun": 10_000, "maxcor": 30}
    point = scipy.optimize.minimize(
        loss.value_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    ).x
    for _ in range(_MAX_NEWTON_STEPS):
        value, gradient = loss.value_and_gradient(point)
        gap = _box_gap(gradient, point, low, high)
        if gap <= 0.01 * ACCURACY * value:
            break
        held = ((point <= low) & (gradient > 0)) | ((point >= high) & (gradient < 0))
        step = _newton_direction(loss, point, gradient, ~held)
        for halving in range(30):
            trial = np.clip(point - step / 2.0**halving, low, high)
            trial_value, trial_gradient = loss.value_and_gradient(trial)
            # Close to the minimum, rounding hides progress in F, but not in the gap.
            if trial_value < value or _box_gap(trial_gradient, trial, low, high) < gap:
                point = trial
                break
        else:
            break
    return point


def _newton_direction(loss: LogisticLoss, point: Vector, gradient: Vector, free: np.ndarray) -> Vector:
    """Returns H⁻¹g on the free coordinates, by conjugate gradients, and 0 on the others."""

    def hessian_on_free(v: Vector) -> Vector:
        return np.where(free, loss.hessian_times(point, np.where(free, v, 0.0)), v)

    hessian = LinearOperator((loss.size, loss.size), matvec=hessian_on_free, dtype=float)
    return cg(hessian, np.where(free, gradient, 0.0), rtol=1e-6, maxiter=10 * loss.size)[0]


def _box_gap(gradient: Vector, point: Vector, low: float, high: float) -> float:
    """Returns the Frank-Wolfe gap, max over z in X of ⟨∇F(x), x - z⟩, which by convexity bounds F(x) - F*."""
    worst = np.where(gradient > 0, low, high)
    return float(np.sum((gradient * (point - worst))[gradient != 0]))


def _ball_gap(gradient: Vector, point: Vector, ball: L2Ball) -> float:
    """Returns the Frank-Wolfe gap over a ball."""
    return float(gradient @ (point - ball.center) + ball.radius * np.linalg.norm(gradient))


def _within_ball(loss: LogisticLoss, ball: L2Ball) -> Vector:
    """Returns the minimiser of F + λ/2 ‖x - c‖² for the λ >= 0 at which it lies on the sphere."""
    center = np.full(loss.size, float(ball.center))
    solution = center

    def excess(log_multiplier: float) -> float:
        nonlocal solution
        solution = _unconstrained(_Anchored(loss, center, 10.0**log_multiplier), solution)
        return float(np.linalg.norm(solution - center) / ball.radius - 1)

    outside = 0.0
    while excess(outside) < 0:
        outside -= 1.0
        if outside < -9:  # the constraint does not bind
            return _unconstrained(loss, solution)
    inside = outside + 1.0
    while excess(inside) > 0:
        inside += 1.0
    scipy.optimize.brentq(excess, outside, inside, xtol=1e-15)
    offset = solution - center
    # Rescaled onto the sphere: the remaining error in λ then enters F to second order only.
    return center + offset * (ball.radius / np.linalg.norm(offset))


class _Anchored(LogisticLoss):
    """A loss with λ/2 ‖x - c‖² added."""

    def __init__(self, loss: LogisticLoss, center: Vector, multiplier: float):
        super().__init__(loss.features, loss.labels, loss.num_classes, loss.l2)
        self._center, self._multiplier = center, multiplier

    def value_and_gradient(self, point: Vector) -> tuple[float, Vector]:
        value, gradient = super().value_and_gradient(point)
        offset = point - self._center
        return value + 0.5 * self._multiplier * float(offset @ offset), gradient + self._multiplier * offset

    def hessian_times(self, point: Vector, direction: Vector) -> Vector:
        return super().hessian_times(point, direction) + self._multiplier * direction

    def separates(self, point: Vector) -> bool:
        return False  # with the added term, separable data have a minimum, too
