"""Which runs make a curve, and what is read off curves, from numbers given by hand."""

import math
import types

import numpy as np
import pandas as pd
import pytest

from asyncopt import InputError
from asyncopt.analysis import curves, fits
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.curve_runs import collect
from asyncopt.analysis.curves import Curves
from asyncopt.files.records import Record

DELAY = "trace.delay"


def run(delay=0, *, seeds=(0, 1), steps=(0, 5, 10), values=1.0, time=None, config=None, follows=(), **columns):
    """A run of a few seeds, whose gap at each evaluation is ``values`` and ten times its seed more."""
    shape = len(seeds), len(steps)
    gap = np.broadcast_to(values, shape) + 10.0 * np.array(seeds)[:, None]
    known = {"seed": np.repeat(seeds, len(steps)), "step": np.tile(steps, len(seeds)), "gap": gap.ravel()}
    if time is not None:
        known["time"] = np.tile(np.array(time, float), len(seeds))
    labels = {"problem": "bowl", "optimizer": "SGD", "trace": "constant", "handling": None, "method": "SGD"}
    summary = {"labels": labels, "staleness": {"settings": list(follows)}}
    settings = {"optimizer": {"_target_": "sgd"}, "trace": {"delay": delay}, **(config or {})}
    return Record(settings, pd.DataFrame(known | columns), summary)


def collected(*runs, by=DELAY, **settings):
    return collect(((f"run {number}", one) for number, one in enumerate(runs)), by, **settings)


def test_only_seeds_of_all_settings_count_and_in_order():
    found = collected(run(1, seeds=(3, 1, 2)), run(0, seeds=(0, 3, 1), values=(1.0, 2.0, 4.0)))
    assert found.combinations == [(0,), (1,)]
    assert found.name == "bowl; SGD"
    np.testing.assert_array_equal(found.values[0], [[11, 12, 14], [31, 32, 34]])
    np.testing.assert_array_equal(found.values[1], [[11, 11, 11], [31, 31, 31]])
    assert (found.num_seeds, found.settings) == (2, [0, 1])


def test_a_seed_may_be_there_twice_with_the_same_results():
    """Also where it diverged; with other results it is refused."""
    first, again = run(values=(1.0, np.nan, 3.0)), run(seeds=(1, 2), values=(1.0, np.nan, 3.0))
    assert collected(first, again).num_seeds == 3
    with pytest.raises(InputError, match="run 1: seed 1 has been run before with other results"):
        collected(first, run(seeds=(1, 2), values=(1.0, np.nan, 4.0)))


def test_settings_are_in_order_first_none_then_numbers_then_texts():
    values = ["b", 3, None, -5, "a", 0.5]
    assert collected(*map(run, values)).settings == [None, -5, 0.5, 3, "a", "b"]


def test_the_first_quantity_that_was_measured_is_drawn():
    assert collected(run()).quantity == "gap"
    measured = dict.fromkeys(("test_loss", "test_accuracy", "objective"), 0.5)
    assert collected(run(**measured)).quantity == "test_accuracy"
    other = run(other=1.0)
    nothing = Record(other.config, other.metrics.drop(columns="gap"), other.summary)
    with pytest.raises(InputError, match=r"has no objective, expected one of \['other'\]"):
        collected(nothing)


def test_true_and_false_are_drawn_as_one_and_zero():
    found = collected(run(reached=[False, True, True] * 2), run(1, reached=[False] * 6), quantity="reached")
    np.testing.assert_array_equal(found.values[0], [[0, 1, 1]] * 2)
    assert found.values[0].dtype == float


@pytest.mark.parametrize("quantity", [None, "gap"])
def test_no_runs_have_no_curve(quantity):
    with pytest.raises(InputError, match="no run is left for a curve"):
        collected(quantity=quantity)
    with pytest.raises(InputError, match="by is empty"):
        collected(run(), by=())


def test_three_steps_that_all_share_are_enough_for_a_curve():
    with pytest.warns(UserWarning, match="share 3 of up to 4, which are drawn"):
        found = collected(run(0, steps=(0, 2, 5, 10)), run(1), run(2))
    assert found.step.tolist() == [0, 5, 10]
    with pytest.raises(InputError, match="share 2 of up to 3, expected 3"):
        collected(run(0, steps=(0, 4, 10)), run(1))


