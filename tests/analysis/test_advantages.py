"""Which method is faster, by how much, and what is said of throughputs, from numbers given by hand."""

import dataclasses
import math

import numpy as np
import pytest

from asyncopt.analysis import CONFIRMED, INCONCLUSIVE, VIOLATED, advantages
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.comparison import RANDOM, STEADY, SYNCHRONOUS
from asyncopt.analysis.comparison_draws import NUM_RESAMPLES
from asyncopt.analysis.verdict import NOT_COMPARABLE
from tests.analysis.made_runs import CLOCK, comparison, replicates, trial


@pytest.mark.parametrize(("ratio", "factor"), [(1.05, "1.1"), (1.5, "2"), (5.0, "10"), (20.0, None)])
def test_the_nearest_of_the_faster_rivals_that_would_have_been_noticed(ratio, factor):
    judged = advantages._above_one("a", "b", replicates(ratio, ratio), [trial()], 4, [])
    assert judged.outcome == CONFIRMED
    slower = [] if factor is None else [f"the rival {factor} times as fast"]
    assert judged.noticed == ("the methods exchanged", *slower)


def test_a_rival_that_arrives_in_some_resamples_is_not_beaten():
    """In 2 % of them: the interval is above 1, but with four seeds that is too often."""
    some = np.where(np.arange(NUM_RESAMPLES) < 20, 0.5, np.inf)
    judged = advantages._above_one("a", "b", replicates(np.inf, some, 4), [trial()], None, [])
    assert (judged.outcome, judged.rule) == (INCONCLUSIVE, "reached by the rival in some resamples")
    never = advantages._above_one("a", "b", replicates(np.inf, np.inf, 4, 4), [trial()], None, [])
    assert (never.outcome, never.runs) == (CONFIRMED, 4)


@pytest.mark.parametrize(
    ("num_clocks", "found", "decided"), [(None, [], True), (4, [], True), (3, [], False), (None, ["why", "why"], False)]
)
def test_what_cannot_be_decided_is_no_claim_to_correct_for(num_clocks, found, decided):
    judged = advantages._above_one("a", "b", replicates(2.0, 2.0), [trial()], num_clocks, found)
    assert math.isnan(judged.p_value) != decided
    assert judged.noticed == (("the methods exchanged", "the rival 2 times as fast") if decided else ())
    if found:
        assert (judged.outcome, judged.rule) == (NOT_COMPARABLE, "why")
    if num_clocks == 3:
        assert "but the clock is 3 draws" in judged.rule


@pytest.mark.parametrize(
    ("measured", "outcome", "rule"),
    [
        ((np.nan, np.nan, np.nan), INCONCLUSIVE, "neither reached the target"),
        ((2.0, np.nan, np.nan), INCONCLUSIVE, "no interval"),
        ((2.0, 1.5, 3.0), CONFIRMED, "whole interval above 1"),
        ((0.5, 0.2, 0.9), VIOLATED, "whole interval below 1"),
        ((1.0, 1 + 1e-12, 1.5), INCONCLUSIVE, "interval on both sides of 1"),
        ((1.0, 0.5, 1 - 1e-12), INCONCLUSIVE, "interval on both sides of 1"),
    ],
)
def test_a_ratio_is_above_one_by_its_interval(measured, outcome, rule):
    assert advantages._by_interval(Estimate(*measured)) == (outcome, rule)


@pytest.mark.parametrize(
    ("number", "outcome"), [(None, CONFIRMED), (4, CONFIRMED), (3, INCONCLUSIVE), (1, INCONCLUSIVE)]
)
def test_few_draws_of_a_random_clock_decide_nothing(number, outcome):
    decided, rule = advantages._unless_few_clocks(CONFIRMED, "so", number)
    assert decided == outcome
    assert rule == {None: "so", 4: "so"}.get(number, rule)
    if number == 1:
        assert rule == "so, but the clock is one draw, and a random clock takes at least 4 trace seeds"


