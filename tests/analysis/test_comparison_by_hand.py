"""Targets, tuning and tables of comparisons, from trials of a few runs whose numbers are worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest

from asyncopt.analysis import CONFIRMED, INCONCLUSIVE, VIOLATED, advantages, comparison_draws, comparison_grid
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.comparison import (
    FIRST,
    RANDOM,
    STEADY,
    SYNCHRONOUS,
    Comparison,
    Trial,
    _best,
    first_crossing,
    runs_of,
    table,
)
from asyncopt.analysis.comparison_draws import NUM_RESAMPLES, NUM_SPLITS, Draws, Replicates
from asyncopt.analysis.verdict import NOT_COMPARABLE

CLOCK = {"compute": {"distribution": "constant", "mean": 1.0}, "server": {"distribution": "constant", "mean": 0.5}}


def trial(method="APAM", rate=0.1, *, values=(8.0, 4.0, 0.0), time=(0.0, 1.0, 2.0), step=(0, 10, 20), **settings):
    """A trial of four runs, which are all the same unless ``values`` has a row for each."""
    values = np.broadcast_to(np.array(values, float), (4, len(step)))
    times = np.broadcast_to(np.array(time, float), values.shape)
    known = {"clock": "a clock", "num_workers": 2, "taken": None, "trace": {**CLOCK, "num_workers": 2}} | settings
    runs = {"step": np.array(step), "clocks": (0,) * 4, "seeds": tuple(range(4)), "time": times}
    return Trial(method=method, learning_rate=rate, values={"loss": values}, **(runs | known))


def comparison(*trials, progress=0.5, **settings):
    return Comparison("made", 20, trials, progress, **settings)


def reached(found, method, axis="time"):
    return found.reach(method, "a clock", 2, "loss", axis).estimate().value


def test_gradients_a_second_are_those_of_the_whole_runs():
    times = [[0.0, 1.0, 2.0], [0.0, 1.0, 3.0], [0.0, 1.0, 4.0], [0.0, 1.0, 7.0]]
    assert trial(time=times).throughput == 20 / 4


def test_ours_is_the_first_of_the_methods_and_settings_are_in_order():
    trials = [trial("B", num_workers=8), trial("A", clock="z"), trial("C", num_workers=4), trial("D")]
    trials.append(trial(SYNCHRONOUS, taken=1))
    found = comparison(*trials, ours="C")
    assert found.methods == ["C", "A", "B", "D", SYNCHRONOUS + FIRST]
    assert (found.clocks, found.num_workers) == (["a clock", "z"], [2, 4, 8])


def test_only_random_clocks_of_the_same_setting_are_counted():
    random = {"compute": "exponential"}
    found = comparison(
        trial(),
        trial(clock="random", trace=random, clocks=(0, 0, 1, 1)),
        trial(clock="random", trace=random, clocks=(0, 1, 2, 3), num_workers=4),
    )
    assert [found.num_clocks("random", p) for p in (2, 4)] == [2, 4]
    assert found.num_clocks("a clock", 2) is None


def test_trials_are_in_order_of_gradients_a_round_and_step_size():
    tried = [(2, 0.1), (1, 1.0), (2, 0.01), (1, 0.1)]
    found = comparison(*(trial(SYNCHRONOUS, rate, taken=taken) for taken, rate in tried))
    assert [(t.taken, t.learning_rate) for t in found.tried(SYNCHRONOUS + FIRST, "a clock", 2)] == sorted(tried)
    assert [t.learning_rate for t in found.tried(SYNCHRONOUS, "a clock", 2)] == [0.01, 0.1]


def test_the_target_lies_on_the_way_from_the_mean_start_to_the_best_end():
    found = comparison(trial(values=(8, 1, 3)), trial(values=(4, 0, 2)), trial(values=(6, 0, np.nan)), progress=0.75)
    assert found.target("loss") == 6 + 0.75 * (2 - 6)


def test_each_half_is_judged_with_the_step_size_chosen_on_the_other():
    """On the first half the smaller step size is the sooner, on the second the larger."""
    clock, when = np.arange(5.0), {0.1: (1, 4), 1.0: (2, 3)}
    trials = []
    for rate, arrivals in when.items():
        values = np.array([np.where(clock < arrival, 8.0, 0.0) for arrival in (*arrivals, 9, 9)])
        one = trial(rate=rate, values=values, time=2 * clock, step=10 * clock)
        halves = np.array([[[1.0, 0, 0, 0]], [[0.0, 1, 0, 0]]])
        one.__dict__["draws"] = Draws(np.tile(halves, (1, NUM_SPLITS + NUM_RESAMPLES, 1)), 4, 4)
        trials.append(one)
    found = comparison(*trials, progress=1.0)
    assert found.target("loss") == 8 + (4 - 8)  # of the four runs two have arrived at the end
    # Half of the way down: at 1.5 and 3.5, or at 0.5 more and less.
    assert reached(found, "APAM") == pytest.approx(2 * math.sqrt(1.5 * 3.5))
    assert reached(found, "APAM", "step") == pytest.approx(10 * math.sqrt(1.5 * 3.5))


def test_the_tuned_step_size_is_the_first_at_the_target_or_else_ends_lowest():
    sooner, later = trial(rate=1.0, values=(8, 0, 4)), trial(rate=0.1, values=(8, 8, 0))
    far, farther = trial("SGD", 0.1, values=(8, 1, 7)), trial("SGD", 1.0, values=(8, 0, 8))
    found = comparison(later, sooner, dataclasses.replace(far, time=sooner.time), farther)
    assert found.tuned("APAM", "a clock", 2, "loss") is sooner
    never = comparison(trial(values=(8, 8, -8)), *(trial("SGD", 0.1 * n, values=(8, 8 - n, 6 + n)) for n in (2, 1, 3)))
    assert never.tuned("SGD", "a clock", 2, "loss").learning_rate == pytest.approx(0.1)
    assert found.tuned("none", "a clock", 2, "loss") is None


def test_no_step_size_that_diverged_is_the_best():
    ends = np.array([[np.nan, 3.0, 0.0], [5.0, 2.0, 9.0]])
    arrivals = np.array([[np.inf, np.inf, np.inf], [np.inf, np.inf, 7.0]])
    np.testing.assert_array_equal(_best(arrivals, ends), [1, 1, 1])


def test_what_was_not_tried_is_never_and_nowhere_reached():
    found = comparison(trial()).reach("SGD", "a clock", 2, "loss", "time")
    assert np.isnan(found.values).all()
    assert (len(found.values), found.num_units, found.num_seeds) == (NUM_SPLITS + NUM_RESAMPLES, 0, 0)


def test_a_target_that_is_reached_at_the_start_is_reached_at_once_by_all():
    """Where nothing gets better; a time of 0 would have no logarithm, and no ratio."""
    found = comparison(trial(values=(1, 2, 3)), trial("SGD", values=(1, 3, 5)))
    assert 0 < reached(found, "APAM") < 1e-200
    assert found.advantage("SGD", "a clock", 2, "loss").estimate() == (1, 1, 1)


def test_a_target_that_is_reached_within_a_second_is_reached_then():
    found = comparison(trial(time=(0, 0.2, 9)), trial("SGD", time=(0, 0.4, 9), step=(0, 4, 20)))
    assert [reached(found, method) for method in ("APAM", "SGD")] == pytest.approx([0.2, 0.4])
    assert found.advantage("SGD", "a clock", 2, "loss").estimate() == pytest.approx((2, 2, 2))


def test_the_end_is_the_mean_of_the_last_evaluations():
    one = trial(values=(8, 4, 3))
    assert comparison(one).ends(one, "loss") == pytest.approx((3, 3, 3))


def test_the_table_has_a_row_for_each_trial_in_order():
    """The full round is the best of both, so its row has its own time, not that of the choice among both."""
    slow, fast = trial(rate=1.0, values=(8, 7, 6)), trial(seeds=(5, 6, 7, 8), clocks=(0, 0, 1, 1))
    full, first = trial(SYNCHRONOUS, taken=2), trial(SYNCHRONOUS, taken=1, values=(8, 6, 5), time=(0, 2, 8))
    rows = table(comparison(slow, full, first, fast))
    assert list(rows["method"]) == ["APAM", "APAM", SYNCHRONOUS, SYNCHRONOUS]
    assert list(rows["learning_rate"]) == [0.1, 1.0, 0.1, 0.1]
    assert list(rows["taken"])[2:] == [1, 2]
    assert list(rows["throughput"]) == [10, 10, 2.5, 10]
    assert list(rows["clocks"]) == [2, 1, 1, 1]
    assert list(rows["runs"]) == [4] * 4
    assert list(rows["tuned_for_loss"]) == [True, False, False, True]
    for end in ("", "_low", "_high"):
        np.testing.assert_allclose(rows["final_loss" + end], [0, 6, 5, 0])
        np.testing.assert_allclose(rows["time_to_loss" + end], [1, np.nan, np.nan, 1])
        np.testing.assert_allclose(rows["step_to_loss" + end], [10, np.nan, np.nan, 10])


def test_the_row_of_a_full_round_has_the_time_of_full_rounds():
    """In the halves of the draws a part of a round is sooner, so that the choice among both is another time."""
    full, first = trial(SYNCHRONOUS, taken=2), trial(SYNCHRONOUS, taken=1, values=[(8, 8, 0)] * 3 + [(8, 0, 0)])
    for one in (full, first):
        only = np.tile([0.0, 0, 0, 1], (2, NUM_SPLITS + NUM_RESAMPLES, 1))
        one.__dict__["draws"] = Draws(only, 4, 4)
    found = comparison(full, first)
    assert (reached(found, SYNCHRONOUS), reached(found, SYNCHRONOUS + FIRST)) == pytest.approx((1.0, 0.5))
    assert found.tuned(SYNCHRONOUS + FIRST, "a clock", 2, "loss") is full
    assert table(found)["time_to_loss"].iloc[1] == pytest.approx(1.0)


def test_the_runs_of_trials_are_counted():
    assert runs_of([trial(), None, trial("SGD", seeds=(0, 1))]) == 6


def test_a_curve_that_falls_from_its_first_evaluation_is_read_along_its_line():
    assert first_crossing(np.array([2.0, 4.0]), np.array([[4.0, 0.0]]), 3.0) == pytest.approx([2.5])


def graded(method, rates, best, **settings):
    """Trials of which the best step size has the lowest end; none reaches the target of the others."""
    return [
        trial(
            method, rate, values=(8, 8, 1 + abs(math.log10(rate / best))), time=(0, 9, 9 + (rate != best)), **settings
        )
        for rate in rates
    ]


def test_a_method_without_runs_has_no_fault_and_hides_none():
    found = comparison(*graded("SGD", (0.1, 1.0), 1.0))
    assert comparison_grid.faults(found, ["APAM", "SGD"], "a clock", 2, "loss") == [
        "SGD's best step size, 1, is the largest of its grid"
    ]


def test_an_override_adds_step_sizes_and_gradients_a_round():
    rates, tried = (0.1, 1.0, 10.0), {"num_workers": 8}
    found = comparison(
        *graded("APAM", rates, 1.0, **tried),
        *graded(SYNCHRONOUS, rates, 10.0, taken=4, **tried),
        *graded(SYNCHRONOUS, rates[:2], 300.0, taken=6, **tried),
        *graded("SGD", (0.1, 1.0, 3.0, 10.0), 1.0, **tried),
    )
    # Of all grids; beyond the largest; and beyond 4, the fewest gradients a round.
    assert comparison_grid.override(found) == "optimizer.learning_rate=3,10,100,1000 trace.take=1,2"


def test_a_step_size_is_written_with_as_few_digits_as_come_within_one_percent():
    assert [comparison_grid._rounded(rate) for rate in (9.92, 9.85, 0.0316228)] == [10.0, 9.8, 0.0316]


def ratio(splits, resamples, units=8, seeds=8):
    values = np.append(np.broadcast_to(splits, NUM_SPLITS), np.broadcast_to(resamples, NUM_RESAMPLES))
    return Replicates(values, units, seeds)


def test_a_rival_that_arrives_in_some_resamples_is_not_beaten():
    """In 2 % of them: the interval is above 1, but with four seeds that is too often."""
    some = np.where(np.arange(NUM_RESAMPLES) < 20, 0.5, np.inf)
    judged = advantages._above_one("a", "b", ratio(np.inf, some, 4), [trial()], None, [])
    assert (judged.outcome, judged.rule) == (INCONCLUSIVE, "reached by the rival in some resamples")
    never = advantages._above_one("a", "b", ratio(np.inf, np.inf, 4, 4), [trial()], None, [])
    assert (never.outcome, never.runs) == (CONFIRMED, 4)


@pytest.mark.parametrize(
    ("num_clocks", "found", "decided"), [(None, [], True), (4, [], True), (3, [], False), (None, ["why", "why"], False)]
)
def test_what_cannot_be_decided_is_no_claim_to_correct_for(num_clocks, found, decided):
    judged = advantages._above_one("a", "b", ratio(2.0, 2.0), [trial()], num_clocks, found)
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


def test_throughputs_are_compared_where_a_formula_predicts_them():
    """With constant times two workers have 4/3 gradients a second, both alone and in full rounds."""
    gamma = CLOCK | {"compute": {"distribution": "gamma", "mean": 1.0, "shape": 2.0}}
    trials = [trial(clock="b", time=(0, 1, 20)), trial(SYNCHRONOUS, clock="b", taken=2, time=(0, 1, 21))]
    trials += [dataclasses.replace(one, clock="a", trace=gamma) for one in trials]  # a clock without a formula
    trials += [dataclasses.replace(trials[1], taken=1), dataclasses.replace(trials[1], num_workers=4)]
    first, full = advantages.throughputs(comparison(*trials))
    assert full.claim == "gradients a second, over the synchronous method's: 2 workers, b"
    assert (full.predicted, full.outcome, full.rule, full.runs, full.tolerance) == (
        "1",
        CONFIRMED,
        "within 10%",
        2,
        "10%",
    )
    assert full.measured.value == pytest.approx(1.05)
    assert full.noticed == ("a prediction off by a quarter",)
    assert first.claim == "gradients a second, over those of rounds that take 1 of 2: 2 workers, b"
    assert (first.predicted, first.outcome, first.rule, first.noticed) == ("2", VIOLATED, "not within 10%", ())
    several = trials[0].trace | {"server": {"sum": [{"distribution": "constant", "mean": 0.25}] * 2}}
    assert advantages._predicted_ratio(several, 2, 2) is None


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
    assert ratio(splits, resamples, 10**9).estimate() == pytest.approx(expected, rel=1e-6)


def test_numbers_that_may_be_negative_have_an_interval_that_is_not_stretched():
    """As an objective may be at the end; with so few units, Student's quantile is twice the normal one."""
    resamples = np.arange(1.0, 1001) - 500
    for value in (-10.0, 100.0):
        low, high = ratio(value, resamples, 4).estimate()[1:]
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