def test_what_follows_from_a_setting_may_differ_with_it():
    """A delay from its rule, and the rule from the delay; without a rule, nothing follows."""
    rules = [{"staleness": rule} for rule in ("0", "K**0.5")]
    for by in ("staleness", DELAY):
        runs = (run(delay, config=rule, follows=["delay"]) for delay, rule in zip((0, 4), rules, strict=True))
        assert len(collected(*runs, by=by).values) == 2
    with pytest.raises(InputError, match=r"run 1: differs from run 0 in trace\.delay"):
        collected(*(run(delay, config={"staleness": None}, follows=["delay"]) for delay in (0, 4)), by="staleness")
    with pytest.raises(InputError, match="run 1: differs from run 0 in b"):
        collected(*(run(delay, config={"b": delay}) for delay in (0, 4)))
    assert len(collected(*(run(delay, config={"b": delay}) for delay in (0, 4)), also=["b"]).values) == 2


def test_a_trace_drawn_anew_is_the_same_trace_and_another_delay_is_not():
    def traced(delay, seed, seeds):
        return run(seeds=seeds, config={"trace": {"delay": delay, "seed": seed}})

    runs = [traced(0, 0, (0, 1)), traced(0, 1, (2, 3)), traced(4, 0, (0, 1, 2, 3))]
    found = collected(*runs, by="trace")
    assert (found.settings, found.num_seeds) == (["constant (delay = 0)", "constant (delay = 4)"], 4)
    assert collected(*runs, by=("trace", DELAY)).combinations == [("constant", 0), ("constant", 4)]


def test_a_setting_that_there_is_not_is_refused_with_the_nearest_one():
    for key, hint in (("trace.dely", "; did you mean trace.delay?"), ("z", ""), ("b", "; did you mean b.long_name?")):
        with pytest.raises(InputError) as refused:
            collected(run(config={"b": {"long_name": 1}}), by=key)
        names = "optimizer, handling, trace, method"
        assert str(refused.value) == f"run 0: config.yaml has no {key}, expected one of its keys or {names}{hint}"


def test_against_seconds_the_last_of_several_measurements_counts():
    """Two updates at 4 s: the second of them; and between evaluations, what was measured last."""
    found = collected(run(steps=(0, 1, 2, 3), values=(9.0, 8.0, 7.0, 6.0), time=(1, 4, 4, 16)), axis="time")
    assert (found.step[0], found.step[-1], found.axis) == (1.0, pytest.approx(16.0), "time")
    inside = found.step < 15.99
    np.testing.assert_array_equal(found.values[0][0, inside], np.where(found.step < 4, 9.0, 7.0)[inside])


def test_runs_against_seconds_have_to_overlap():
    early = run(0, time=(1, 3, 5))
    for start, overlap in ((5, True), (6, False)):
        late = run(1, time=(start, 7, 9))
        if overlap:
            assert collected(early, late, axis="time").values[1][0].tolist() == [1.0] * 80
        else:
            with pytest.raises(InputError, match="one run ends at 5 before another begins at 6"):
                collected(early, late, axis="time")
    with pytest.raises(InputError, match="run 0: it has no time, expected runs on a clock"):
        collected(run(time=(0, np.nan, 1)), axis="time")


def made(values, step=(0, 10), axis="step"):
    """Curves of one and two workers."""
    return Curves("made", ("workers",), "gap", [(1,), (2,)], np.array(step), list(map(np.array, values)), axis)


def test_intervals_are_students_from_two_seeds_on():
    reach = 12.7062047 * np.sqrt(2) / np.sqrt(2)  # t of one degree of freedom, from a table; the numbers 1 and 3
    pair, alone = (curves.intervals(np.array(rows)) for rows in ([[1.0, 7.0], [3.0, 7.0]], [[1.0, 7.0, 5.0]]))
    np.testing.assert_allclose(pair, [[2, 2 - reach, 2 + reach], [7, 7, 7]])
    np.testing.assert_array_equal(alone, [[number, np.nan, np.nan] for number in (1, 7, 5)])


