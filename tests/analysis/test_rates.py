"""Which runs an exponent at large K is fitted to."""

import dataclasses

import numpy as np
import pytest

from asyncopt.analysis import rates
from asyncopt.analysis.measures import Measures
from tests.analysis import synthetic

LENGTHS = synthetic.LENGTHS
K = np.array(LENGTHS, float)


def asymptotic(truth, lengths=LENGTHS, change=None):
    study = synthetic.study(truth, np.random.default_rng(0), rules=(0,), lengths=lengths, noise=0.0, shared=0.01)
    values = study.values.copy() if change is None else change(study.values.copy())
    rows, source = rates.asymptotic(Measures(dataclasses.replace(study, values=values, limit=values[0, 0])), "0")
    return rows[0], source


def bent(tau, k):
    return 30 / k + 0.02 * k**-0.25


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_a_tail_below_a_transient_takes_four_lengths(number):
    """With fewer, the slope over the last decade."""
    lengths = LENGTHS[-number:]
    exponent, source = asymptotic(bent, lengths)
    if number >= 4:
        assert (source, exponent) == ("of B K^-q beside A/K", pytest.approx(-0.25, abs=0.01))
    else:
        last = np.array(lengths[-3:], float)
        slope = np.polyfit(np.log(last), np.log(bent(0, last)), 1)[0]
        assert (source, exponent) == ("over the last decade", pytest.approx(slope))


@pytest.mark.parametrize(
    ("truth", "source"),
    [
        (lambda tau, k: k**-0.5 * np.exp(-0.01 * np.log(k / 1e4) ** 2), "over the last decade"),  # it gains steepness
        (lambda tau, k: bent(tau, k) - bent(tau, 1e5), "over the last decade"),  # a mean of 0 has no logarithm
    ],
)
def test_elsewhere_it_is_the_slope_over_the_last_decade(truth, source):
    with np.errstate(divide="ignore"):
        assert asymptotic(truth)[1] == source


def test_beside_a_run_that_diverged_it_is_the_slope_over_all_lengths():
    """The largest finite value stands in place of the seed that diverged."""

    def change(values):
        values[:] = K**-0.5
        values[0, -1] = np.inf
        return values

    y = K**-0.5
    mean = (15 * y[-1] + y[0]) / 16
    without_last = np.polyfit(np.log(K[:-1]), np.log(y[:-1]), 1)
    assert np.polyval(without_last, np.log(K[-1])) < np.log(mean)  # so that the limit counts
    exponent, source = asymptotic(lambda tau, k: 1.0, change=change)
    assert source == "over all K, as a seed diverged"
    assert exponent == pytest.approx(np.polyfit(np.log(K), np.log([*y[:-1], mean]), 1)[0])


def test_a_last_decade_of_few_lengths():
    assert rates.last_decade(np.array([1.0, 9.0])).tolist() == [0, 1]
    assert rates.last_decade(np.array([1.0, 2.0, 50.0])).tolist() == [1, 2]
    assert rates.last_decade(np.array([5.0, 50.0, 500.0, 501.0])).tolist() == [2, 3]
    assert rates.last_decade(np.array([1.0])).tolist() == [0]
    assert rates.neighbours(np.array([1.0])) == {}
    assert rates.decades(np.array([1.0, 9.0, 9.98, 9.99, 99.0])) == [slice(0, 4), slice(1, 5)]


def test_the_last_decade():
    k = np.array([1000.0, 3162, 10_000, 31_623, 100_000])
    np.testing.assert_array_equal(rates.last_decade(k), [2, 3, 4])
    np.testing.assert_array_equal(rates.last_decade(np.array([1.0, 100, 10_000])), [1, 2])
    assert list(rates.neighbours(k)) == ["from K = 10,000 to 31,623", "from K = 31,623 to 100,000"]
    assert rates.decades(k) == [slice(0, 3), slice(1, 4), slice(2, 5)]
    # K are rounded: 3,163 to 31,623 are a decade, and 3,170 are not.
    np.testing.assert_array_equal(rates.last_decade(np.array([1000.0, 3163, 10_000, 31_623])), [1, 2, 3])
    np.testing.assert_array_equal(rates.last_decade(np.array([1000.0, 3100, 10_000, 31_623])), [2, 3])
    assert rates.decades(np.array([1000.0, 3170, 10_000, 31_623])) == [slice(0, 3)]
    np.testing.assert_array_equal(rates.last_decade(np.array([7.0])), [0])
