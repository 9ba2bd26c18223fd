"""Intervals over seeds, by the jackknife and the bootstrap, from few numbers given by hand."""

import math

import numpy as np
import pytest
import scipy.stats

from asyncopt.analysis import bootstrap, jackknife


def test_means_without_each_seed():
    np.testing.assert_array_equal(jackknife.means(np.array([[1.0], [2.0], [6.0]])), [[3], [4], [3.5], [1.5]])
    np.testing.assert_array_equal(jackknife.means(np.array([[1.0, 2.0]])), [[1, 2], [np.nan, np.nan]])


def test_two_seeds_have_students_interval_with_one_degree_of_freedom():
    """Of 1 and 2: the mean 1.5 and the standard error 1/2."""
    reach = scipy.stats.t.ppf(0.975, 1) / 2
    np.testing.assert_allclose(jackknife.estimate(np.array([1.5, 2.0, 1.0])), [1.5, 1.5 - reach, 1.5 + reach])
    assert jackknife.p_at_most(np.array([1.5, 2.0, 1.0]), 2.0) == pytest.approx(scipy.stats.t.cdf(-1, 1))
    assert jackknife.estimate(np.full(3, np.inf)) == (np.inf,) * 3


def test_an_infinite_number_is_at_most_an_infinite_limit():
    assert jackknife.p_at_most(np.full(3, np.inf), np.inf) == 0.0
    assert math.isnan(jackknife.p_at_most(np.array([1.0, np.inf, 1.0]), 3.0))


def test_an_interval_is_longer_where_the_tail_is():
    """By 4.5 times the skewness of the statistic, up to 0.3; the other side is Student's."""
    np.testing.assert_allclose(jackknife.lengthening(np.array([-1, 0, 0.1, 0.3, 0.9])), [1, 1, 1.45, 2.35, 2.35])
    values = np.array([0.0, 0, 0, 0, 1, 2, 3, 10])
    error, skewness = scipy.stats.sem(values), scipy.stats.skew(values, bias=False) / math.sqrt(8)
    reach = scipy.stats.t.ppf(0.975, 7) * error
    for sign in (1, -1):
        found = jackknife.estimate(jackknife.means(sign * values[:, None])[:, 0])
        ends = [2 - reach, 2 + reach * (1 + 4.5 * min(skewness, 0.3))]
        np.testing.assert_allclose(found, [sign * 2, *(ends if sign == 1 else [-ends[1], -ends[0]])])


def test_an_error_comes_from_how_the_rows_without_a_seed_differ():
    """If the statistic is no mean, their mean differs from the row of all seeds; that changes nothing."""
    without = np.array([0.0, 1, 2, 3, 8])
    around, beside = (jackknife.pivot(np.append(first, without)[:, None]) for first in (without.mean(), 50.0))
    np.testing.assert_allclose([around.error, around.skewness], [beside.error, beside.skewness])
    assert around.error[0] == pytest.approx(4 * np.std(without, ddof=1) / math.sqrt(5))
    assert around.skewness[0] == pytest.approx(-scipy.stats.skew(without, bias=False) / math.sqrt(5))


def test_a_ratio_of_equal_seeds_is_exact():
    """Also a large one; without a denominator it is infinite."""
    numerator, denominator = np.tile([3.0, 6000.0, 3.0, 0.0, 0.0], (4, 1)), np.tile([2.0, 3.0, 0.0, 2.0, 0.0], (4, 1))
    found = jackknife.ratio(numerator, denominator)
    np.testing.assert_allclose(found, np.tile([[1.5], [2000], [np.inf], [0], [np.inf]], 3), rtol=1e-9, atol=1e-9)


def test_a_ratio_of_zero_has_an_upper_end():
    """Of -1 and 1 to 1: the mean 0 and the standard error 1."""
    (found,) = jackknife.ratio(np.array([[-1.0], [1.0]]), np.ones((2, 1)))
    np.testing.assert_allclose(found, [0, 0, scipy.stats.t.ppf(0.975, 1)], atol=1e-9)


def test_the_ends_of_a_ratio_by_hand():
    """Of 1 and 3 to 1, and of 100 and 102: means 2 and 101, Student's interval of two; no ratio is below 0."""
    small, large = jackknife.ratio(np.array([[1.0, 100.0], [3.0, 102.0]]), np.ones((2, 2)))
    reach = scipy.stats.t.ppf(0.975, 1)
    np.testing.assert_allclose(small, [2, 0, 2 + reach], atol=1e-9)
    np.testing.assert_allclose(large, [101, 101 - reach, 101 + reach])


@pytest.mark.parametrize(
    ("undefined", "low"),
    [(5, 1.0), (6, math.nan)],  # of a hundred: more than 5 % are too many
)
def test_replicates_without_a_value(undefined, low):
    replicates = np.where(np.arange(100) < undefined, np.nan, 1.0)
    np.testing.assert_array_equal(bootstrap.estimate(1.0, replicates, 5), [1, low, low])


def test_the_expanded_percentiles_are_order_statistics():
    """With 16 seeds each tail has 1.4 %: a normal one beyond Student's quantile times √(16/15)."""
    tail = scipy.stats.norm.sf(scipy.stats.t.ppf(0.975, 15) * math.sqrt(16 / 15))
    assert 0.0138 < tail < 0.0139
    replicates = np.arange(1000.0)
    assert bootstrap.estimate(500.0, replicates[::-1], 16) == (500, 13, 986)
    assert bootstrap.estimate(500.0, np.append(replicates, np.nan), 16) == (500, 13, 986)


def test_the_bootstrap_of_two_seeds_reaches_to_its_last_resamples():
    assert bootstrap.estimate(1.5, np.array([2.0, 1.0, 1.5]), 2) == (1.5, 1.0, 2.0)
    assert np.isnan(bootstrap.estimate(1.5, np.array([2.0, 1.0, 1.5]), 1).low)
