"""What is decided of inflations, rates and thresholds, each side of each limit, from numbers given by hand."""

import math

import numpy as np
import pytest

from asyncopt.analysis import claims, fits
from asyncopt.analysis.criteria import Decision
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, VIOLATED
from asyncopt.theory.claims import Attained
from tests.analysis import synthetic
from tests.analysis.synthetic import REACH, UNIT

RULE = "K^1/8"


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
