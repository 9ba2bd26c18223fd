"""Inflations and thresholds at the ends of what was tried."""

import numpy as np
import pytest

from asyncopt.analysis.fits import AT_LEAST, AT_MOST, EXACT
from asyncopt.analysis.inflation import inflation, threshold

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
