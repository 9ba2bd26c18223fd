"""What a criterion decides from an exponent and its parts, each given by itself and without each seed."""

import math

import numpy as np
import pytest
import scipy.stats

from asyncopt.analysis.criteria import Criterion, tolerance
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, VIOLATED
from tests.analysis.synthetic import UNIT


def rows(value, seeds=16, spread=0.01):
    """An exponent of all seeds, and without each; its standard error is about ``spread``."""
    offsets = spread * np.random.default_rng(0).normal(size=seeds) / np.sqrt(seeds)
    return np.append(value, value + offsets - offsets.mean())


@pytest.mark.parametrize(
    ("measured", "last", "outcome"),
    [
        (-0.3, -0.4, VIOLATED),
        (-0.3, -0.7, INCONCLUSIVE),  # the tail of a fit that no run has reached
        (-0.7, -0.7, CONFIRMED),
        (-0.7, -0.3, VIOLATED),
    ],
)
def test_a_fitted_tail_alone_does_not_violate_what_the_longest_runs_meet(measured, last, outcome):
    parts = {"over the last decade": rows(last)}
    criterion = Criterion(rows(measured), -0.5, parts, decisive=("over the last decade",))
    assert criterion.decide().outcome == outcome


def test_a_slope_that_is_too_slow_at_the_last_k_supports_no_rate():
    """The first of two neighbours is fast enough, the second is not: the fitted tail counts."""
    parts = {"from K = 1,000 to 3,162": rows(-0.7), "from K = 3,162 to 10,000": rows(-0.45)}
    assert Criterion(rows(-0.3), -0.5, parts).decide().outcome == VIOLATED


def decide(measured, parts=(), decisive=(), **more):
    """What is decided of "at most 0", for parts named a, b and so on, whose standard error is about 1."""
    by_name = {name: rows(part, spread=1.0) for name, part in zip("abc", parts, strict=False)}
    return Criterion(rows(measured, spread=1.0), 0.0, by_name, tuple(decisive), **{"margin": 9.0, **more}).decide()


@pytest.mark.parametrize(
    ("measured", "parts", "decisive", "outcome", "rule"),
    [
        (-9, [], "", CONFIRMED, "interval at most 0"),
        (-9, [-9], "", CONFIRMED, "interval at most 0 in every part"),
        (-9, [-9, -1, 1], "", CONSISTENT, "interval at most 0, but not c"),
        (-9, [-9, 1, -1], "", CONSISTENT, "interval at most 0, but not b"),
        (-9, [math.nan, -1], "", CONSISTENT, "interval at most 0, but not a"),
        (-9, [-9, 9, 8], "", INCONCLUSIVE, "interval at most 0, but not b"),
        (-1, [-9, 8, 9], "", INCONCLUSIVE, "interval only partly at most 0, and without 9, and on the wrong side b"),
        (-9, [-9, 9, 9], "bc", VIOLATED, "interval at most 0, but all of it on the wrong side b"),
        (-9, [-9, 9, 9], "c", VIOLATED, "interval at most 0, but all of it on the wrong side c"),
        (9, [-9, -8, -1], "", INCONCLUSIVE, "whole interval not at most 0, but on the right side b"),
        (9, [-9, -8, 1], "", VIOLATED, "whole interval not at most 0"),
        (9, [], "", VIOLATED, "whole interval not at most 0"),
        (math.nan, [-9], "", INCONCLUSIVE, "no interval"),
    ],
)
def test_decisions_name_the_part_that_decides(measured, parts, decisive, outcome, rule):
    decision = decide(measured, parts, decisive)
    assert (decision.outcome, decision.rule) == (outcome, rule)
    assert decision.tolerance == "0; 9 for consistent"
    # At least 0 is the same of the numbers with the other sign.
    other = decide(-measured, [-part for part in parts], decisive, at_least=True)
    assert (other.outcome, other.rule) == (outcome, rule.replace("most", "least").replace("without 9", "without -9"))


def test_what_a_correction_may_leave():
    """Consistent only if no part is on the wrong side, and if there is a margin."""
    assert decide(-9, [-9]).otherwise == CONSISTENT
    assert decide(-9, [-9], margin=0.0).otherwise == INCONCLUSIVE
    assert decide(-9, [9]).otherwise == INCONCLUSIVE
    assert decide(-9, [math.nan]).p_value == 1.0


def test_what_only_rounding_keeps_from_a_limit_is_at_it():
    """At the limit in all rows is on the right side for sure."""
    for beyond, outcome in ((0.0, CONFIRMED), (5e-10, CONFIRMED), (2e-9, VIOLATED)):
        assert Criterion(np.full(17, 0.5 + beyond), 0.5).decide().outcome == outcome
        parts = {"last": np.full(17, 0.5 + beyond)}
        assert Criterion(rows(0.2), 0.5, parts, ("last",)).decide().outcome == outcome
        assert (
            Criterion(-rows(0.2), -0.5, {"last": -parts["last"]}, ("last",), at_least=True).decide().outcome == outcome
        )
    # A part at the limit is on the right side, by its value too.
    parts = {"first": rows(0.2), "last": np.full(17, 0.5)}
    assert Criterion(rows(0.9), 0.5, parts).decide().outcome == INCONCLUSIVE


@pytest.mark.parametrize(("distance", "noticed"), [(0.05, True), (0.15, False)])
def test_a_stricter_claim_is_noticed_if_the_exponent_is_near(distance, noticed):
    assert Criterion(rows(-0.5 - distance), -0.5).notices() == noticed
    assert Criterion(rows(0.5 + distance), 0.5, at_least=True).notices() == noticed
    assert Criterion(rows(-0.5 - distance), -0.5).notices(0.01) is False
    assert Criterion(rows(-0.5 - distance), -0.5).notices(0.2) is True


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


def test_tolerances_in_words():
    assert [tolerance(margin) for margin in (0.0, 0.02)] == ["0", "0; 0.02 for consistent"]
