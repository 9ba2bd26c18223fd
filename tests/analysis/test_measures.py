"""The numbers that claims are about, from studies whose values are written down by hand."""

import dataclasses
import math

import numpy as np
import pytest

from asyncopt.analysis import fits
from asyncopt.analysis.measures import Measures
from tests.analysis import synthetic
from tests.analysis.synthetic import NORMAL, SIGNS


def measures(rules, lengths, means, noise=0.0, without=()):
    """Measures of cells with these means, by rule and then by K; the cells of ``without`` are left out."""
    whole = synthetic.study(lambda tau, k: 1.0, np.random.default_rng(0), rules=rules, lengths=lengths)
    study = synthetic.without(whole, without)
    values = np.asarray(means, float) + noise * SIGNS[:, None]
    return Measures(dataclasses.replace(study, values=np.broadcast_to(values, study.values.shape)))


def with_inflations(rules, lengths, inflations):
    made = measures(rules, lengths, np.ones(len(rules) * len(lengths)))
    vars(made)["inflation"] = np.tile(np.asarray(inflations, float).ravel(), (17, 1)), np.zeros((17, 1), int)
    return made


def test_the_excess_is_over_the_run_without_delay_of_the_same_length():
    """Without delay there is no run of 1000 updates."""
    made = measures((0, 4), (10, 100, 1000), [5.0, 3.0, 6.0, 7.0, 1.0], without=[2])
    np.testing.assert_array_equal(made.partner, [0, 1, 0, 1, -1])
    np.testing.assert_array_equal(made.excess[0], [0, 0, 1, 4, np.nan])
    assert not made.in_delay_term.any()  # equal seeds have no standard error
    np.testing.assert_array_equal(made.significant, [False, False, True, True, False])


def test_a_correction_is_at_most_the_mean_without_delay_and_comes_from_a_delay():
    made = measures((0, 1, 2), (10,), [1.0, 2.0, 2.25], noise=np.array([0.0, 0.5, 0.5]))
    assert made.in_delay_term.tolist() == [False, True, False]
    cells = made.study.cells.assign(delay=[0.0, 0.0, 2.0])  # rounded to no delay
    rounded = Measures(dataclasses.replace(made.study, cells=cells))
    assert rounded.in_delay_term.tolist() == [False] * 3


def test_a_gain_is_below_the_mean_without_delay_and_comes_from_a_delay():
    assert measures((0, 1), (10,), [1.0, 0.75]).helped.tolist() == [False, True]
    assert measures((0, 1), (10,), [-1.0, -0.99]).helped.tolist() == [False, False]
    made = measures((0, 1), (10,), [1.0, 0.75])
    cells = made.study.cells.assign(delay=0.0)
    assert not Measures(dataclasses.replace(made.study, cells=cells)).helped.any()


def test_an_excess_is_compared_with_the_mean_of_all_seeds():
    """It is 1; without the first seed, or the last one, it would be 22/15."""
    without = np.array([-6.0] + [2.0] * 14 + [-6.0])
    for excess, noise, is_correction, helped in ((1.25, 0.01, False, False), (-0.0625, 0.0, False, True)):
        made = measures((0, 1), (10,), [0.0, 0.0])
        values = np.stack([without, without + excess + noise * SIGNS], axis=1)
        of_these = Measures(dataclasses.replace(made.study, values=values))
        assert of_these.in_delay_term.tolist() == [False, is_correction]
        assert of_these.helped.tolist() == [False, helped]


def test_four_significant_cells_determine_a_delay_term():
    """The excess is τ²/K, in cells of 100 and 1000 updates; runs from 1000 on are two cells only."""
    tau, k = np.array([0, 0, 1, 1, 2, 2, 4, 4]), np.array([100, 1000] * 4)
    noise = np.where(tau > 0, 1e-6, 0.0)
    made = measures((0, 1, 2, 4), (100, 1000), 1 + tau**2 / k, noise)
    for shortest in (0, 100):
        exponents = made.excess_exponents(shortest)
        np.testing.assert_allclose(exponents[0], [0, 2, -1], atol=1e-3)
    assert made.excess_exponents(101) is None
    for lost, found in (([2, 3], True), ([2, 3, 4], False)):
        noise[lost] = 10.0
        assert (measures((0, 1, 2, 4), (100, 1000), 1 + tau**2 / k, noise).excess_exponents() is not None) == found


def test_the_inflation_of_a_cell():
    """Without delay 1/√K: after 10,000 updates what 100 and 400 reached, and better than all of it."""
    reference = np.array([100.0, 1000, 10_000]) ** -0.5
    delayed = [1.0, 0.1, 0.05, 1.0, 1.0, 0.0]
    made = measures((0, 4, 8), (100, 1000, 10_000), [*reference, *delayed])
    value, side = made.inflation
    np.testing.assert_allclose(value[0, [0, 1, 2, 4, 5, 8]], [1, 1, 1, 10, 25, 0.5])
    assert side[0].tolist() == [0, 0, 0, fits.AT_LEAST, 0, 0, fits.AT_LEAST, fits.AT_LEAST, 0]
    np.testing.assert_allclose(made.inflation_slopes("4", np.array([4, 5])), np.log10(2.5))


def test_two_lengths_without_delay_are_enough_for_an_inflation():
    """Of K^-1: what 100 updates reach under delay, 50 reach without."""
    value, side = measures((0, 4), (10, 100), [0.1, 0.01, 0.1, 0.02]).inflation
    np.testing.assert_allclose(value[0], [1, 1, 1, 2])
    assert (side == fits.EXACT).all()


