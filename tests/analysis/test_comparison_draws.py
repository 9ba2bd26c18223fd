"""Splits, resamples and grids of comparisons, from numbers given by hand."""

import itertools
import math
import types

import numpy as np
import pytest
import scipy.stats

from asyncopt.analysis import advantages, bootstrap, comparison_draws, comparison_grid, curves
from asyncopt.analysis.comparison import Trial
from asyncopt.analysis.comparison_draws import NUM_RESAMPLES, NUM_SPLITS, Replicates
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE


def replicates(splits, resamples, units=8, seeds=8):
    values = np.append(np.broadcast_to(splits, NUM_SPLITS), np.broadcast_to(resamples, NUM_RESAMPLES))
    return Replicates(values, units, seeds)


def test_the_interval_of_lognormal_resamples_is_students_on_a_log_scale():
    """With n - 2 degrees of freedom, as a mean of each half is taken away."""
    normal = np.random.default_rng(0).permutation(scipy.stats.norm.ppf((np.arange(NUM_RESAMPLES) + 0.5) / 1000))
    for units, sign in itertools.product((4, 8), (-1, 1)):
        ratio = replicates(1.5**sign, 1.5**sign * np.exp(0.2 * normal), units)
        reach = 0.2 * scipy.stats.t.ppf(0.975, units - 2)
        expected = 1.5**sign * np.exp(np.array([0, -reach, reach]))
        np.testing.assert_allclose(ratio.estimate(), expected, rtol=0.01 * units)
        assert ratio.p_above_one() == pytest.approx(scipy.stats.t.sf(sign * math.log(1.5) / 0.2, units - 2), rel=0.05)
    assert np.isnan(replicates(1.5, 1.5 * np.exp(0.2 * normal), units=3).estimate().low)
    assert math.isnan(replicates(1.5, 1.5 * np.exp(0.2 * normal), units=3).p_above_one())


def test_an_interval_leaves_out_25_of_1000_resamples_at_each_end():
    """With so many units nothing is stretched. Of resamples that are 0 there is no logarithm."""
    resamples = np.random.default_rng(0).permutation(np.arange(1.0, 1001))
    np.testing.assert_allclose(replicates(500.0, resamples, 10**9).estimate(), (500, 26, 975), rtol=1e-6)
    assert replicates(1.0, 0.0).estimate() == (1, 0, 1)
    # Where all are on one side, the other side reaches as far.
    np.testing.assert_allclose(replicates(2000.0, resamples, 10**9).estimate()[1:], (26, 2000**2 / 26), rtol=1e-6)
    for value in (10.0, 0.5):
        expected = value**2 / 975, 975
        np.testing.assert_allclose(replicates(value, resamples, 10**9).estimate()[1:], expected, rtol=1e-6)


@pytest.mark.parametrize(("ratio", "factor"), [(1.05, "1.1"), (1.5, "2"), (5.0, "10"), (20.0, None)])
def test_the_nearest_of_the_faster_rivals_that_would_have_been_noticed(ratio, factor):
    judged = advantages._above_one("a", "b", replicates(ratio, ratio), [trial(1.0)], 4, [])
    assert judged.outcome == CONFIRMED
    slower = [] if factor is None else [f"the rival {factor} times as fast"]
    assert judged.noticed == ("the methods exchanged", *slower)


def test_a_speedup_without_the_cost_of_staleness_is_the_number_of_workers():
    def needed(value, axis):
        def reach(*arguments):
            assert arguments == ("ours", "clock", 2, "loss", axis)  # the fewest workers
            return types.SimpleNamespace(estimate=lambda: bootstrap.Estimate(value, value + 1, value + 2))

        asked = types.SimpleNamespace(num_workers=[2, 8], ours="ours", reach=reach)
        return curves.linear_speedup(asked, "clock", "loss", axis)

    np.testing.assert_allclose(needed(6.0, "time"), [6.0, 1.5])
    np.testing.assert_allclose(needed(6.0, "step"), [6.0, 6.0])
    assert needed(math.inf, "time") is needed(math.nan, "step") is None


def test_throughputs_are_predicted_without_a_network_alone():
    """With constant times 1 s and 0.5 s, two workers have 4/3 gradients a second, and in rounds as many."""
    trace = {"compute": {"distribution": "constant", "mean": 1.0}, "server": {"distribution": "constant", "mean": 0.5}}
    assert advantages._predicted_ratio(trace, 2, 2) == pytest.approx(1.0)
    assert advantages._predicted_ratio(trace, 2, 1) == pytest.approx(2.0)
    for other in (
        {"network": 0.1},
        {"stragglers": 1},
        {"compute": {"distribution": "exponential"}},
        {"compute": {"distribution": "constant", "mean": [1.0, 2.0]}},
        {"compute": {"distribution": "constant", "mean": {"factor": 1.0}}},
        {"compute": {"distribution": "gamma", "shape": 2.0}, "server": {"distribution": "gamma", "shape": 2.0}},
    ):
        assert advantages._predicted_ratio(trace | other, 2, 2) is None
    assert advantages._predicted_ratio(trace | {"network": 0.0, "stragglers": 0}, 2, 2) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("number", "outcome"), [(None, CONFIRMED), (4, CONFIRMED), (3, INCONCLUSIVE), (1, INCONCLUSIVE)]
)
def test_few_draws_of_a_random_clock_decide_nothing(number, outcome):
    decided, rule = advantages._unless_few_clocks(CONFIRMED, "so", number)
    assert decided == outcome
    assert rule == {None: "so", 4: "so"}.get(number, rule)
    if number == 1:
        assert rule == "so, but the clock is one draw, and a random clock takes at least 4 trace seeds"


