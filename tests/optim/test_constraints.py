import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncopt import Box, InputError, L2Ball


def solve_in_ball(point, scale, center, radius):
    """argmin Σ scale (x - point)² over the ball: SLSQP finds which side, a root of the KKT system all the digits."""
    inside = {
        "type": "ineq",
        "fun": lambda x: radius**2 - np.sum((x - center) ** 2),
        "jac": lambda x: -2 * (x - center),
    }
    rough = scipy.optimize.minimize(
        lambda x: np.sum(scale * (x - point) ** 2),
        center,
        jac=lambda x: 2 * scale * (x - point),
        method="SLSQP",
        constraints=[inside],
        options={"ftol": 1e-12, "maxiter": 1000},
    ).x
    if np.linalg.norm(rough - center) < radius * (1 - 1e-4):
        return point  # nothing binds: the minimum of the sum itself

    def optimality(unknowns):
        x, multiplier = unknowns[:-1], unknowns[-1]
        return np.r_[scale * (x - point) + multiplier * (x - center), np.sum((x - center) ** 2) / radius**2 - 1]

    multiplier = np.sum(scale * (point - rough) * (rough - center)) / radius**2
    solved = scipy.optimize.root(optimality, np.r_[rough, multiplier], options={"xtol": 1e-14})
    return solved.x[:-1] if solved.x[-1] > 0 else point


def solve_in_box(point, scale, low, high):
    """The same over a box: least squares with bounds, by the active-set method of Stark and Parker."""
    root = np.sqrt(scale)
    return scipy.optimize.lsq_linear(np.diag(root), root * point, (low, high), method="bvls", tol=1e-14).x


cases = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(cases)
@settings(max_examples=60, deadline=None)
def test_ball_agrees_with_a_general_solver(rng):
    n = rng.integers(1, 7)
    point, scale = rng.normal(size=n) * 3, 10 ** rng.uniform(-1.5, 1, n)
    center, radius = rng.normal(size=n), rng.uniform(0.2, 3)
    ours = np.asarray(L2Ball(radius, jnp.asarray(center)).project(jnp.asarray(point), jnp.asarray(scale)))
    theirs = solve_in_ball(point, scale, center, radius)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


@given(cases)
@settings(max_examples=40, deadline=None)
def test_box_agrees_with_a_general_solver(rng):
    n = rng.integers(1, 7)
    point, scale = rng.normal(size=n) * 3, 10 ** rng.uniform(-1, 1, n)
    low = rng.normal(size=n) - 1
    high = low + rng.uniform(0.01, 3, n)
    ours = np.asarray(Box(jnp.asarray(low), jnp.asarray(high)).project(jnp.asarray(point), jnp.asarray(scale)))
    theirs = solve_in_box(point, scale, low, high)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


@pytest.mark.parametrize("n", [1, 10, 10_000, 1_000_000])
@pytest.mark.parametrize("decades", [0, 6, 12])
def test_multiplier_is_found_to_machine_precision(n, decades):
    rng = np.random.default_rng(n)
    point, scale = rng.normal(size=n), 10 ** rng.uniform(-decades, 0, n)
    radius = 0.3 * np.linalg.norm(point)
    ours = np.asarray(jax.jit(L2Ball(radius).project)(jnp.asarray(point), jnp.asarray(scale)))
    assert np.linalg.norm(ours) == pytest.approx(radius, rel=1e-13)
    # Optimality: scale (point - x) = λ x, with one λ for all coordinates.
    large = np.abs(ours) > 1e-6 * np.abs(ours).max()
    multipliers = scale[large] * (point[large] - ours[large]) / ours[large]
    multiplier = np.median(multipliers)
    assert multiplier > 0
    np.testing.assert_allclose(scale * point / (scale + multiplier), ours, rtol=1e-9, atol=1e-12 * radius)


def test_a_point_inside_does_not_move():
    point = jnp.array([0.1, -0.2])
    np.testing.assert_array_equal(L2Ball(1.0).project(point, jnp.ones(2)), point)
    np.testing.assert_array_equal(Box(-1.0, 1.0).project(point, jnp.ones(2)), point)


def test_ball_spans_the_whole_tree():
    point = {"a": jnp.array([3.0]), "b": (jnp.array([[4.0]]), None)}
    scale = jax.tree.map(jnp.ones_like, point)
    projected = L2Ball(1.0).project(point, scale)
    np.testing.assert_allclose(projected["a"], [0.6])
    np.testing.assert_allclose(projected["b"][0], [[0.8]])
    assert projected["b"][1] is None


def test_zero_scales_are_the_limit_of_small_ones():
    point = jnp.array([2.0, 2.0, 0.5])
    for scale in (jnp.array([0.0, 1.0, 1.0]), jnp.zeros(3)):
        exact = L2Ball(1.0).project(point, scale)
        limit = L2Ball(1.0).project(point, jnp.where(scale > 0, scale, 1e-13))
        assert np.isfinite(exact).all()
        np.testing.assert_allclose(exact, limit, atol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_low_precision_stays_in_the_ball(dtype):
    point = jax.random.normal(jax.random.key(0), (100_000,), dtype)
    projected = L2Ball(2.0).project(point, jnp.abs(point))
    assert projected.dtype == dtype
    tolerance = 4 * float(jnp.finfo(dtype).eps)
    assert np.linalg.norm(np.asarray(projected, float)) <= 2.0 * (1 + tolerance)
    assert L2Ball(2.0).contains(projected)


def test_bounds_may_be_prefixes_and_lack_leaves():
    box = Box({"a": -1.0, "b": 0.0}, {"a": 1.0, "b": {"c": 2.0, "d": jnp.array([1.0, 3.0])}})
    point = {"a": [jnp.array(5.0), None], "b": {"c": jnp.array(-3.0), "d": jnp.array([5.0, 5.0])}}
    projected = box.project(point, point)
    assert float(projected["a"][0]) == 1.0
    assert float(projected["b"]["c"]) == 0.0
    np.testing.assert_array_equal(projected["b"]["d"], [1.0, 3.0])
    masked = {"a": [optax.MaskedNode(), None], "b": {"c": jnp.array(9.0), "d": optax.MaskedNode()}}
    assert float(box.project(masked, masked)["b"]["c"]) == 2.0


def test_under_vmap():
    points = jax.random.normal(jax.random.key(1), (5, 3)) * 4
    scales = jnp.exp(jax.random.normal(jax.random.key(2), (5, 3)))
    together = jax.vmap(L2Ball(1.0).project)(points, scales)
    for i in range(5):
        np.testing.assert_allclose(together[i], L2Ball(1.0).project(points[i], scales[i]), rtol=1e-14)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(1.0, -1.0), "bounds cross: lower 1.0 is above upper -1.0"),
        (lambda: Box(jnp.array([0.0, 2.0]), jnp.array([1.0, 1.0])), "bounds cross"),
        (lambda: Box(float("nan"), 1.0), "lower is nan, expected numbers"),
        (lambda: Box("low", 1.0), "lower is 'low', expected numbers"),
        (lambda: L2Ball(0.0), "radius is 0.0, expected a finite number > 0"),
        (lambda: L2Ball(float("inf")), "radius is inf"),
        (
            lambda: Box(jnp.zeros(3), 1.0).project(jnp.zeros(2), jnp.ones(2)),
            "lower does not fit the parameters",
        ),
        (lambda: Box({"a": 0.0}, 1.0).project({"b": jnp.zeros(2)}, {"b": jnp.ones(2)}), "lower does not fit"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(InputError, match=message):
        make()
