"""Inflations and thresholds, also at the ends of what was tried, by hand."""

import numpy as np
import pytest

from asyncopt.analysis.fits import AT_LEAST, AT_MOST, EXACT
from asyncopt.analysis.inflation import ACCEPTED_INFLATION, inflation, threshold

K = np.array([100.0, 1000, 10_000])


@pytest.mark.parametrize(
    ("reached", "needed", "side"),
    [
        # Straight lines in log-log between 1 after 100, 0.1 after 1000 and 0.001 after 10,000 updates.
        (1.0, 100, EXACT),
        (10**-0.5, 10**2.5, EXACT),
        (0.1, 1000, EXACT),
        (0.01, 10**3.5, EXACT),
        (0.001, 10_000, EXACT),
        # Beyond, up to a factor of 2, the overall slope: three decades over two.
        (1.5**1.5, 100 / 1.5, EXACT),
        (1.99**1.5, 100 / 1.99, EXACT),
        (2.01**1.5, 50, AT_LEAST),
        (0.001 * 1.5**-1.5, 15_000, EXACT),
        (0.001 * 2.5**-1.5, 20_000, EXACT),
    ],
)
def test_the_updates_that_are_needed_without_delay(reached, needed, side):
    value, found = inflation(K, np.array([1.0, 0.1, 0.001]), 1000, np.array(reached))
    assert value == pytest.approx(1000 / needed)
    assert found == side


@pytest.mark.parametrize(("reached", "needed"), [(0.2, 500), (0.1, 1000), (0.08, 5000 * 2**0.322), (0.05, 10_000)])
def test_a_run_without_delay_that_is_worse_than_a_shorter_one_counts_as_equal(reached, needed):
    """Means of 1, 0.1, 0.3 and 0.05 are taken for 1, 0.1, 0.1 and 0.05: 0.08 is 0.322 of the way to the last."""
    k, reference = np.array([100.0, 1000, 5000, 10_000]), np.array([1.0, 0.1, 0.3, 0.05])
    value, side = inflation(k, reference, 1000, np.array(reached))
    assert value == pytest.approx(1000 / needed, rel=1e-4)
    assert side == EXACT


def test_each_row_has_its_own_curve_and_its_own_target():
    reference = np.array([[1.0, 0.1, 0.01], [1.0, 0.01, 0.0001]])
    value, _ = inflation(K, reference, 1000, np.array([0.1, 0.1]))
    np.testing.assert_allclose(value, [1, 10**0.5])


@pytest.mark.parametrize(
    ("inflations", "value", "side"),
    [
        ([1.0], 4, AT_LEAST),
        ([1.1], 4, AT_LEAST),
        ([1.2], 4, AT_MOST),
        ([1.0, 1.21], 8, EXACT),  # half-way from 4 to 16
        ([1.0, 1.1], 16, AT_LEAST),
        ([1.1, 1.21], 4, EXACT),
        ([1.0, np.inf], 4, EXACT),
        ([1.2, 1.3], 4, AT_MOST),
        ([1.3, 1.2], 4, AT_MOST),
        ([1.2, 1.0], 16, AT_LEAST),
    ],
)
def test_the_largest_delay_that_is_harmless(inflations, value, side):
    delays = np.array([4.0, 16.0])[: len(inflations)]
    for squares in (False, True):
        found, its_side = threshold(delays, np.array(inflations), squares)
        expected = np.sqrt((16 + 256) / 2) if squares and value == 8 else value
        assert (float(found), int(its_side)) == (pytest.approx(expected), side)


def test_inflation_of_a_power_law():
    k = np.array([1e3, 1e4, 1e5])
    reached = np.array([1e4**-0.5, (1e4 / 3) ** -0.5, (1e4 / 0.8) ** -0.5])
    value, side = inflation(k, np.tile(k**-0.5, (3, 1)), 1e4, reached)
    np.testing.assert_allclose(value, [1, 3, 0.8])
    assert (side == EXACT).all()


def test_inflation_outside_of_the_horizons_tried():
    k = np.array([1e3, 1e4, 1e5])
    reached = np.array([600.0**-0.5, 100.0**-0.5, np.inf, (1.5e5) ** -0.5])
    value, side = inflation(k, np.tile(k**-0.5, (4, 1)), 1e3, reached)
    # Up to a factor of 2 the slope is followed; then only a limit is known.
    np.testing.assert_allclose(value, [1e3 / 600, 2, 2, 1e3 / 1.5e5])
    np.testing.assert_array_equal(side, [0, AT_LEAST, AT_LEAST, 0])


def test_inflation_means_nothing_if_more_updates_do_not_help():
    k = np.array([1e3, 1e4, 1e5])
    assert np.isnan(inflation(k, np.array([1.0, 1.0, 1.0]), 1e4, np.array(0.5))[0])
    assert np.isnan(inflation(k, np.array([1.0, 2.0, 3.0]), 1e4, np.array(0.5))[0])


def test_threshold():
    delays = np.array([1.0, 10, 100])
    inflations = np.array([[1.0, ACCEPTED_INFLATION**2, 5], [1.0, 1.0, 1.05], [1.2, 2, 3], [1.2, 1.0, 3]])
    value, side = threshold(delays, inflations)
    assert value[0] == pytest.approx(np.sqrt(10))  # half-way in logarithms
    assert (value[1], side[1]) == (100, AT_LEAST)
    assert (value[2], side[2]) == (1, AT_MOST)
    assert 10 < value[3] < 100  # the largest delay that is harmless, not the first that is not
    assert np.isnan(threshold(delays, np.array([1.0, np.nan, 2]))[0])
    assert threshold(delays, inflations[:1], squares=True)[0][0] == pytest.approx(np.sqrt(50.5))  # half-way in squares