def test_undefined_draws():
    """No estimate if more than half of the splits are undefined, no interval if more than 5 % of the resamples are."""
    for number, known in ((20, True), (21, False)):
        splits = np.where(np.arange(NUM_SPLITS) < number, np.nan, 2.0)
        assert np.isfinite(replicates(splits, 2.0).estimate().value) == known
    for number, known in ((50, True), (51, False)):
        resamples = np.where(np.arange(NUM_RESAMPLES) < number, np.nan, 2.0)
        estimate = replicates(2.0, resamples).estimate()
        assert (estimate.value, np.isfinite(estimate.low)) == (2.0, known)
    # The median is the upper one: of a number and infinity, infinity.
    half = np.where(np.arange(NUM_SPLITS) < 20, 2.0, np.inf)
    assert replicates(half, np.inf).estimate().value == np.inf
    assert replicates(2.0, 2.0).p_above_one() == 0.0
    assert replicates(1.0, 1.0).p_above_one() == 1.0
    quotient = replicates(np.inf, 6.0, 8, 9) / replicates(np.inf, 3.0, 4, 20)
    assert np.isnan(quotient.values[:NUM_SPLITS]).all()
    assert (quotient.values[-1], quotient.num_units, quotient.num_seeds) == (2.0, 4, 9)


@pytest.mark.parametrize(
    ("clocks", "seeds", "is_random", "units"),
    [
        ((0,) * 8, tuple(range(8)), True, 8),  # one clock: its mini-batches
        ((0, 1, 2, 3), (0, 1, 2, 3), True, 4),  # clocks with mini-batches of their own
        ((0, 0, 1, 1, 2, 2, 3, 3), (0, 1, 2, 3, 4, 5, 6, 7), True, 4),
        (tuple(np.repeat(range(5), 6)), tuple(range(6)) * 5, True, 5),  # both are drawn; the fewer count
        (tuple(np.repeat(range(3), 6)), tuple(range(6)) * 3, True, 6),  # too few clocks to be cut in half
        (tuple(np.repeat(range(5), 6)), tuple(range(6)) * 5, False, 6),  # constant times
    ],
)
def test_draws_never_share_a_run_between_tuning_and_reporting(clocks, seeds, is_random, units):
    drawn = comparison_draws.draws(clocks, seeds, is_random)
    assert (drawn.num_units, drawn.num_seeds) == (units, len(set(seeds)))
    assert drawn.weights.shape == (2, NUM_SPLITS + NUM_RESAMPLES, len(seeds))
    known = np.isfinite(drawn.weights)
    assert known[:, :NUM_SPLITS].all()
    np.testing.assert_allclose(drawn.weights.sum(axis=-1)[known.all(axis=-1)], 1)
    both = (drawn.weights > 0).all(axis=0)
    assert not both.any()
    # A split uses its runs alike; a resample leaves some of them out.
    split = drawn.weights[:, :NUM_SPLITS]
    assert all(len(set(row[row > 0])) == 1 for half in split for row in half.round(12))
    resampled = drawn.weights[:, NUM_SPLITS:][known[:, NUM_SPLITS:]]
    assert np.mean(resampled > 0) < np.mean(split > 0)


def trial(rate, taken=None, workers=8):
    nothing = np.zeros(1)
    return Trial("a", "b", workers, rate, taken, {}, nothing, (0,), (0,), nothing[None], {})


def test_values_beyond_the_end_of_a_grid():
    """Two more, spaced as the grid is, with few digits; of a single value, half a decade apart."""
    assert comparison_grid._beyond(trial(0.1), [0.1, 1.0, 10.0]) == {0.01, 0.001}
    assert comparison_grid._beyond(trial(10.0), [0.1, 1.0, 10.0]) == {100.0, 1000.0}
    assert comparison_grid._beyond(trial(1.0), [0.1, 1.0, 10.0]) == set()
    assert comparison_grid._beyond(trial(1.0), [1.0]) == {0.316, 0.1, 3.16, 10.0}
    assert comparison_grid._beyond(trial(0.1), [0.1, 0.4]) == {0.025, 0.0063}


@pytest.mark.parametrize(
    ("best", "tried", "outside"),
    [
        (4, (4, 6), {2, 1}),
        (3, (3, 6), {1}),
        (2, (2, 4), {1}),
        (1, (1, 4), set()),
        (4, (2, 4), {8}),
        (3, (2, 3), {6, 8}),
        (8, (4, 8), set()),
        (4, (2, 4, 8), set()),
        (4, (4,), set()),
        (None, (4, 8), set()),
    ],
)
def test_gradients_a_round_beyond_those_tried(best, tried, outside):
    assert comparison_grid._takes_outside(trial(1.0, best), [trial(1.0, taken) for taken in tried]) == outside


def test_numbers_of_workers_in_words():
    assert [advantages.workers(number) for number in (1, 2)] == ["1 worker", "2 workers"]
