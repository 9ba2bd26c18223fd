"""Fits of power laws, against SciPy and against their own conditions."""

import numpy as np
import pytest
import scipy.optimize

from asyncopt.analysis import fits

LENGTHS = np.array([1e3, 3162, 1e4, 31_623, 1e5])


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_units_of_a_design_do_not_matter(unit):
    design, target = unit * np.array([[1.0, 0.1], [1.0, 0.3], [1.0, 0.7]]), np.array([2.1, 2.3, 2.7])
    theta = fits.one_sided_least_squares(design, target, np.zeros(3, int))
    np.testing.assert_allclose(theta * unit, [2, 1], rtol=1e-6)
    twice = design[:, 1:] * [1, 3]
    assert np.isnan(fits.one_sided_least_squares(twice, target, np.zeros(3, int))).all()


def test_as_many_measurements_as_parameters_are_needed():
    """Two fix a line; one does not, though the limit is on its wrong side and counts."""
    x, y = np.exp([0.0, 1, 2]), np.exp([0.0, 1, 5])
    np.testing.assert_allclose(fits.power_law_slope(x, y, np.array([0, 0, fits.AT_MOST])), [0, 1], atol=1e-9)
    assert np.isnan(fits.power_law_slope(x, y, np.array([0, fits.AT_LEAST, fits.AT_LEAST]))).all()


def grid(noise=0.0, seed=0):
    """Delays and K of nine cells, and y = 3 τ^1.3 K^-0.9 in them, up to a factor near 1."""
    tau, k = (each.ravel() for each in np.meshgrid([1.0, 4, 16], [1e3, 1e4, 1e5]))
    return tau, k, 3 * tau**1.3 * k**-0.9 * (1 + noise * np.random.default_rng(seed).normal(size=9))


def test_a_surface_is_where_the_derivative_of_its_squares_vanishes():
    """With σ² = e² + (0.05 f)² of row 0 for all rows, as documented; the errors differ by a factor of 10."""
    tau, k, y = grid(noise=0.1)
    rows = np.stack([y, y * (1 + 0.02 * np.random.default_rng(1).normal(size=9))])
    error = y * np.geomspace(0.02, 0.2, 9)
    design = np.stack([np.ones(9), np.log(tau), np.log(k)], axis=1)
    fitted = np.exp(fits.power_law_surface(tau, k, rows, error) @ design.T)
    parts = ((rows - fitted) * fitted / (error**2 + (0.05 * fitted[0]) ** 2))[..., None] * design
    assert (np.abs(parts.sum(axis=1)) < 1e-3 * np.abs(parts).sum(axis=1)).all()


def test_a_surface_starts_from_what_is_above_two_standard_errors():
    """Three cells fix it. The fit passes through all of them, unless one is lost in its noise."""
    tau, k, y = (each[[0, 2, 8]] for each in grid())
    for errors, found in ((2.1, True), (1.9, False)):
        fitted = fits.power_law_surface(tau, k, y[None], y / [10, 10, errors])
        assert (fitted.shape, np.isfinite(fitted).all()) == ((1, 3), found)
        if found:
            np.testing.assert_allclose(fitted, [[np.log(3), 1.3, -0.9]], rtol=1e-6)


def test_the_bend_of_a_parabola_in_logarithms():
    logs = np.log(LENGTHS)
    y = np.exp(np.stack([1 - 2 * logs + 0.03 * logs**2, 4 + logs - 0.05 * logs**2]))
    np.testing.assert_allclose(fits.curvature(LENGTHS, y), [0.03, -0.05], rtol=1e-6)


def objective(q, y):
    """The least sum of squares of 1 - f/y for this q, over A and B of at least 0."""
    return scipy.optimize.nnls(np.stack([1 / LENGTHS, LENGTHS**-q], axis=1) / y[:, None], np.ones(5))[1]


@pytest.mark.parametrize("bend", [-0.06, -0.02, 0.02, 0.06])
@pytest.mark.parametrize("slope", [-0.7, -0.4, 0.2])
def test_the_tail_is_that_of_the_least_squares(bend, slope):
    """Below a bend of 0, A = 0 is best: the power law alone."""
    logs = np.log(LENGTHS / 1e4)
    y = np.exp(slope * logs + bend * logs**2)
    (q,) = fits.tail_exponent(LENGTHS, y[None])
    tried = np.linspace(-1, 0.99, 1991)
    best = tried[np.argmin([objective(each, y) for each in tried])]
    assert q == pytest.approx(best, abs=2e-3)


