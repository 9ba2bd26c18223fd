"""Decisions at their limits, from numbers given by hand: each row of a table is one side of one rule."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from asyncopt.analysis import (
    bootstrap,
    bounds,
    claims,
    conclusions,
    criteria,
    fits,
    verdict,
)
from asyncopt.analysis.criteria import Criterion, Decision
from asyncopt.analysis.curves import Curves
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.studies import _without_repetitions
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, VIOLATED
from asyncopt.theory.claims import Attained
from tests.analysis import synthetic

RULE = "K^1/8"
# One number without each of 16 seeds: all seeds' own is 0, and the standard error is 1.
_DEVIATIONS = scipy.stats.norm.ppf((np.arange(16) + 0.5) / 16)
UNIT = np.append(0.0, _DEVIATIONS / _DEVIATIONS.std(ddof=1) / 15 * 4)
REACH = scipy.stats.t.ppf(0.975, 15)  # of an interval, in standard errors


def with_inflation(levels, errors, side=None):
    """Measures whose inflation along K^1/8 has these logarithmic standard errors, at five K over two decades."""
    made = Measures(synthetic.study(lambda tau, k: k**-0.5, np.random.default_rng(0), rules=(0, "K**0.125")))
    cells = made.study.where(RULE)
    value, sides = np.ones(made.means.shape), np.zeros(made.means.shape, int)
    value[:, cells] = np.asarray(levels) * np.exp(np.asarray(errors) * UNIT[:, None])
    sides[:, cells] = 0 if side is None else side
    vars(made)["inflation"] = value, sides
    return made


@pytest.mark.parametrize(
    ("levels", "errors", "outcome", "words"),
    [
        # At the last two K surely within 2 % of 1.
        ([1.3, 1.2, 1.1, 1.005, 1.003], 0.001, CONFIRMED, "within 2% of 1"),
        ([1.0, 1.0, 1.01, 0.99, 0.985], 0.001, CONFIRMED, "within 2% of 1"),
        # At one of them not, and the interval at the last has 1 inside, or not.
        ([1.3, 1.2, 1.1, 1.03, 1.001], 0.001, CONSISTENT, "interval around 1, not within 2% of it"),
        ([1.3, 1.2, 1.1, 1.03, 1.005], 0.001, INCONCLUSIVE, "interval without 1, not within 2% of it"),
        ([1.0, 1.0, 1.0, 1.0, 0.97], 0.001, INCONCLUSIVE, "interval without 1, not within 2% of it"),
        # The interval at the last K may not reach 1.1.
        ([1.3, 1.2, 1.1, 1.03, 1.0], [0.03] * 5, CONSISTENT, "interval around 1"),
        ([1.3, 1.2, 1.1, 1.03, 1.0], [0.06] * 5, INCONCLUSIVE, "interval around 1"),
        # It grows, and is above 1 for sure, or perhaps.
        ([1.0, 1.0, 1.001, 1.01, 1.02], 0.001, VIOLATED, "it grows over the last decade"),
        ([1.0, 1.0, 0.9, 0.95, 1.0], 0.001, INCONCLUSIVE, "it grows over the last decade"),
        # It is above 1.1 for sure: violated unless its excess still falls.
        ([1.9, 1.8, 1.6, 1.4, 1.2], 0.001, INCONCLUSIVE, "its excess still falls"),
        ([1.2, 1.2, 1.2, 1.2, 1.2], 0.001, VIOLATED, "its excess does not fall"),
        ([1.9, 1.8, 1.3, 1.2, 1.3], 0.001, VIOLATED, "its excess does not fall"),
        ([1.9, 1.8, 1.15, 1.12, 1.09], 0.001, INCONCLUSIVE, "interval without 1"),
        ([1.0, 1.0, 1.0, 1.0, math.nan], 0.001, INCONCLUSIVE, "no exact inflation"),
    ],
)
def test_an_inflation_tends_to_one(levels, errors, outcome, words):
    decision, noticed = claims._tends_to_one(with_inflation(levels, errors), RULE)
    assert (decision.outcome, words in decision.rule) == (outcome, True), decision
    if outcome in (CONFIRMED, CONSISTENT):
        assert noticed == ("→ 0.9", "→ 1.1")
        assert (decision.p_value <= 0.025) == (outcome == CONFIRMED)
    if math.isfinite(levels[-1]):
        error = np.broadcast_to(errors, 5)[-1]
        expected = levels[-1] * np.exp(np.array([0, -1, 1]) * REACH * error)
        np.testing.assert_allclose(decision.measured, expected, rtol=1e-6)


def test_an_inflation_of_which_only_a_limit_is_known():
    """Of all seeds: without some seed it may be known, and smaller."""
    levels, last = [1.0, 1.0, 1.0, 1.0, 1.0], np.zeros((17, 5), int)
    last[0, -1] = fits.AT_LEAST
    decision, noticed = claims._tends_to_one(with_inflation(levels, 0.001, last), RULE)
    assert (decision.outcome, decision.rule, noticed) == (INCONCLUSIVE, "no exact inflation at the longest K", ())
    assert claims._tends_to_one(with_inflation(levels, 0.001, last[:, ::-1]), RULE)[0].outcome == CONFIRMED
    # Ten at least after two decades is hopeless; a little less is not.
    for largest, hopeless in ((9.9, False), (10.0, True)):
        decision, noticed = claims._bounded(with_inflation([*levels[:4], largest], -0.1, last), RULE)
        assert (f"it is {largest:.3g} at least" in decision.rule) == hopeless
        assert not hopeless or (decision.outcome, noticed) == (VIOLATED, ())
    falling = [1.5, 1.4, 1.3, 1.2, 1.1]
    assert claims._bounded(with_inflation(falling, 0.001), RULE)[0].outcome == CONFIRMED
    decision, noticed = claims._bounded(with_inflation(falling, 0.001, [fits.AT_LEAST, 0, 0, 0, 0]), RULE)
    assert (decision.outcome, noticed) == (INCONCLUSIVE, ())
    assert "of some cells only a limit" in decision.rule


def test_an_exponent_half_way_to_a_wrong_one_does_not_tell_them_apart():
    """An interval from -0.597 to -0.502 comes within 0.005 of -0.5 and of -0.6, and is within 0.1 of both."""
    made = Measures(
        synthetic.study(lambda tau, k: k**-0.5, np.random.default_rng(0), rules=(0,), attains_rate=True, noise=0.02)
    )
    slopes = -0.5495 + 0.0475 / REACH * UNIT
    vars(made)["means"] = made.study.cells["num_updates"].to_numpy(float) ** slopes[:, None]
    (judged,) = claims.verdicts(Attained(exponent=-0.5), made)
    np.testing.assert_allclose(judged.measured, [-0.5495, -0.597, -0.502], rtol=1e-6)
    assert (judged.outcome, judged.noticed) == (CONSISTENT, ("exponent -0.4",))


@pytest.mark.parametrize(("error", "outcome"), [(0.05, CONSISTENT), (0.06, INCONCLUSIVE)])
def test_growth_as_k_to_the_power_of_two_percent_must_be_excluded(error, outcome):
    """An error at the last of five K, which are h = log(10)/2 apart, is an error of the slope of 0.2/h of it."""
    decision, noticed = claims._bounded(with_inflation(np.ones(5), [0, 0, 0, 0, error]), RULE)
    assert decision.measured.high == pytest.approx(REACH * error * 0.4 / np.log(10), rel=1e-4)
    assert (decision.outcome, decision.tolerance) == (outcome, "0; 0.02 for consistent")
    assert noticed == ("slope ≤ -0.1",)


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (CONFIRMED, CONFIRMED, CONFIRMED),
        (CONFIRMED, CONSISTENT, CONSISTENT),
        (CONSISTENT, CONFIRMED, CONSISTENT),
        (VIOLATED, VIOLATED, VIOLATED),
        (VIOLATED, CONSISTENT, INCONCLUSIVE),
        (CONFIRMED, INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_two_interpolations_must_agree(first, second, outcome):
    one, other = (Decision(claims._NOTHING, each, each, p) for each, p in ((first, 0.01), (second, 0.02)))
    common = claims._common(one, other)
    assert (common.outcome, common.p_value) == (outcome, 0.02)
    assert (f"if interpolated in τ², {second}" in common.rule) == (first != second)


def test_thresholds_of_measures_are_interpolated_in_logarithms_or_squares():
    """At one K, inflations 1 and 1.21 under delays 2 and 8: 1.1 is half-way between them, in logarithms."""
    made = Measures(synthetic.study(lambda tau, k: k**-0.5, np.random.default_rng(0), rules=(0, 2, 8), lengths=(100,)))
    vars(made)["inflation"] = np.tile([1.0, 1.0, 1.21], (17, 1)), np.zeros((17, 3), int)
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
    noise = _DEVIATIONS / _DEVIATIONS.std(ddof=1) * 4  # a mean of 16 has the standard error 1
    for factor, significant in ((3.99, False), (4.01, True)):
        assert of_differences(0.01 * (factor + noise)).significant.tolist() == [False, significant]
        assert of_differences(-0.02 * (factor + noise)).helped.tolist() == [False, significant]
        assert not of_differences(-0.01 * (factor + noise)).significant.any()
    for gain, helped in ((0.049, False), (0.051, True)):
        assert of_differences(-gain + 1e-4 * noise).helped.tolist() == [False, helped]
    # Only a correction is in the fit of the delay term: at most as large as the mean without delay.
    for excess, is_correction in ((0.99, True), (1.01, False)):
        assert of_differences(excess + 1e-4 * noise).in_delay_term.tolist() == [False, is_correction]
    assert not of_differences(np.full(16, 0.5)).in_delay_term.any()  # without a standard error
    mean, error = of_differences(0.01 * (2 + noise)).excess
    np.testing.assert_allclose([mean[1], error[1]], [0.02, 0.01], rtol=1e-9)


def test_the_standard_error_of_an_excess_over_few_seeds():
    """Of 1; of 1 and 2; of 1, 2 and 6: their sample deviations are 1/√2 and √7."""
    study = of_differences(np.zeros(16)).study
    values = np.array([[5.0, 6.0], [7.0, 9.0], [4.0, 10.0]])
    for seeds, error in ((1, math.nan), (2, 0.5), (3, math.sqrt(7 / 3))):
        few = dataclasses.replace(study, values=values[:seeds], seeds=tuple(range(seeds)))
        np.testing.assert_allclose(Measures(few).excess[1][1], error)


def test_means_over_a_run_that_is_measured_from_later_on():
    """The line from 1 to 3 has the mean 2, wherever it begins."""
    for begin in (0.0, 10.0):
        values, step = [np.array([[1.0, 2.0, 3.0]])], begin + np.array([0.0, 1.0, 2.0])
        (mean,) = Curves("", ("a",), "loss", [(1,)], step, values, "time").means_over_run
        np.testing.assert_allclose(mean, [2.0])


def test_tolerances_in_words():
    assert [criteria.tolerance(margin) for margin in (0.0, 0.02)] == ["0", "0; 0.02 for consistent"]


def test_the_criterion_of_several_parts():
    """The limit is 0, an error 1 of each; the interval reaches 2.13 to both sides."""

    def decide(measured, *parts, decisive=(), **more):
        rows = {str(number): part + UNIT for number, part in enumerate(parts)}
        return Criterion(measured + UNIT, 0.0, rows, tuple(map(str, decisive)), **{"margin": 5.0, **more}).decide()

    assert decide(-2.2).outcome == CONFIRMED
    assert decide(-2.1).outcome == CONSISTENT
    assert decide(-2.1, margin=0.02).outcome == INCONCLUSIVE
    assert decide(2.1).outcome == CONSISTENT
    assert decide(2.2).outcome == VIOLATED
    assert decide(2.2, at_least=True).outcome == CONFIRMED
    assert decide(-2.2, at_least=True).outcome == VIOLATED
    # A part that is not surely on the right side takes "confirmed" away; one on the wrong side "consistent", too.
    assert decide(-3.0, -2.2).outcome == CONFIRMED
    assert decide(-3.0, -2.1).outcome == CONSISTENT
    assert decide(-3.0, 2.2).outcome == INCONCLUSIVE
    assert decide(-3.0, 2.2, decisive=[0]).outcome == VIOLATED
    # Two decisive parts share the level: 1.25 % is 2.49 errors.
    assert decide(-3.0, 2.4, -3.0, decisive=[0, 1]).outcome == INCONCLUSIVE
    assert decide(-3.0, 2.6, -3.0, decisive=[0, 1]).outcome == VIOLATED
    # What violates is an extrapolation if all parts are on the right side, one of them for sure.
    assert decide(3.0, -0.1, -2.2).outcome == INCONCLUSIVE
    assert decide(3.0, -2.3, -0.1, -2.2).rule.endswith("but on the right side 2")  # the last one
    assert decide(3.0, -0.1, -2.1).outcome == VIOLATED
    assert decide(3.0, 0.1, -2.2).outcome == VIOLATED
    np.testing.assert_allclose(decide(-2.5, -3.0).p_value, scipy.stats.t.sf(2.5, 15), rtol=1e-6)


def test_a_bound_is_broken_or_held_in_every_cell():
    """Of three cells one alone violates, at a third of the level: 2.5 %/3 is 2.69 standard errors."""
    none, bound = np.zeros(3, bool), np.ones((16, 3))
    noise = 0.01 * _DEVIATIONS / _DEVIATIONS.std(ddof=1) * 4

    def outcome(errors, diverged=none):
        return bounds.holds(1 + 0.01 * np.array(errors) + noise[:, None], bound, diverged).outcome

    assert outcome([-2.2, -9.0, -9.0]) == CONFIRMED
    assert outcome([-2.1, -9.0, -9.0]) == INCONCLUSIVE
    assert outcome([2.6, -9.0, -9.0]) == INCONCLUSIVE
    assert outcome([2.8, -9.0, -9.0]) == VIOLATED
    assert outcome([-9.0, -9.0, -9.0], np.array([False, True, False])) == VIOLATED
    assert bounds.holds(bound, bound, none).outcome == CONFIRMED  # equal in every seed
    assert bounds.largest_p_value(bound - 9, bound, np.array([False, True, False])) == 1.0
    always = bounds.holds_always(np.array([[1.0, 2.0]]), np.array([[1.0, 4.0]]))
    assert (always.outcome, always.measured.value) == (CONFIRMED, 1.0)
    assert bounds.holds_always(np.array([[1.001]]), np.array([[1.0]])).outcome == VIOLATED
    assert bounds.holds_always(np.array([[np.inf, 1.0]]), np.array([[np.inf, 2.0]])).outcome == CONFIRMED
    assert bounds.holds_always(np.array([[1.0]]), np.array([[0.0]])).measured.value == math.inf
    assert bounds.holds_always(np.array([[np.nan]]), np.array([[1.0]])).outcome == INCONCLUSIVE


def test_half_an_interval_is_none():
    for low, high in ((math.nan, 1.0), (1.0, math.nan)):
        half = bootstrap.Estimate(1.0, low, high)
        for decided in (verdict.at_most(half, 1.0), verdict.at_least(half, 1.0), verdict.equal(half, 1.0, 0.1)):
            assert decided == (INCONCLUSIVE, "no interval")


def test_the_same_run_twice_is_no_contradiction():
    row = {"rule": "0", "num_updates": 100, "run": "1", "measured": pd.Series([1.0, 2.0])}
    again, other = row | {"run": "2"}, row | {"run": "3", "measured": pd.Series([1.0, 2.5])}
    assert _without_repetitions([row, again]) == [row]
    with pytest.warns(UserWarning, match="left out: 3: another run of τ = 0 at K = 100 than 1, and with other results"):
        assert _without_repetitions([row, again, other]) == [row]


def test_the_exponent_of_a_tail_between_those_that_are_tried():
    """A grid of 0.005 is tried; a parabola through three of its points is far more precise."""
    k = np.array([1e3, 3162, 1e4, 31_623, 1e5])
    for q in (0.1012, 0.2525, 0.4038, -0.3012):
        assert fits.tail_exponent(k, (30 / k + 0.02 * k**-q)[None])[0] == pytest.approx(q, abs=2e-4)
    # Beyond the ends of the grid it is an end.
    np.testing.assert_allclose(fits.tail_exponent(k, np.stack([k**1.5, k**-0.993])), [-1, 0.99], atol=0.006)


def test_the_bootstrap_of_two_seeds_reaches_to_its_last_resamples():
    assert bootstrap.estimate(1.5, np.array([2.0, 1.0, 1.5]), 2) == (1.5, 1.0, 2.0)
    assert np.isnan(bootstrap.estimate(1.5, np.array([2.0, 1.0, 1.5]), 1).low)


@pytest.mark.parametrize(
    ("rule", "exponent", "num_updates", "delay", "is_beyond"),
    [
        ("4", 0.0, [16, 10_000], [4.0, 4.0], False),  # larger than K^1/4 at the shortest K only
        ("11", 0.0, [16, 10_000], [11.0, 11.0], True),
        ("K^1/4", 0.25, [16, 10_000], [2.0, 10.0], False),
        ("K^3/8", 0.375, [16, 10_000], [3.0, 32.0], True),
        ("K^1/4", 0.25, [16, 10_000], [2.0, 13.0], False),  # grows as K^0.29: rounding may do that
        ("K^1/4", 0.25, [16, 10_000], [2.0, 16.0], True),  # as K^0.32
    ],
)
def test_staleness_beyond_the_theory(rule, exponent, num_updates, delay, is_beyond):
    rows = {"rule": rule, "exponent": exponent, "num_updates": num_updates, "delay": delay}
    study = dataclasses.replace(
        synthetic.study(lambda tau, k: k**-0.5, np.random.default_rng(0), rules=(0,), lengths=(100, 200)),
        cells=pd.DataFrame(rows),
    )
    assert bool(conclusions.beyond(study, rule, 0.25)) == is_beyond
