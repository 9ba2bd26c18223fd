"""Comparisons of methods, from made runs whose answer is known, with controls that must not come out for APAM."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from asyncopt import InputError
from asyncopt.analysis import CONFIRMED, INCONCLUSIVE, VIOLATED, bootstrap, comparison_draws, comparison_grid, jackknife
from asyncopt.analysis.advantages import shrinking, throughputs
from asyncopt.analysis.comparison import FIRST, SYNCHRONOUS, first_crossing
from asyncopt.analysis.comparison_reading import comparisons
from asyncopt.analysis.verdict import NOT_COMPARABLE
from asyncopt.files.records import Record
from asyncopt.report import comparing, comparison_figures
from tests.analysis.made_runs import SEEDS, advantages_of, made_run, made_runs, on_a_grid


def compared(*records, progress=0.95):
    (found,) = comparisons(((str(i), one) for i, one in enumerate(records)), progress)
    return found


def outcomes(verdicts):
    return [verdict.outcome for verdict in verdicts]


def test_first_crossing_by_hand():
    clock = np.array([0.0, 1.0, 3.0, 4.0])
    curves = np.array(
        [
            [4.0, 3.0, 1.0, 0.0],
            [4.0, 4.0, 4.0, 2.5],
            [2.0, 5.0, 5.0, 5.0],
            [4.0, np.inf, 1.0, 0.0],
            [4.0, 1.0, 9.0, 0.0],
        ]
    )
    # on a straight line; never; from the start; not before the evaluation after a divergence; the first of two
    np.testing.assert_allclose(first_crossing(clock, curves, 2.0), [2.0, np.inf, 0.0, 3.0, 2 / 3])


def test_a_rival_of_half_the_speed():
    found = compared(*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 0.05))
    assert found.methods == ["APAM", "SGD"]
    (verdict,) = advantages_of(found)
    assert verdict.outcome == CONFIRMED
    assert verdict.measured.value == pytest.approx(2, rel=0.03)
    reached = found.reach("APAM", found.clocks[0], 2, "loss", "time").estimate().value
    assert reached == pytest.approx(-np.log(found.target("loss") - 1) / 0.1, rel=0.05)


def test_the_error_of_a_classifier_is_what_its_accuracy_lacks():
    """It has no other part than the loss: both reach their targets together, at 0.95 of the way to the best end."""
    records = [*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 0.05)]
    for record in records:
        record.metrics["test_accuracy"] = 2 - record.metrics["objective"] / 2
    found = compared(*records)
    assert found.quantities == ["loss", "error"]
    assert found.target("error") == pytest.approx(found.target("loss") / 2 - 1)
    reached = [found.reach("SGD", found.clocks[0], 2, quantity, "step").estimate() for quantity in found.quantities]
    np.testing.assert_allclose(reached[1], reached[0], rtol=1e-9)
    for one in found.trials:  # where no mean reaches the target, the one that ends lowest is the best
        ends = np.einsum("hdn,n->hd", one.draws.weights, one.values["error"][:, -1])
        np.testing.assert_allclose(found._halves(one, "error")[2], ends)
    partly = compared(*records[:-1], on_a_grid("SGD", 0.05)[-1])
    assert partly.quantities == ["loss"]


def test_control_a_faster_rival_violates_the_claim():
    found = compared(*on_a_grid("APAM", 0.05), *on_a_grid("SGD with momentum", 0.1))
    assert outcomes(advantages_of(found)) == [VIOLATED]


def test_control_the_same_method_twice_settles_nothing():
    methods = (on_a_grid(method, 0.1, workers=1) for method in ("APAM", "synchronous AMSGrad"))
    (verdict,) = advantages_of(compared(*(run for runs in methods for run in runs)))
    assert verdict.outcome == INCONCLUSIVE
    assert verdict.measured.value == pytest.approx(1, abs=1e-9)


def test_a_rival_that_never_gets_there():
    found = compared(*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 1e-6))
    (verdict,) = advantages_of(found)
    assert verdict.outcome == CONFIRMED
    assert np.isinf(verdict.measured.value)
    assert np.isinf(found.reach("SGD", found.clocks[0], 2, "loss", "step").values).all()


def test_a_seed_that_diverged_counts_where_it_is_drawn():
    values = np.array([[1.0], [np.inf], [3.0], [2.0]])
    found = bootstrap.resampled_means(values)
    assert set(np.isfinite(found).ravel()) == {True, False}
    assert not np.isnan(found).any()
    assert found[np.isfinite(found)].min() == 1.0


def test_the_best_of_many_is_not_judged_by_its_luck():
    """Of 20 step sizes that are equally good, the best on these seeds is lucky. Other seeds show how good it is."""
    generator = np.random.default_rng(0)
    luck = np.exp(0.5 * generator.normal(size=(20, SEEDS)))
    lucky = [made_run("SGD", 0.1, rate=0.1 + 0.01 * i, seed_speeds=luck[i], distribution="constant") for i in range(20)]
    many = np.exp(0.5 * generator.normal(size=500))
    others = made_run("APAM", 0.1, seed_speeds=many, distribution="constant", seeds=range(500))
    found = compared(*lucky, *on_a_grid("APAM", 0.1, distribution="constant"))
    target = found.target("loss")
    (truth,) = first_crossing(*_mean_curve(others), target)
    best = min(first_crossing(*_mean_curve(run), target)[0] for run in lucky)
    judged = found.reach("SGD", found.clocks[0], 2, "loss", "time").estimate().value
    assert best < 0.85 * truth
    assert judged == pytest.approx(truth, rel=0.1)


def _mean_curve(run):
    grouped = run.metrics.groupby("step").mean()
    return grouped["time"].to_numpy(), grouped["objective"].to_numpy()[None]


EDGES = {
    "the largest": ((0.02, 0.05, 0.1), "optimizer.learning_rate=10,100", "largest"),
    "the smallest": ((0.1, 0.05, 0.02), "optimizer.learning_rate=0.0001,0.001", "smallest"),
}


@pytest.mark.parametrize(("speeds", "override", "end"), EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("method", ["APAM", "SGD"])
def test_a_best_step_size_at_an_end_of_the_grid_is_not_comparable(method, speeds, override, end):
    """Whoever is tuned to the edge, ours or the rival, and whatever the ratio."""
    grid = (0.01, 0.1, 1.0)
    other = "SGD" if method == "APAM" else "APAM"
    edge = [run for rate, speed in zip(grid, speeds, strict=True) for run in made_runs(method, speed, rate=rate)]
    found = compared(*edge, *on_a_grid(other, 0.2))
    (verdict,) = advantages_of(found)
    assert verdict.outcome == NOT_COMPARABLE
    assert f"{method}'s best step size, {1 if end == 'largest' else 0.01}, is the {end} of its grid" in verdict.rule
    assert other + "'s" not in verdict.rule
    assert comparison_grid.override(found) == override


def test_a_wide_grid_needs_no_override():
    assert comparison_grid.override(compared(*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 0.05))) == ""


def test_unequal_grids_are_not_comparable():
    found = compared(*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 0.05, rates=(0.01, 0.03, 0.1, 0.3)))
    (verdict,) = advantages_of(found)
    assert (verdict.outcome, verdict.rule) == (NOT_COMPARABLE, "the grids of step sizes differ")
    assert comparison_grid.override(found) == "optimizer.learning_rate=0.03,0.3,1"


def test_gradients_a_round_are_tuned_with_the_step_size():
    """The fastest number of gradients a round is a rival of its own; if it is an end of those tried, it is not."""
    speeds = {1: 0.05, 2: 0.3, 4: 0.05, None: 0.05}
    runs = [run for take, speed in speeds.items() for run in on_a_grid(SYNCHRONOUS, speed, workers=8, take=take)]
    found = compared(*on_a_grid("APAM", 0.1, workers=8), *runs)
    assert found.methods == ["APAM", SYNCHRONOUS, SYNCHRONOUS + FIRST]
    assert outcomes(advantages_of(found)) == [CONFIRMED, VIOLATED]
    tuned = found.tuned(SYNCHRONOUS + FIRST, found.clocks[0], 8, "loss")
    assert (tuned.taken, tuned.learning_rate) == (2, 0.1)
    without_one = compared(*on_a_grid("APAM", 0.1, workers=8), *runs[len(runs) // 4 :])
    assert outcomes(advantages_of(without_one)) == [CONFIRMED, NOT_COMPARABLE]
    assert comparison_grid.override(without_one) == "trace.take=1"


@pytest.mark.parametrize(("num_clocks", "outcome"), [(1, INCONCLUSIVE), (3, INCONCLUSIVE), (4, CONFIRMED)])
def test_one_draw_of_a_random_clock_decides_nothing(num_clocks, outcome):
    runs = [on_a_grid("APAM", 0.1, num_clocks=num_clocks), on_a_grid("SGD", 0.05, num_clocks=num_clocks)]
    (verdict,) = advantages_of(compared(*runs[0], *runs[1]))
    assert verdict.outcome == outcome
    assert ("the clock is one draw" in verdict.rule) == (num_clocks == 1)


def test_one_draw_of_a_constant_clock_is_enough():
    runs = [on_a_grid(method, speed, distribution="constant") for method, speed in (("APAM", 0.1), ("SGD", 0.05))]
    (verdict,) = advantages_of(compared(*runs[0], *runs[1]))
    assert verdict.outcome == CONFIRMED
    assert "draw" not in verdict.rule


def test_throughputs_are_those_of_theory():
    runs = [
        made_run(method, 0.1, workers=p, distribution=distribution)
        for method in ("APAM", "synchronous AMSGrad")
        for p in (1, 8)
        for distribution in ("exponential", "constant")
    ]
    verdicts = throughputs(compared(*runs))
    assert outcomes(verdicts) == [CONFIRMED] * 4
    assert [verdict.predicted for verdict in verdicts[:2]] == ["1", "1"]  # constant times: nobody waits
    assert verdicts[3].measured.value > 2.3  # eight exponential times: the slowest takes 2.7 times the mean


def test_control_workers_of_another_speed_are_not_those_of_theory():
    slow = made_run("synchronous AMSGrad", 0.1, workers=8, mean=2.0)
    slow.config["trace"]["compute"]["mean"] = 1.0
    assert outcomes(throughputs(compared(made_run("APAM", 0.1, workers=8), slow))) == [VIOLATED]


def test_throughputs_of_rounds_that_take_the_first_gradients():
    takes = [made_run("synchronous AMSGrad", 0.1, workers=8, take=take) for take in (1, 4, None)]
    verdicts = throughputs(compared(made_run("APAM", 0.1, workers=8), *takes))
    assert outcomes(verdicts) == [CONFIRMED] * 3
    predicted = [float(verdict.predicted) for verdict in verdicts]
    # By hand: 8 gradients a second, over m / (H_8 - H_{8-m} + 0.02), but for the server's queue.
    np.testing.assert_allclose(predicted, [8 * 0.145, 8 * 0.6545 / 4, 2.738], rtol=0.05)


@pytest.mark.parametrize(("steady", "outcome"), [(0.1, CONFIRMED), (0.01, VIOLATED)])
def test_a_disadvantage_that_shrinks(steady, outcome):
    runs = [run for d in ("exponential", "constant") for run in on_a_grid("APAM", 0.1, distribution=d)]
    runs += on_a_grid("synchronous AMSGrad", 0.05)
    runs += on_a_grid("synchronous AMSGrad", steady, distribution="constant")
    assert outcomes(shrinking(compared(*runs))) == [outcome]


def test_what_cannot_be_compared_is_left_out(tmp_path):
    good, bad = made_run("APAM", 0.1), made_run("SGD", 0.1)
    bad = Record(bad.config, bad.metrics.drop(columns="time"), bad.summary)
    with pytest.warns(UserWarning, match="left out: 0: its trace has no clock"):
        assert compared(bad, *made_runs("APAM", 0.1)).methods == ["APAM"]  # what follows is read
    with pytest.warns(UserWarning, match=r"left out: 1: its trace has no clock, expected trace=cluster"):
        assert compared(good, bad).methods == ["APAM"]
    few = Record(good.config, good.metrics[good.metrics["seed"] < 3], good.summary)
    with (
        pytest.warns(UserWarning, match="3 seeds, expected 4 at least"),
        pytest.raises(InputError, match="no runs that"),
    ):
        compared(few)
    clock = Record(good.config, good.metrics, {"labels": {**good.summary["labels"], "clock": None}})
    with pytest.warns(UserWarning, match="left out: 1: its trace is not of the simulated cluster"):
        compared(good, clock)
    with pytest.raises(InputError, match=r"progress is 1\.5, expected a finite number > 0 and < 1"):
        compared(good, progress=1.5)
    assert comparing.main([str(tmp_path / "nowhere")]) == 1


def test_an_interval_without_an_upper_end_leaves_the_axes_alone():
    """The mean gets there, but not in every resample: one seed stays far above."""
    speeds = np.where(np.arange(SEEDS) == 1, 0.112, 2.0)
    found = compared(*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 0.1, seed_speeds=speeds), progress=0.99)
    reached = found.reach("SGD", found.clocks[0], 2, "loss", "time").estimate()
    assert np.isfinite(reached.value)
    assert np.isinf(reached.high)
    for figure, _ in comparison_figures.all_figures(found).values():
        figure.draw_without_rendering()
        for axes in figure.axes:
            assert axes.get_ylim()[1] < 1e4


def test_the_report(tmp_path, monkeypatch):
    runs = [
        run
        for method, speed in (("APAM", 0.1), ("SGD", 1e-6), ("synchronous AMSGrad", 0.05))
        for p in (1, 2, 4)
        for run in on_a_grid(method, speed, workers=p)
    ]
    monkeypatch.setattr(comparing.records, "load_records", lambda folder: ((str(i), one) for i, one in enumerate(runs)))
    text, left_out = comparing.compare(tmp_path, tmp_path / "report")
    assert not left_out
    assert "∞ ✓" in text
    assert "| exponential times | 4 " in text
    assert "hydra.sweep.dir" not in text
    (facts,) = json.loads((tmp_path / "report" / "comparison.json").read_text())["comparisons"]
    assert {verdict["outcome"] for verdict in facts["verdicts"]} == {CONFIRMED}
    table = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert len(table) == 27
    assert set(table.loc[table["tuned_for_loss"], "learning_rate"]) == {0.1}
    for name in ("to_loss.png", "step_sizes_loss.png", "comparison.html", "comparison.md"):
        assert (tmp_path / "report" / name).stat().st_size > 500


def test_a_level_is_passed_when_the_interval_is_above_one():
    """The two ways to decide are one: 2.5 % is the level of an end of an interval."""
    generator = np.random.default_rng(0)
    number = comparison_draws.NUM_SPLITS + comparison_draws.NUM_RESAMPLES
    passed = []
    for mean, units in itertools.product(np.linspace(-0.2, 1.0, 40), (4, 8, 16)):
        ratio = comparison_draws.Replicates(np.exp(mean + 0.2 * generator.normal(size=number)), units, units)
        passed.append(ratio.p_above_one() <= jackknife.ONE_SIDED)
        assert passed[-1] == (ratio.estimate().low > 1)
    assert 0.3 < np.mean(passed) < 0.9


def test_a_rival_that_never_arrives_is_beaten_by_agreeing_seeds():
    never = np.full(comparison_draws.NUM_SPLITS + comparison_draws.NUM_RESAMPLES, np.inf)
    assert comparison_draws.Replicates(never, 4, 16).p_above_one() == 0.5**16
    assert comparison_draws.Replicates(never, 4, 4).p_above_one() == jackknife.ONE_SIDED
    assert comparison_draws.Replicates(1 / never, 16, 16).p_above_one() == 1
    # In 2 % of the resamples it does arrive, just as soon as ours: no coins.
    sometimes = never.copy()
    sometimes[-20:] = 1.0
    level = comparison_draws.Replicates(sometimes, 16, 16).p_above_one()
    assert 0.02 < level < 0.05
    # As far out as 21 of 1,001 is on a normal curve, but with heavier tails.
    assert level == pytest.approx(scipy.stats.t.sf(scipy.stats.norm.isf(21 / 1001), 14))
    never[-1] = 2.0
    rare = comparison_draws.Replicates(never, 16, 16).p_above_one()
    assert rare == pytest.approx(scipy.stats.t.sf(scipy.stats.norm.isf(1 / 1001), 14))


def test_resamples_on_one_side_of_the_estimate_are_no_certainty():
    """Before, the interval ended at the estimate, and the level was 0."""
    drawn = np.exp(0.3 + 0.1 * np.random.default_rng(0).normal(size=comparison_draws.NUM_RESAMPLES))
    ratio = comparison_draws.Replicates(np.append(np.full(comparison_draws.NUM_SPLITS, 1.05), drawn), 16, 16)
    assert ratio.estimate().low < 1
    assert ratio.p_above_one() > 0.3
