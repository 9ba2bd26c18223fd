"""L, G, D and the lower bound of every problem, against samples: never exceeded, and not idly large."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import asyncopt
from asyncopt import problems

BOX = asyncopt.Box(-1.0, 1.5)


def few_digits():
    """Enough of them to have every class, few enough to be quick."""
    data = problems.data.digits()
    return dataclasses.replace(data, features=data.features[:60], labels=data.labels[:60])


PROBLEMS = {
    "quadratic": lambda: problems.quadratic(5, 20.0, noise=0.3, constraint=BOX),
    "hard_instance": lambda: problems.hard_instance(100, 2.0, 0.7),
    "mirrored_hard_instance": lambda: problems.hard_instance(100, 2.0, 0.7, start=1.0, sign=-1),
    "binary": lambda: problems.logistic("breast_cancer", 1e-2, 4, constraint=BOX),
    "multinomial": lambda: problems.logistic(few_digits(), 0.0, 4, constraint=BOX),
    "nonconvex_binary": lambda: problems.nonconvex_logistic("breast_cancer", 0.2, 4),
    "nonconvex_multinomial": lambda: problems.nonconvex_logistic(few_digits(), 0.2, 4),
    "robust_regression": lambda: problems.robust_regression("diabetes", 0.8, 4),
}


@pytest.fixture(scope="module", params=PROBLEMS)
def problem(request):
    return PROBLEMS[request.param]()


def points(problem, number, seed=0):
    """Random points of X, of many sizes where X is unbounded."""
    rng = np.random.default_rng(seed)
    shape = problem.init(jax.random.key(0)).shape
    constraint = problem.constraint
    if constraint is None:
        return [jnp.asarray(rng.normal(size=shape) * 10.0 ** rng.uniform(-2, 2)) for _ in range(number)]
    return [jnp.asarray(rng.uniform(constraint.lower, constraint.upper, shape)) for _ in range(number)]


def test_gradient_bound(problem):
    gradient = jax.jit(jax.grad(problem.loss))
    keys = jax.random.split(jax.random.key(1), 300)
    largest = max(
        float(jnp.max(jnp.abs(gradient(x, problem.sample(key)))))
        for x, key in zip(points(problem, 300), keys, strict=True)
    )
    assert largest <= problem.constants.gradient_bound * (1 + 1e-12)
    assert largest >= 0.05 * problem.constants.gradient_bound


def test_smoothness(problem):
    gradient = jax.jit(jax.grad(problem.objective))
    rng, ratios = np.random.default_rng(2), []
    # Short steps from near the origin, where the curvature is largest, in the direction in which it is.
    for index, x in enumerate(points(problem, 60)):
        x = x * (0.01 if index % 2 else 1.0)
        direction = jnp.asarray(rng.normal(size=x.shape))
        for _ in range(5):
            direction = direction / jnp.linalg.norm(direction) * 1e-4
            change = gradient(x + direction) - gradient(x)
            ratios.append(float(jnp.linalg.norm(change) / 1e-4))
            direction = change if ratios[-1] > 0 else direction
    smoothness = problem.constants.smoothness
    assert max(ratios) <= smoothness * (1 + 1e-6) + 1e-12
    assert max(ratios) >= 0.1 * smoothness


def test_lower_bound_and_optimum(problem):
    value_and_gradient = jax.jit(jax.value_and_grad(lambda x: problem.objective(x.reshape(shape))))
    shape = problem.init(jax.random.key(0)).shape
    bounds = (
        None
        if problem.constraint is None
        else [(problem.constraint.lower, problem.constraint.upper)] * int(np.prod(shape))
    )
    best = min(
        scipy.optimize.minimize(
            lambda x: tuple(np.asarray(part, float) for part in value_and_gradient(x)),
            np.asarray(start).ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 200},
        ).fun
        for start in points(problem, 4, seed=3)
    )
    assert problem.constants.lower_bound <= best + 1e-9 * abs(best)
    if problem.optimum is not None:
        assert problem.constants.lower_bound == pytest.approx(problem.optimum, abs=1e-12)
        assert best - problem.optimum < 1e-2


def test_minimiser(problem):
    """It attains the optimum, and for the convex problems no direction within X leads down from it."""
    if problem.minimiser is None:
        assert not problem.constants.convex
        return
    minimiser = jnp.asarray(problem.minimiser)
    assert problem.minimiser.dtype == np.float64
    assert minimiser.shape == problem.init(jax.random.key(0)).shape
    assert problem.constraint.contains(minimiser)
    assert float(problem.objective(minimiser)) == pytest.approx(problem.optimum, rel=1e-12, abs=1e-15)
    slope = jax.grad(problem.objective)(minimiser)
    assert min(float(jnp.sum(slope * (x - minimiser))) for x in points(problem, 100, seed=7)) >= -1e-9


def test_convex_or_not(problem):
    """Convex problems are so on every segment sampled; on some segment of the others the opposite is seen."""
    objective = jax.jit(lambda x: problem.objective(x))
    ends = points(problem, 200, seed=4)
    bends = [
        float(objective((x + y) / 2) - (objective(x) + objective(y)) / 2)
        for x, y in zip(ends[::2], ends[1::2], strict=True)
    ]
    assert (max(bends) <= 1e-9) == problem.constants.convex


def test_diameter(problem):
    if problem.constraint is None:
        assert problem.constants.diameter is None
    else:
        assert problem.constants.diameter == problem.constraint.upper - problem.constraint.lower


def test_mini_batches_are_unbiased(problem):
    x = points(problem, 1, seed=5)[0] * (0.1 if problem.constraint is None else 1.0)
    keys = jax.random.split(jax.random.key(6), 20_000)
    gradients = jax.jit(jax.vmap(lambda key: jax.grad(problem.loss)(x, problem.sample(key))))(keys)
    error = jnp.std(gradients, axis=0) / np.sqrt(len(keys))
    difference = jnp.abs(jnp.mean(gradients, axis=0) - jax.grad(problem.objective)(x))
    assert bool(jnp.all(difference <= 5 * error + 1e-12))