@pytest.mark.parametrize("reference", [[1.0], [1.0, 0.0], [0.0, 1.0]])
def test_an_inflation_needs_two_runs_without_delay_whose_means_are_positive(reference):
    lengths = (100, 1000)[: len(reference)]
    made = measures((0, 4), lengths, reference + [0.5] * len(lengths))
    assert np.isnan(made.inflation[0]).all()
    assert (made.inflation[1] == fits.EXACT).all()


def test_thresholds_are_those_of_each_length():
    """Inflation 1.21 at τ = 4 and 8: 1.1 is half-way from 1 to 1.21 in logarithms. The longest K has limits only."""
    inflations = [[1, 1, 1], [1, 1, 1.2], [1.21, 1, 1.2], [1.21, 1.21, 1.2]]
    made = with_inflations((0, 1, 4, 8), (10, 100, 1000), inflations)
    lengths, value, side = made.thresholds
    assert lengths.tolist() == [10, 100, 1000]
    np.testing.assert_allclose(value[0], [2, 32**0.5, 1])
    assert side[0].tolist() == [0, 0, fits.AT_MOST]
    assert made.threshold_spacing == 4.0
    np.testing.assert_allclose(made.threshold_power(slice(0, 2))[:, 1], np.log10(32**0.5 / 2))
    by_squares = made.thresholds_by_squares[1][0]
    np.testing.assert_allclose(by_squares, [8.5**0.5, 40**0.5, 1])
    np.testing.assert_allclose(made.threshold_power(slice(0, 2), squares=True)[:, 1], np.log10((40 / 8.5) ** 0.5))


def test_the_spacing_of_delays_is_around_the_threshold():
    for inflations, spacing in (([1, 1.21, 1.3], 2.0), ([1, 1, 1.21], 8.0), ([1, 1, 1], 1.0)):
        made = with_inflations((0, 1, 2, 16), (10,), [1, *inflations])
        made.inflation[0][1:] = 1.0  # without some seed
        assert made.threshold_spacing == spacing


def test_rules_that_round_to_one_delay_are_one_point():
    made = with_inflations((0, 1, 2, 4), (10,), [1, 1, 1, 1.21])
    cells = made.study.cells.assign(delay=[0.0, 2.0, 2.0, 4.0])
    rounded = Measures(dataclasses.replace(made.study, cells=cells))
    vars(rounded)["inflation"] = made.inflation
    np.testing.assert_allclose(rounded.thresholds[1], 8**0.5)
    assert rounded.threshold_spacing == 2.0


def test_thresholds_of_measures_are_interpolated_in_logarithms_or_squares():
    """At one K, inflations 1 and 1.21 under delays 2 and 8: 1.1 is half-way between them, in logarithms."""
    made = with_inflations((0, 2, 8), (100,), [1, 1, 1.21])
    for (lengths, value, side), expected in ((made.thresholds, 4.0), (made.thresholds_by_squares, math.sqrt(34))):
        assert (lengths.tolist(), side[0, 0]) == ([100], fits.EXACT)
        np.testing.assert_allclose(value, expected)
    assert made.threshold_spacing == 4.0


def of_differences(differences, without=1.0):
    """Measures of two cells at one K, of which that with delay differs from the other by so much, seed by seed."""
    made = synthetic.study(lambda tau, k: k**-0.5, np.random.default_rng(0), rules=(0, 4), lengths=(100,))
    reference = np.full(16, without)
    values = np.stack([reference, reference + differences], axis=1)
    return Measures(dataclasses.replace(made, values=values))


def test_an_excess_is_significant_from_four_standard_errors_and_helps_from_five_percent():
    for factor, significant in ((3.99, False), (4.01, True)):
        assert of_differences(0.01 * (factor + NORMAL)).significant.tolist() == [False, significant]
        assert of_differences(-0.02 * (factor + NORMAL)).helped.tolist() == [False, significant]
        assert not of_differences(-0.01 * (factor + NORMAL)).significant.any()
    for gain, helped in ((0.049, False), (0.051, True)):
        assert of_differences(-gain + 1e-4 * NORMAL).helped.tolist() == [False, helped]
    # Only a correction is in the fit of the delay term: at most as large as the mean without delay.
    for excess, is_correction in ((0.99, True), (1.01, False)):
        assert of_differences(excess + 1e-4 * NORMAL).in_delay_term.tolist() == [False, is_correction]
    assert not of_differences(np.full(16, 0.5)).in_delay_term.any()  # without a standard error
    mean, error = of_differences(0.01 * (2 + NORMAL)).excess
    np.testing.assert_allclose([mean[1], error[1]], [0.02, 0.01], rtol=1e-9)


def test_the_standard_error_of_an_excess_over_few_seeds():
    """Of 1; of 1 and 2; of 1, 2 and 6: their sample deviations are 1/√2 and √7."""
    study = of_differences(np.zeros(16)).study
    values = np.array([[5.0, 6.0], [7.0, 9.0], [4.0, 10.0]])
    for seeds, error in ((1, math.nan), (2, 0.5), (3, math.sqrt(7 / 3))):
        few = dataclasses.replace(study, values=values[:seeds], seeds=tuple(range(seeds)))
        np.testing.assert_allclose(Measures(few).excess[1][1], error)
