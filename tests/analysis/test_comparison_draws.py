"""Splits and resamples of comparisons, from numbers given by hand."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from asyncopt.analysis import comparison_draws
from asyncopt.analysis.comparison_draws import NUM_RESAMPLES, NUM_SPLITS, Draws
from tests.analysis.made_runs import replicates


def test_the_interval_of_lognormal_resamples_is_students_on_a_log_scale():
    """With n - 2 degrees of freedom, as a mean of each half is taken away."""
    normal = np.random.default_rng(0).permutation(scipy.stats.norm.ppf((np.arange(NUM_RESAMPLES) + 0.5) / 1000))
    for units, sign in itertools.product((4, 8), (-1, 1)):
        ratio = replicates(1.5**sign, 1.5**sign * np.exp(0.2 * normal), units)
        reach = 0.2 * scipy.stats.t.ppf(0.975, units - 2)
        expected = 1.5**sign * np.exp(np.array([0, -reach, reach]))
        np.testing.assert_allclose(ratio.estimate(), expected, rtol=0.01 * units)
        assert ratio.p_above_one() == pytest.approx(scipy.stats.t.sf(sign * math.log(1.5) / 0.2, units - 2), rel=0.05)
    assert np.isnan(replicates(1.5, 1.5 * np.exp(0.2 * normal), units=3).estimate().low)
    assert math.isnan(replicates(1.5, 1.5 * np.exp(0.2 * normal), units=3).p_above_one())


def test_an_interval_leaves_out_25_of_1000_resamples_at_each_end():
    """With so many units nothing is stretched. Of resamples that are 0 there is no logarithm."""
    resamples = np.random.default_rng(0).permutation(np.arange(1.0, 1001))
    np.testing.assert_allclose(replicates(500.0, resamples, 10**9).estimate(), (500, 26, 975), rtol=1e-6)
    assert replicates(1.0, 0.0).estimate() == (1, 0, 1)
    # Where all are on one side, the other side reaches as far.
    np.testing.assert_allclose(replicates(2000.0, resamples, 10**9).estimate()[1:], (26, 2000**2 / 26), rtol=1e-6)
    for value in (10.0, 0.5):
        expected = value**2 / 975, 975
        np.testing.assert_allclose(replicates(value, resamples, 10**9).estimate()[1:], expected, rtol=1e-6)


def test_undefined_draws():
    """No estimate if more than half of the splits are undefined, no interval if more than 5 % of the resamples are."""
    for number, known in ((20, True), (21, False)):
        splits = np.where(np.arange(NUM_SPLITS) < number, np.nan, 2.0)
        assert np.isfinite(replicates(splits, 2.0).estimate().value) == known
    for number, known in ((50, True), (51, False)):
        resamples = np.where(np.arange(NUM_RESAMPLES) < number, np.nan, 2.0)
        estimate = replicates(2.0, resamples).estimate()
        assert (estimate.value, np.isfinite(estimate.low)) == (2.0, known)
    # The median is the upper one: of a number and infinity, infinity.
    half = np.where(np.arange(NUM_SPLITS) < 20, 2.0, np.inf)
    assert replicates(half, np.inf).estimate().value == np.inf
    assert replicates(2.0, 2.0).p_above_one() == 0.0
    assert replicates(1.0, 1.0).p_above_one() == 1.0
    quotient = replicates(np.inf, 6.0, 8, 9) / replicates(np.inf, 3.0, 4, 20)
    assert np.isnan(quotient.values[:NUM_SPLITS]).all()
    assert (quotient.values[-1], quotient.num_units, quotient.num_seeds) == (2.0, 4, 9)


@pytest.mark.parametrize(
    ("clocks", "seeds", "is_random", "units"),
    [
        ((0,) * 8, tuple(range(8)), True, 8),  # one clock: its mini-batches
        ((0, 1, 2, 3), (0, 1, 2, 3), True, 4),  # clocks with mini-batches of their own
        ((0, 0, 1, 1, 2, 2, 3, 3), (0, 1, 2, 3, 4, 5, 6, 7), True, 4),
        (tuple(np.repeat(range(5), 6)), tuple(range(6)) * 5, True, 5),  # both are drawn; the fewer count
        (tuple(np.repeat(range(3), 6)), tuple(range(6)) * 3, True, 6),  # too few clocks to be cut in half
        (tuple(np.repeat(range(5), 6)), tuple(range(6)) * 5, False, 6),  # constant times
    ],
)
def test_draws_never_share_a_run_between_tuning_and_reporting(clocks, seeds, is_random, units):
    drawn = comparison_draws.draws(clocks, seeds, is_random)
    assert (drawn.num_units, drawn.num_seeds) == (units, len(set(seeds)))
    assert drawn.weights.shape == (2, NUM_SPLITS + NUM_RESAMPLES, len(seeds))
    known = np.isfinite(drawn.weights)
    assert known[:, :NUM_SPLITS].all()
    np.testing.assert_allclose(drawn.weights.sum(axis=-1)[known.all(axis=-1)], 1)
    both = (drawn.weights > 0).all(axis=0)
    assert not both.any()
    # A split uses its runs alike; a resample leaves some of them out.
    split = drawn.weights[:, :NUM_SPLITS]
    assert all(len(set(row[row > 0])) == 1 for half in split for row in half.round(12))
    resampled = drawn.weights[:, NUM_SPLITS:][known[:, NUM_SPLITS:]]
    assert np.mean(resampled > 0) < np.mean(split > 0)


@pytest.mark.parametrize(
    ("splits", "resamples", "expected"),
    [
        (0.0, 0.0, (0, 0, 0)),
        (0.0, 1.0, (0, 0, 1)),
        (np.inf, np.inf, (np.inf,) * 3),
        (1.0, np.where(np.arange(NUM_RESAMPLES) < 960, 2.0, np.inf), (1, 1, np.inf)),  # nothing to mirror
        (975.0, np.arange(1.0, 1001), (975, 26, 975)),  # an end that is the estimate stays
        (26.0, np.arange(1.0, 1001), (26, 26, 975)),
    ],
)
def test_intervals_where_there_is_no_logarithm_or_no_other_side(splits, resamples, expected):
    assert replicates(splits, resamples, 10**9).estimate() == pytest.approx(expected, rel=1e-6)


def test_numbers_that_may_be_negative_have_an_interval_that_is_not_stretched():
    """As an objective may be at the end; with so few units, Student's quantile is twice the normal one."""
    resamples = np.arange(1.0, 1001) - 500
    for value in (-10.0, 100.0):
        low, high = replicates(value, resamples, 4).estimate()[1:]
        assert low == 26 - 500
        assert (high == 975 - 500) == (value < 0)


