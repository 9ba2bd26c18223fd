"""Targets, tuning and tables of comparisons, from trials of a few runs whose numbers are worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest

from asyncopt.analysis.comparison import FIRST, SYNCHRONOUS, _best, first_crossing, runs_of, table
from asyncopt.analysis.comparison_draws import NUM_RESAMPLES, NUM_SPLITS, Draws
from tests.analysis.made_runs import comparison, trial


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
        vars(one)["draws"] = Draws(np.tile(halves, (1, NUM_SPLITS + NUM_RESAMPLES, 1)), 4, 4)
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


def test_a_method_that_was_not_tried_has_no_time():
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
        vars(one)["draws"] = Draws(only, 4, 4)
    found = comparison(full, first)
    assert (reached(found, SYNCHRONOUS), reached(found, SYNCHRONOUS + FIRST)) == pytest.approx((1.0, 0.5))
    assert found.tuned(SYNCHRONOUS + FIRST, "a clock", 2, "loss") is full
    assert table(found)["time_to_loss"].iloc[1] == pytest.approx(1.0)


def test_the_runs_of_trials_are_counted():
    assert runs_of([trial(), None, trial("SGD", seeds=(0, 1))]) == 6


def test_a_curve_that_falls_from_its_first_evaluation_is_read_along_its_line():
    assert first_crossing(np.array([2.0, 4.0]), np.array([[4.0, 0.0]]), 3.0) == pytest.approx([2.5])
