"""Verdicts in words, what these runs can confirm at all, and the correction for many claims."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from asyncopt.analysis import conclusions, verdict
from asyncopt.analysis.criteria import Decision
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, NOT_CLAIMED, NOT_TESTED, VIOLATED
from tests.analysis import synthetic

LENGTHS = (100, 1000, 5000, 10_000)
WHOLE, HALF = verdict.Estimate(1.0, 0.9, 1.0), verdict.Estimate(1.0, 0.9, 1.15)


def study(**settings):
    settings = {"rules": (0, 4), "lengths": LENGTHS, "noise": 0.02, **settings}
    return synthetic.study(lambda tau, k: k**-0.5, np.random.default_rng(0), **settings)


@pytest.mark.parametrize(
    ("decide", "arguments", "outcome", "rule"),
    [
        (verdict.at_most, (WHOLE, 1, 0.2), CONFIRMED, "interval at most 1"),
        (verdict.at_most, (WHOLE, 0.8, 0.2), VIOLATED, "whole interval not at most 0.8"),
        (verdict.at_most, (HALF, 1, 0.2), CONSISTENT, "interval only partly at most 1, and without 1.2"),
        (verdict.at_most, (HALF, 1), INCONCLUSIVE, "interval only partly at most 1"),
        (verdict.at_least, (WHOLE, 0.9, 0.2), CONFIRMED, "interval at least 0.9"),
        (verdict.at_least, (WHOLE, 1.2, 0.2), VIOLATED, "whole interval not at least 1.2"),
        (verdict.at_least, (HALF, 1, 0.2), CONSISTENT, "interval only partly at least 1, and without 0.8"),
        (verdict.at_least, (HALF, 1), INCONCLUSIVE, "interval only partly at least 1"),
        (verdict.equal, (HALF, 1, 0.2), CONSISTENT, "interval around 1, and all of it within 0.2"),
        (verdict.equal, (HALF, 1, 0.125), INCONCLUSIVE, "interval around 1, but not all of it within 0.125"),
        (verdict.equal, (HALF, 1.2, 0.25), VIOLATED, "interval without 1.2"),
        (verdict.equal, (HALF, 0.8, 0.25), VIOLATED, "interval without 0.8"),
        (
            verdict.equal,
            (HALF, 1.2, 0.5, 0.0625),
            CONSISTENT,
            "interval around 1.2 or within 0.0625 of it, and all of it within 0.5",
        ),
        (
            verdict.equal,
            (HALF, 0.85, 0.125, 0.0625),
            INCONCLUSIVE,
            "interval around 0.85 or within 0.0625 of it, but not all of it within 0.125",
        ),
    ],
)
def test_outcomes_say_their_reason(decide, arguments, outcome, rule):
    assert decide(*arguments) == (outcome, rule)


@pytest.mark.parametrize("margin", [0.25, 0.125])
def test_an_interval_that_reaches_the_margin_does_not_exclude_it(margin):
    touching = verdict.Estimate(1.0, 1 - margin, 1 + margin)
    for decide in (verdict.at_most, verdict.at_least, verdict.equal):
        assert decide(touching, 1.0, margin)[0] == INCONCLUSIVE
        assert decide(touching, 1.0, margin + 0.01)[0] == CONSISTENT
    for low, high in ((0.9, 1 + margin), (1 - margin, 1.1)):
        assert verdict.equal(verdict.Estimate(1.0, low, high), 1.0, margin)[0] == INCONCLUSIVE


def test_the_largest_p_value_after_holms_correction():
    """At 6 %: 0.02 of three, then 0.03 of two, then 0.06 of one; each only after those before it."""
    assert verdict.largest_significant([0.06, 0.02, 0.03], 0.06) == 0.06
    assert verdict.largest_significant([0.061, 0.02, 0.03], 0.06) == 0.03
    assert verdict.largest_significant([0.05, 0.02, 0.031], 0.06) == 0.02
    assert verdict.largest_significant([0.021, 0.021, 0.021], 0.06) == -math.inf
    assert verdict.largest_significant([], 0.06) == -math.inf


def judged(outcome=CONFIRMED, p_value=0.0, noticed=("a wrong claim",), **more):
    return verdict.Verdict("", "", WHOLE, 1, outcome, "so", noticed, p_value, **more)


def test_what_a_correction_takes_away_is_said():
    """0.02 is above 0.025/2, so two claims that would be confirmed alone are not together."""
    first, second = verdict.corrected([judged(p_value=0.02), judged(p_value=0.02, otherwise=CONSISTENT)])
    assert (first.outcome, second.outcome) == (INCONCLUSIVE, CONSISTENT)
    assert first.rule == "so, but not after Holm's correction for 2 claims"
    alone, loose, other = judged(), judged(noticed=(), p_value=math.nan), judged(CONSISTENT, math.nan)
    found = verdict.corrected([alone, loose, other])
    assert (found[0], found[2]) == (alone, other)
    assert (found[1].outcome, found[1].rule) == (NOT_TESTED, "so, but a wrong claim would have passed, too")


def test_where_theory_claims_nothing_readers_see_only_contradictions():
    assert [judged(outcome, unclaimed="outside").shown for outcome in (CONFIRMED, INCONCLUSIVE, VIOLATED)] == [
        NOT_CLAIMED, NOT_CLAIMED, VIOLATED,
    ]  # fmt: skip
    assert judged().shown == CONFIRMED


def test_too_thin():
    """16 seeds, 4 values of K, and two decades up to the rounding of K: 99,900/1000 is enough."""

    def reason(lengths, cells=None, **settings):
        made = study(rules=(0,), lengths=lengths, **settings)
        return conclusions.too_thin(made, np.arange(len(lengths)) if cells is None else np.array(cells, int))

    assert reason((1000, 2000, 4000, 99_900)) == ""
    assert reason((1000, 2000, 4000, 99_899)) == "K from 1,000 to 99,899, less than two decades"
    assert reason((1000, 2000, 4000, 100_000), seeds=15) == "15 seeds, fewer than 16"
    assert reason((1000, 2000, 4000, 100_000), cells=[0, 1, 3]) == "3 values of K, fewer than 4"
    assert reason((1000, 2000, 4000, 100_000), cells=[]) == "0 values of K, fewer than 4"
    made = study()
    twice = dataclasses.replace(made, values=made.values[[0, 0, *range(2, 16)]])
    assert conclusions.too_thin(twice, np.arange(4)) == "seeds 0 and 1 have the same values in all cells"


DECIDED = Decision(WHOLE, CONFIRMED, "so", 0.01, CONSISTENT, "0; 0.1 for consistent")


def concluded(made, decision=DECIDED, cells=range(4), beyond=""):
    return conclusions.conclude(Measures(made), "c", "p", decision, np.array(cells), ("wrong",), beyond)


def test_what_is_enough_keeps_its_decision():
    found = concluded(study())
    expected = ("c", "p", WHOLE, 64, CONFIRMED, "so", ("wrong",), 0.01, CONSISTENT, "0; 0.1 for consistent", "")
    assert dataclasses.astuple(found) == dataclasses.astuple(verdict.Verdict(*expected))
    assert concluded(study(), cells=range(8)).runs == 128


@pytest.mark.parametrize("outcome", [CONFIRMED, CONSISTENT, VIOLATED, INCONCLUSIVE])
def test_what_is_too_thin_is_inconclusive(outcome):
    found = concluded(study(seeds=4), DECIDED._replace(outcome=outcome))
    assert (found.outcome, found.noticed) == (INCONCLUSIVE, ())
    assert math.isnan(found.p_value)
    assert found.rule == ("so" if outcome == INCONCLUSIVE else "4 seeds, fewer than 16")


@pytest.mark.parametrize(
    ("outside", "beyond", "reason"),
    [("outside", "", "outside"), ("", "beyond", "beyond"), ("outside", "beyond", "outside")],
)
def test_what_theory_does_not_claim_can_only_be_violated(outside, beyond, reason):
    made = study(outside=outside)
    for outcome in (CONFIRMED, CONSISTENT):
        found = concluded(made, DECIDED._replace(outcome=outcome), beyond=beyond)
        assert (found.outcome, found.rule, found.noticed) == (INCONCLUSIVE, f"so, but {reason}", ())
        assert (math.isnan(found.p_value), found.unclaimed) == (True, reason)
    found = concluded(made, DECIDED._replace(outcome=VIOLATED), beyond=beyond)
    assert (found.outcome, found.rule) == (VIOLATED, "so; beyond" if beyond else "so")
    assert concluded(made, DECIDED._replace(outcome=INCONCLUSIVE), beyond=beyond).rule == "so"


def test_a_cell_that_diverged_confirms_nothing():
    made = study()
    values = made.values.copy()
    values[:2, 1] = values[3, 2] = np.inf
    diverged = dataclasses.replace(made, values=values)
    found = concluded(diverged)
    assert (found.outcome, found.rule) == (INCONCLUSIVE, "so, but in 2 of these cells a seed diverged")
    assert found.p_value == 0.01  # the claim is one of those that are corrected for
    assert concluded(diverged, cells=range(4, 8)).outcome == CONFIRMED


@pytest.mark.parametrize(
    ("outcome", "noticed", "num_seeds", "expected"),
    [
        (CONFIRMED, ("wrong",), 89, CONSISTENT),
        (CONFIRMED, (), 89, CONFIRMED),  # which is not tested in the end
        (VIOLATED, ("wrong",), 89, VIOLATED),
        (CONFIRMED, ("wrong",), 90, CONFIRMED),
    ],
)
def test_the_size_of_a_mean_takes_ninety_seeds(outcome, noticed, num_seeds, expected):
    given = judged(outcome, 0.01, noticed)
    found = conclusions.of_an_expectation(given, num_seeds)
    assert found.outcome == expected
    assert math.isnan(found.p_value) == (num_seeds < 90)
    words = "so; 89 seeds, and to confirm the size of a mean takes 90"
    assert found.rule == (words if expected == CONSISTENT else "so")


def test_powers_in_words():
    exponents = {
        0.25: "K^1/4",
        -0.5: "K^-1/2",
        -1.0: "1/K",
        -2.0: "K^-2",
        1.0: "K^1",
        1 / 3: "K^1/3",
        1 / 65: "K^1/64",
    }
    assert {each: conclusions.power(each) for each in exponents} == exponents


@pytest.mark.parametrize(
    ("exponent", "num_updates", "delay", "critical", "is_beyond"),
    [
        (0.0, [16, 10_000], [4.0, 4.0], 0.25, False),  # larger than K^1/4 at the shortest K only
        (0.0, [16, 10_000], [11.0, 11.0], 0.25, True),
        (0.25, [16, 10_000], [2.0, 10.0], 0.25, False),
        (0.375, [16, 10_000], [3.0, 32.0], 0.25, True),
        (0.25, [16, 10_000], [2.0, 13.0], 0.25, False),  # grows as K^0.29: rounding may do that
        (0.25, [16, 10_000], [2.0, 16.0], 0.25, True),  # as K^0.32
        (0.125, [16, 10_000], [0.0, 2.0], 0.25, False),  # as K^0.11 from one update on
        (0.125, [16, 10_000], [0.0, 2.0], 0.0625, True),
        (0.05, [16, 10_000], [1.0, 3.2], 0.1, True),  # as K^0.18
        (0.0, [16, 256], [2.0, 5.0], 0.25, False),  # 2 is 16^1/4, and not more
        (0.0, [16, 256], [2.1, 5.0], 0.25, True),
    ],
)
def test_delays_beyond_the_theory(exponent, num_updates, delay, critical, is_beyond):
    rows = {"rule": "a", "exponent": exponent, "num_updates": num_updates, "delay": delay}
    found = conclusions.beyond(dataclasses.replace(study(), cells=pd.DataFrame(rows)), "a", critical)
    assert found == (f"nothing is claimed beyond {conclusions.power(critical)}" if is_beyond else "")


def test_half_an_interval_is_none():
    for low, high in ((math.nan, 1.0), (1.0, math.nan)):
        half = verdict.Estimate(1.0, low, high)
        for decided in (verdict.at_most(half, 1.0), verdict.at_least(half, 1.0), verdict.equal(half, 1.0, 0.1)):
            assert decided == (INCONCLUSIVE, "no interval")
