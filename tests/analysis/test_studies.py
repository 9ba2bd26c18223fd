import functools

import numpy as np
import pandas as pd
import pytest

import asyncopt
from asyncopt import InputError, theory
from asyncopt.analysis import Measures, judge, studies
from tests import sweep
from tests.analysis import synthetic


@pytest.mark.parametrize("delay", [0, 20])
def test_the_mean_over_a_run_from_its_evaluations(delay):
    """Against the mean of ‖∇F(x_k)‖² over every single update."""
    problem = asyncopt.problems.nonconvex_logistic(batch_size=8)
    optimizer = asyncopt.apam(1.0 / np.sqrt(1500), eps=0.1)
    trace = asyncopt.traces.constant(1500, delay)
    few, all_updates = (
        asyncopt.replay(problem, optimizer, trace, seeds=range(32), eval_every=every) for every in ("percent", 1)
    )
    exact = all_updates.grad_norm_sq[:, :-1].mean()
    assert len(few.step) < 130
    columns = {"grad_norm_sq": few.grad_norm_sq, "step": np.tile(few.step, (32, 1))}
    assert theory.Evidence({}, columns).mean_over_run("grad_norm_sq").mean() == pytest.approx(exact, rel=0.02)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    problem = functools.partial(asyncopt.problems.hard_instance, noise=0.5)
    sweep.run(folder, (0, "K**0.5"), problem=problem, lengths=(16, 64), seeds=3)
    return asyncopt.load_runs(folder)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of runs without any replay."""
    folder = tmp_path_factory.mktemp("table")
    synthetic.write(folder, lambda tau, k: k**-0.5, rules=(0, "K**0.25", "K**0.5"), lengths=(16, 256), seeds=3)
    return asyncopt.load_runs(folder)


def test_cells_of_a_study(runs):
    (study,) = studies(runs)
    assert study.rules == ["0", "K^1/2"]
    assert study.reference == "0"
    assert (study.name, study.method) == ("hard instance in a box; APAM; constant delays", "APAM")
    assert (study.quantity, study.theorem, study.outside) == ("average_gap", theory.THEOREMS["convex"], "")
    assert study.attains_rate
    assert list(study.cells["num_updates"]) == [16, 64, 16, 64]
    assert study.values.shape == (3, 4)
    trace = asyncopt.traces.constant(64, 8)
    assert study.cells["delay"].iloc[3] == pytest.approx(np.sqrt(trace.mean_square_delay))
    last = runs[(runs["run"] == "3") & (runs["step"] == 64)]
    np.testing.assert_array_equal(study.values[:, 3], last["average_gap"])


def test_the_bounds_of_a_cell_are_those_of_its_run(runs):
    """Once more from the replay itself, without tables or files."""
    (study,) = studies(runs)
    problem = asyncopt.problems.hard_instance(64, noise=0.5)
    optimizer = asyncopt.apam(1 / 8, b2=0.9, eps=0.1, constraint=problem.constraint)
    trace = asyncopt.traces.constant(64, 8)
    result = asyncopt.replay(problem, optimizer, trace, seeds=range(3), record_bounds=True)
    terms = {name: values[:, -1] for name, values in result.bound_terms.items()}
    expected = (
        4 / (2 / 8 * 64) * terms["scale_l1"] + 9.5 / 64 * terms["scaled_momentum_sum"] + 18 / 64 * terms["momentum_l1"]
    )
    assert study.cells["a_posteriori"].iloc[3] == pytest.approx(expected.mean(), rel=1e-9)
    largest = 1 / 8 + 0.5
    expected = 4 * (largest + 0.1) / (2 / 8 * 64) + 9.5 / 8 * largest / np.sqrt(0.1) + 18 * largest / 64
    assert study.cells["a_priori"].iloc[3] == pytest.approx(expected, rel=1e-9)


def test_mean_drift_of_a_run(runs):
    """The drift on disk is between evaluations; the bound needs it over all updates."""
    one = runs[(runs["run"] == "3") & (runs["seed"] == 0)]
    mean = np.sum(one["drift"].to_numpy()[1:] * np.diff(one["step"])) / 64
    problem = asyncopt.problems.hard_instance(64, noise=0.5)
    optimizer = asyncopt.apam(1 / 8, b2=0.9, eps=0.1, constraint=problem.constraint)
    every = asyncopt.replay(problem, optimizer, asyncopt.traces.constant(64, 8), seed=0, eval_every=64)
    assert mean == pytest.approx(every.drift[-1])


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("summary.labels.optimizer", "SGD", "the method is SGD"),
        ("summary.labels.handling", "drop stale", "stale gradients are handled by drop stale"),
        ("param_dtype", "bfloat16", "parameters are rounded to bfloat16"),
        ("history_dtype", "bfloat16", "the history is rounded to bfloat16"),
        ("optimizer.schedule", "constant", "the step size is constant"),
        ("optimizer.bias_correction", True, "the step is bias-corrected"),
        ("summary.trace.distinct_samples", False, "updates share their mini-batches"),
        ("summary.trace.num_steps", 8, "several gradients make a step"),
        ("summary.problem.diameter", None, "X is not a bounded box, and x* is unknown"),
        ("summary.problem.smoothness", None, "L is unknown"),
        ("optimizer.eps", None, "its settings are not all known"),
        ("scale_l1", None, "what the bound needs was not recorded: scale_l1"),
    ],
)
def test_hypotheses_that_are_not_met_are_named(table, column, value, reason):
    changed = table.drop(columns=column) if value is None else table.assign(**{column: value})
    (study,) = studies(changed)
    assert reason in study.outside
    assert "a_priori" not in study.cells


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("summary.labels.constraint", "box", "there is a constraint"),
        ("optimizer.eps", 0.0, "ε is 0"),
        ("summary.problem.lower_bound", np.nan, "F has no known lower bound"),
        ("summary.problem.lower_bound", 0.0, ""),
        ("summary.problem.gradient_bound", np.nan, "the gradients have no known bound"),
        ("gradient_max", 1.5, "a gradient of 1.5 exceeds G = 1"),
    ],
)
def test_hypotheses_of_the_non_convex_theorem(table, column, value, reason):
    free = table.assign(**{"summary.problem.convex": False, "summary.labels.constraint": None, column: value})
    (study,) = studies(free)
    assert (study.quantity, study.outside) == ("mean_grad_norm_sq", reason)
    (convex,) = studies(table, "mean_grad_norm_sq")
    assert convex.theorem == study.theorem


def test_nothing_is_claimed_where_several_gradients_make_a_step(table):
    for steps, silent in ((table["summary.trace.num_updates"], False), (8, True)):
        (study,) = studies(table.assign(**{"summary.trace.num_steps": steps}))
        assert (study.claims == ()) == silent
        assert (judge(Measures(study)) == []) == silent


def test_studies_of_one_name_say_in_what_they_differ(table):
    other = table.assign(**{"optimizer.b1": 0.5, "run": "other " + table["run"]})
    assert [study.name for study in studies(pd.concat([table, other]))] == [
        f"bowl in a box; APAM; constant delays (b1 = {b1})" for b1 in (0.9, 0.5)
    ]
    policy = table.assign(**{"trace.policy._target_": "P", "summary.labels.trace": "rennala, batch 8"})
    assert [study.name for study in studies(policy)] == ["bowl in a box; APAM; rennala, batch 8"]


def test_a_hypothesis_counts_for_every_run(table):
    some = table.assign(**{"summary.problem.diameter": np.where(table["run"] == "5", np.nan, 2.0)})
    assert studies(some)[0].outside == "X is not a bounded box, and x* is unknown"


@pytest.mark.parametrize(
    ("column", "value"),
    [("summary.problem.gradient_bound", np.nan), ("summary.problem.diameter", np.nan), ("gradient_max", 1.5)],
)
def test_with_distances_to_the_minimiser_only_the_a_priori_bound_needs_a_box_and_bounded_gradients(
    table, column, value
):
    """(1b) holds for any closed convex X and any gradients; G and D turn it into constants."""
    recorded = {"regret": 9.0, "regret_bound": 10.0, "regret_last_distance": 1.0, column: value}
    (study,) = studies(table.assign(**recorded))
    assert study.outside == ""
    assert np.isinf(study.cells["a_priori"]).all()
    np.testing.assert_allclose(study.cells["a_posteriori"], 11.0 / study.cells["num_updates"])


def test_runs_with_and_without_a_wrapper_are_different_studies(table):
    wrapped = {"handling.max_delay": 5, "summary.labels.handling": "drop stale"}
    first, second = studies(pd.concat([table, table.assign(run=table["run"] + "h", **wrapped)]))
    assert first.name == "bowl in a box; APAM; constant delays"
    assert second.name == "bowl in a box; APAM, drop stale; constant delays"


def test_runs_of_one_study_differ_in_the_settings_of_their_staleness_only(table):
    assert len(studies(table.assign(**{"problem.num_updates": table["trace.num_updates"]}))) == 1
    assert len(studies(table.assign(**{"summary.staleness.settings": "[]"}))) == len(table["trace.delay"].unique())
    assert len(studies(table.assign(**{"trace.seed": table["run"]}))) == 6


def test_what_a_run_lacks_is_named(table):
    with (
        pytest.warns(UserWarning, match="left out: 0: summary.json has no staleness.factor"),
        pytest.raises(InputError),
    ):
        studies(table[table["run"] == "0"].drop(columns="summary.staleness.factor"))


def test_runs_that_share_no_seed(table):
    other = table.assign(seed=table["seed"] + 10 * (table["run"] == "3"))
    with pytest.warns(UserWarning, match="no seed in common"), pytest.raises(InputError, match="no run that a study"):
        studies(other)


def test_a_gap_that_is_unknown(table):
    without = table.drop(columns=["gap", "average_gap"])
    (study,) = studies(without)
    assert study.quantity == "mean_grad_norm_sq"
    with pytest.warns(UserWarning, match=r"F\* is unknown"), pytest.raises(InputError, match="no run that a study"):
        studies(without, "gap")


def test_runs_that_no_theorem_is_about_need_a_quantity(table, monkeypatch):
    monkeypatch.delitem(theory.THEOREMS, "nonconvex")
    not_convex = {"summary.problem.convex": False, "problem.batch_size": 2}
    bent = table.assign(run="bent" + table["run"], **not_convex)
    with pytest.warns(UserWarning, match="left out: bowl in a box; APAM; constant delays: no theorem is about it; exp"):
        (convex,) = studies(pd.concat([table, bent]))
    assert set(convex.cells["run"]) == set(table["run"])
    with (
        pytest.warns(UserWarning, match=r"expected a quantity \(--quantity\)"),
        pytest.raises(InputError, match="no run that a study can be made of"),
    ):
        studies(bent)
    (study,) = studies(bent, "gap")
    assert (study.theorem, study.outside) == (None, "no theorem is about the gap here")


def test_traces_with_a_clock_have_a_throughput(table):
    (study,) = studies(table.assign(time=0.25 * table["step"]))
    np.testing.assert_array_equal(study.cells["throughput"], 4.0)
    assert studies(table)[0].cells["throughput"].isna().all()