def test_means_of_halves_count_a_run_that_diverged_only_where_it_is_drawn():
    halves = Draws(np.array([[[0.5, 0.5, 0.0]], [[0.0, 0.0, 1.0]]]), 3, 3)
    means = halves.means(np.array([[1.0, np.nan], [3.0, 2.0], [5.0, 4.0]]))
    np.testing.assert_array_equal(means, [[[2.0, np.inf]], [[5.0, 4.0]]])


def test_resamples_draw_one_unit_less_than_there_are():
    generator = np.random.default_rng(0)
    assert [comparison_draws._counts(generator, number).sum() for number in (1, 2, 8)] == [1, 1, 7]
    drawn = comparison_draws.draws((0,) * 8, tuple(range(8)), False).weights
    assert ((drawn > 0).sum(axis=-1)[:, :NUM_SPLITS] == 4).all()
    assert ((drawn > 0).sum(axis=-1)[:, NUM_SPLITS:] <= 3).all()


@pytest.mark.parametrize(
    ("num_clocks", "num_seeds", "shared", "units"),
    [(6, 5, True, 5), (4, 6, True, 4), (8, 6, True, 6), (3, 2, False, 6), (4, 2, False, 4)],
)
def test_units_are_the_fewer_of_clocks_and_seeds(num_clocks, num_seeds, shared, units):
    """Clocks with mini-batches of their own are drawn with all their runs, if they can be cut in half."""
    clocks = np.repeat(range(num_clocks), num_seeds)
    seeds = np.tile(range(num_seeds), num_clocks) if shared else np.arange(len(clocks))
    drawn = comparison_draws.draws(tuple(clocks.tolist()), tuple(seeds.tolist()), True)
    assert drawn.num_units == units
    split = drawn.weights[:, 0]
    by_clock = [split[:, clocks == clock] for clock in range(num_clocks)]
    assert all((one == one[:, :1]).all() for one in by_clock) == (not shared and num_clocks >= 4)
