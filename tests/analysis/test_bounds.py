"""Bounds and how much smaller they could be, from numbers given by hand."""

import math

import numpy as np
import pytest

from asyncopt.analysis import bounds, jackknife
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED
from tests.analysis.synthetic import NORMAL, SIGNS

NONE = np.zeros(2, bool)


def cells(*values, noise=0.0):
    """One column for each value; the same in all seeds, up to the noise."""
    return np.array(values, float) + np.array(noise) * SIGNS[:, None]


@pytest.mark.parametrize(
    ("delay", "measured", "wrong"),
    [
        # With a total of 1 and a delay's part of 0.4, the wrong bounds are 0.6, 0.2, 0.8 and 0.5.
        (0.4, 0.15, ()),
        (0.4, 0.25, ("delay term subtracted",)),
        (0.4, 0.45, ("delay term subtracted",)),
        (0.4, 0.55, ("delay term subtracted", "bound halved")),
        (0.4, 0.65, ("no delay term", "delay term subtracted", "bound halved")),
        (0.4, 0.85, ("no delay term", "delay term subtracted", "delay term halved", "bound halved")),
        # With 0.6 subtracting it twice leaves a bound that is negative, with 0.5 one of 0: nobody would believe it.
        (0.6, 0.85, ("no delay term", "delay term halved", "bound halved")),
        (0.5, 0.85, ("no delay term", "delay term halved", "bound halved")),
    ],
)
def test_wrong_bounds_that_are_noticed(delay, measured, wrong):
    """In one of two cells; the other is far below every bound."""
    parts = cells(measured, 0.1), cells(1, 9), cells(delay, 0)
    assert bounds.always_noticed(*parts) == wrong
    assert bounds.noticed(*parts, NONE) == wrong


def test_a_bound_that_is_only_broken_perhaps_is_noticed():
    """Half of it is 1.3 standard errors above the mean: not surely a bound."""
    measured = cells(0.5, 0.1, noise=[0.08, 0.0])
    assert bounds.noticed(measured, cells(1.05, 9), cells(0, 0), NONE) == ("bound halved",)


def test_what_is_said_of_bounds():
    held = bounds.holds(cells(0.8, 0.5), cells(1, 1), NONE)
    assert (held.outcome, held.rule, held.p_value) == (CONFIRMED, "interval at most 1 in all 2 cells", 0.0)
    broken = bounds.holds(cells(1.25, 0.5), cells(1, 1), NONE)
    assert (broken.outcome, broken.rule) == (VIOLATED, "whole interval above 1 in 1 of 2 cells")
    unsure = bounds.holds(cells(1, 0.5, noise=0.1), cells(1, 1), NONE)
    assert (unsure.outcome, unsure.rule) == (INCONCLUSIVE, "interval on both sides of 1 in some cell")
    assert unsure.p_value == pytest.approx(0.5)  # the mean is at the bound


def test_the_largest_ratio_and_the_largest_end():
    """The second cell has the smaller ratio, and the longer interval."""
    measured, bound = cells(0.9, 0.8, noise=[0.01, 0.4]), cells(1, 1)
    found = bounds.holds(measured, bound, NONE).measured
    first, second = jackknife.ratio(measured, bound)
    assert (found.value, found.low, found.high) == (first.value, first.low, second.high)
    assert found.value == pytest.approx(0.9)
    assert bounds.holds(measured, bound, np.array([False, True])).measured == (math.inf,) * 3


def test_a_cell_that_diverged_breaks_its_bound():
    """Whatever stands in its place: also numbers whose third powers are too large for a float."""
    diverged = np.array([True, False])
    for measured in (cells(0.5, 0.5), cells(1e200, 0.5, noise=[1e199, 0])):
        found = bounds.holds(measured, cells(1, 1), diverged)
        assert (found.outcome, found.rule) == (VIOLATED, "whole interval above 1 in 1 of 2 cells")
    assert bounds.largest_p_value(cells(0.5, 0.5), cells(1, 1), diverged) == 1.0
    assert bounds.noticed(cells(0.1, 0.1), cells(1, 1), cells(0, 0), diverged) == tuple(bounds.WRONG)


@pytest.mark.parametrize(
    ("smaller", "larger", "ratio", "outcome", "rule"),
    [
        ([1, 2], [2, 2], 1.0, CONFIRMED, "in all runs"),
        ([1, 2], [4, 5], 0.4, CONFIRMED, "in all runs"),
        ([1, 1 + 5e-10], [4, 1], 1.0, CONFIRMED, "in all runs"),
        ([1, 1 + 2e-9], [4, 1], 1.0, VIOLATED, "in some run it is larger"),
        ([1, 3], [4, 2], 1.5, VIOLATED, "in some run it is larger"),
        ([-1, -3], [4, 2], 0.0, CONFIRMED, "in all runs"),
        ([1, 3], [4, math.inf], 0.25, CONFIRMED, "in all runs"),
        ([1, math.inf], [4, math.inf], 0.25, CONFIRMED, "in all runs"),
        ([1, 0], [4, 0], math.inf, VIOLATED, "in some run it is larger"),
        ([1, -3], [4, -1], math.inf, VIOLATED, "in some run it is larger"),
        ([1, math.nan], [4, 1], math.nan, INCONCLUSIVE, "some bound is not a number"),
        ([1, 1], [math.nan, 1], math.nan, INCONCLUSIVE, "some bound is not a number"),
    ],
)
def test_one_bound_is_always_at_most_another(smaller, larger, ratio, outcome, rule):
    found = bounds.holds_always(np.array([smaller], float), np.array([larger], float))
    assert (found.outcome, found.rule) == (outcome, rule)
    assert found.measured.value == pytest.approx(ratio, rel=1e-8, nan_ok=True)
    assert np.isnan(found.measured[1:]).all()


def test_a_bound_is_broken_or_held_in_every_cell():
    """Of three cells one alone violates, at a third of the level: 2.5 %/3 is 2.69 standard errors."""
    none, bound = np.zeros(3, bool), np.ones((16, 3))

    def outcome(errors, diverged=none):
        return bounds.holds(1 + 0.01 * (np.array(errors) + NORMAL[:, None]), bound, diverged).outcome

    assert outcome([-2.2, -9.0, -9.0]) == CONFIRMED
    assert outcome([-2.1, -9.0, -9.0]) == INCONCLUSIVE
    assert outcome([2.6, -9.0, -9.0]) == INCONCLUSIVE
    assert outcome([2.8, -9.0, -9.0]) == VIOLATED
    assert outcome([-9.0, -9.0, -9.0], np.array([False, True, False])) == VIOLATED
    assert bounds.holds(bound, bound, none).outcome == CONFIRMED  # equal in every seed
    assert bounds.largest_p_value(bound - 9, bound, np.array([False, True, False])) == 1.0