def test_the_exponent_of_a_tail_between_those_that_are_tried():
    """A grid of 0.005 is tried; a parabola through three of its points is far more precise."""
    k = LENGTHS
    for q in (0.1012, 0.2525, 0.4038, -0.3012):
        assert fits.tail_exponent(k, (30 / k + 0.02 * k**-q)[None])[0] == pytest.approx(q, abs=2e-4)
    # Beyond the ends of the grid it is an end.
    np.testing.assert_allclose(fits.tail_exponent(k, np.stack([k**1.5, k**-0.993])), [-1, 0.99], atol=0.006)


@pytest.mark.parametrize("seed", range(30))
def test_one_sided_least_squares_against_a_general_minimiser(seed):
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(4, 12)), int(rng.integers(2, 4))
    design = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    target = rng.normal(size=n) * 3
    side = rng.choice([fits.EXACT, fits.AT_LEAST, fits.AT_MOST], n)
    side[:p] = fits.EXACT

    def objective(theta):
        residual = target - design @ theta
        counted = (side == 0) | ((side > 0) & (residual > 0)) | ((side < 0) & (residual < 0))
        return np.sum(np.where(counted, residual, 0) ** 2)

    best = min(
        (scipy.optimize.minimize(objective, rng.normal(size=p), method="BFGS", tol=1e-10) for _ in range(3)),
        key=lambda result: result.fun,
    )
    theta = fits.one_sided_least_squares(design, target, side)
    assert objective(theta) <= best.fun * (1 + 1e-6) + 1e-9


def test_limits_count_only_on_the_wrong_side():
    x, y = np.array([1.0, 10, 100, 1000]), np.array([1.0, 10, 100, 500])
    exact = fits.power_law_slope(x, y, np.zeros(4, int))[1]
    assert exact < 1
    as_limit = fits.power_law_slope(x, y, np.array([0, 0, 0, fits.AT_LEAST]))[1]
    assert as_limit == pytest.approx(1)  # the line passes above it: no contradiction
    too_high = fits.power_law_slope(x, np.array([1.0, 10, 100, 5000]), np.array([0, 0, 0, fits.AT_LEAST]))[1]
    assert too_high > 1.05


def test_what_cannot_be_fitted_is_nan():
    x, y = np.array([1.0, 10, 100]), np.array([1.0, 2, 3])
    assert np.isnan(fits.power_law_slope(x, y, np.array([0, 1, 1]))).all()
    assert np.isnan(fits.power_law_slope(np.full(3, 7.0), y, np.zeros(3, int))).all()
    # Two limits that contradict each other would fix a line, with one measurement only.
    limits = np.array([fits.EXACT, fits.AT_LEAST, fits.AT_MOST])
    assert np.isnan(fits.power_law_slope(np.exp([0.0, 1, 2]), np.exp([0.0, 5, 1]), limits)).all()
    # τ a power of K in all cells: p and q cannot be told apart.
    k = np.array([1e3, 1e4, 1e5, 1e6])
    assert np.isnan(fits.power_law_surface(k**0.25, k, 1 / k[None], 0.01 / k)).all()


def test_a_surface_without_noise_is_found():
    tau, k, y = grid()
    fitted = fits.power_law_surface(tau, k, np.stack([y, 2 * y]), 0.01 * y)
    np.testing.assert_allclose(fitted, [[np.log(3), 1.3, -0.9], [np.log(6), 1.3, -0.9]], rtol=1e-6)


def test_the_tail_below_a_transient():
    """30/K + 0.02 K^-1/4, whose slope over all K is -0.68, and pure powers of K."""
    k = LENGTHS
    y = np.stack([30 / k + 0.02 * k**-0.25, 3 / k + 0.1 * k**-0.5, k**-0.4])
    np.testing.assert_allclose(fits.tail_exponent(k, y), [0.25, 0.5, 0.4], atol=0.006)
    assert np.isnan(fits.tail_exponent(k, 2 / k[None])).all()
    assert (fits.curvature(k, y[:2]) > 0.01).all()
    assert fits.curvature(k, y[2:])[0] == pytest.approx(0, abs=1e-9)


def test_threshold_exponent_with_limits():
    k = np.array([1e3, 1e4, 1e5, 1e6])
    value, side = k**0.3, np.zeros(4, int)
    assert fits.power_law_slope(k, value, side)[1] == pytest.approx(0.3)
    value[3], side[3] = 1e6**0.25, fits.AT_LEAST
    assert fits.power_law_slope(k, value, side)[1] == pytest.approx(0.3)
    value[0], side[0] = 1e3**0.2, fits.AT_MOST
    assert fits.power_law_slope(k, value, side)[1] > 0.3