def test_what_is_read_off_a_curve():
    found = made([[[4.0, 2.0], [6.0, 2.0]], [[1.0, 1.0], [3.0, 5.0]]])
    assert [end.tolist() for end in found.ends] == [[2, 2], [1, 5]]
    assert [mean.tolist() for mean in found.means_over_run] == [[3, 4], [1, 4]]
    assert [less.tolist() for less in curves.less_first(found.ends)] == [[0, 0], [-1, 3]]
    assert [values.tolist() for values in found.scaled(0.5).values] == [[[2, 1], [3, 1]], [[0.5, 0.5], [1.5, 2.5]]]
    for axis, name in ((None, "step"), ("updates", "updates")):
        frame = found.to_frame(axis)
        assert list(frame) == ["workers", name, "value", "low", "high"]
        assert frame[["workers", name, "value"]].to_numpy().tolist() == [[1, 0, 5], [1, 10, 2], [2, 0, 2], [2, 10, 3]]


def test_a_speedup_to_a_loss_is_the_ratio_of_seconds_of_each_seed():
    """Alone, the mean is 8, 6, 4, 2, 0 at 0, 10, ..., 40 s; 2 is reached after three quarters of the run."""
    alone = [[8.0, 6, 4, 2, 0], [8.0, 6, 4, 2, 0]]
    losses, clock = made([alone, [[8.0, 4, 0, 0, 0], [8.0, 2, 0, 0, 0]]]), [[0.0, 10, 20, 30, 40]] * 2
    seconds = made([clock, [[0.0, 10, 20, 30, 40], [7.0, 7, 7, 7, 7]]])  # one clock for all seeds
    target, speedups = curves.speedups_to_loss(losses, seconds, 0.75)
    assert target == 2
    assert speedups[1] == (1, 1, 1)
    assert speedups[2].value == pytest.approx((30 / 15 + 30 / 10) / 2)
    assert curves.speedups_to_loss(losses, seconds, 0.3)[0] == 6


def test_a_speedup_to_an_accuracy_is_that_of_gradients_over_the_inflation():
    """A row for cells of several workers on a clock, whose partner and inflation are known."""
    cells = pd.DataFrame(
        {
            "num_updates": [10, 10, 10, 10, 10, 10],
            "num_workers": [1, 4, 4, 4, 4, 2],
            "throughput": [2.0, 6.0, 6.0, 6.0, np.nan, 5.0],
        }
    )
    inflation = np.array([[1.0, 1.5, np.nan, 1.5, 1.5, 1.25], [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]])
    side = np.full((2, 6), fits.EXACT)
    side[0, 3] = fits.AT_LEAST
    measures = types.SimpleNamespace(
        study=types.SimpleNamespace(cells=cells),
        inflation=(inflation, side),
        partner=np.zeros(6, int),
        estimate=lambda rows: Estimate(*rows, 0.0),
    )
    rows = curves.speedups_to_accuracy(measures)
    assert rows.to_dict("list") == {
        "num_updates": [10, 10], "num_workers": [4, 2], "throughput": [3.0, 2.5],
        "value": [2.0, 2.0], "low": [1.5, 1.25], "high": [0.0, 0.0],
    }  # fmt: skip
    measures.partner = np.array([-1] * 5 + [0])
    assert curves.speedups_to_accuracy(measures)["num_workers"].tolist() == [2]


def test_means_over_a_run_that_is_measured_from_later_on():
    """The line from 1 to 3 has the mean 2, wherever it begins."""
    for begin in (0.0, 10.0):
        values, step = [np.array([[1.0, 2.0, 3.0]])], begin + np.array([0.0, 1.0, 2.0])
        (mean,) = Curves("", ("a",), "loss", [(1,)], step, values, "time").means_over_run
        np.testing.assert_allclose(mean, [2.0])


def test_a_speedup_without_the_cost_of_staleness_is_the_number_of_workers():
    def needed(value, axis):
        def reach(*arguments):
            assert arguments == ("ours", "clock", 2, "loss", axis)  # the fewest workers
            return types.SimpleNamespace(estimate=lambda: Estimate(value, value + 1, value + 2))

        asked = types.SimpleNamespace(num_workers=[2, 8], ours="ours", reach=reach)
        return curves.linear_speedup(asked, "clock", "loss", axis)

    np.testing.assert_allclose(needed(6.0, "time"), [6.0, 1.5])
    np.testing.assert_allclose(needed(6.0, "step"), [6.0, 6.0])
    assert needed(math.inf, "time") is needed(math.nan, "step") is None