def on_both_clocks(num_workers, clocks=(RANDOM, STEADY), mean=1.0, methods=("APAM", SYNCHRONOUS)):
    trials = []
    for clock in clocks:
        shape = {"distribution": "exponential" if clock == RANDOM else "constant", "mean": mean}
        settings = {"clock": clock, "num_workers": num_workers, "trace": {"compute": shape}, "clocks": (0, 1, 2, 3)}
        of_round = {"taken": num_workers}
        trials += [trial(m, **settings, **(of_round if m == SYNCHRONOUS else {})) for m in methods]
    return trials


def test_what_shrinks_is_asked_of_several_workers_on_both_clocks():
    lacking = [*on_both_clocks(4, clocks=[RANDOM]), *on_both_clocks(6, methods=["APAM"])]
    found = comparison(*on_both_clocks(1), *lacking, *on_both_clocks(8))
    (judged,) = advantages.shrinking(found)
    assert judged.claim.endswith("with constant times: 8 workers")
    assert judged.runs == 16
    slower = on_both_clocks(8, [RANDOM], mean=2.0)
    assert advantages.shrinking(comparison(*slower, *on_both_clocks(8, [STEADY]))) == []
    assert not advantages._differ_in_distribution_alone(None, slower[0])
    assert not advantages._differ_in_distribution_alone(slower[0], None)


def test_throughputs_are_predicted_without_a_network_alone():
    """With constant times 1 s and 0.5 s, two workers have 4/3 gradients a second, and in rounds as many."""
    assert advantages._predicted_ratio(CLOCK, 2, 2) == pytest.approx(1.0)
    assert advantages._predicted_ratio(CLOCK, 2, 1) == pytest.approx(2.0)
    for other in (
        {"network": 0.1},
        {"stragglers": 1},
        {"compute": {"distribution": "exponential"}},
        {"compute": {"distribution": "constant", "mean": [1.0, 2.0]}},
        {"compute": {"distribution": "constant", "mean": {"factor": 1.0}}},
        {"compute": {"distribution": "gamma", "shape": 2.0}, "server": {"distribution": "gamma", "shape": 2.0}},
        {"server": {"sum": [{"distribution": "constant", "mean": 0.25}] * 2}},
    ):
        assert advantages._predicted_ratio(CLOCK | other, 2, 2) is None
    assert advantages._predicted_ratio(CLOCK | {"network": 0.0, "stragglers": 0}, 2, 2) == pytest.approx(1.0)


def test_throughputs_are_compared_where_a_formula_predicts_them():
    """With constant times two workers have 4/3 gradients a second, both alone and in full rounds."""
    gamma = CLOCK | {"compute": {"distribution": "gamma", "mean": 1.0, "shape": 2.0}}
    trials = [trial(clock="b", time=(0, 1, 20)), trial(SYNCHRONOUS, clock="b", taken=2, time=(0, 1, 21))]
    trials += [dataclasses.replace(one, clock="a", trace=gamma) for one in trials]  # a clock without a formula
    trials += [dataclasses.replace(trials[1], taken=1), dataclasses.replace(trials[1], num_workers=4)]
    first, full = advantages.throughputs(comparison(*trials))
    assert full.claim == "gradients a second, over the synchronous method's: 2 workers, b"
    assert (full.predicted, full.outcome, full.rule, full.tolerance) == ("1", CONFIRMED, "within 10%", "10%")
    assert full.runs == 2
    assert full.measured.value == pytest.approx(1.05)
    assert full.noticed == ("a prediction off by a quarter",)
    assert first.claim == "gradients a second, over those of rounds that take 1 of 2: 2 workers, b"
    assert (first.predicted, first.outcome, first.rule, first.noticed) == ("2", VIOLATED, "not within 10%", ())


def test_numbers_of_workers_in_words():
    assert [advantages.workers(number) for number in (1, 2)] == ["1 worker", "2 workers"]
