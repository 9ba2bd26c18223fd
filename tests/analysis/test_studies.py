import functools

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import asyncopt
from asyncopt import InputError
from asyncopt.analysis import studies
from asyncopt.analysis.studies import _mean_over_run
from tests import sweep


@pytest.mark.parametrize("delay", [0, 20])
def test_the_mean_over_a_run_from_its_evaluations(delay):
    """Against the mean of ‖∇F(x_k)‖² over every single update."""
    problem = asyncopt.problems.nonconvex_logistic(batch_size=8)
    optimizer = asyncopt.apam(1.0 / np.sqrt(3000), eps=0.1)
    trace = asyncopt.traces.constant(3000, delay)
    few, all_updates = (
        asyncopt.replay(problem, optimizer, trace, seeds=range(32), eval_every=every) for every in (None, 1)
    )
    exact = all_updates.grad_norm_sq[:, :-1].mean()
    assert len(few.step) < 130
    assert _mean_over_run(few.grad_norm_sq, few.step).mean() == pytest.approx(exact, rel=0.02)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    problem = functools.partial(asyncopt.problems.hard_instance, noise=0.5)
    sweep.run(folder, (0, "K**0.5"), problem=problem, lengths=(16, 64), seeds=3)
    return asyncopt.load_runs(folder)


def test_cells_of_a_study(runs):
    (study,) = studies(runs)
    assert study.rules == ["0", "K^1/2"]
    assert study.reference == "0"
    assert (study.quantity, study.theorem, study.outside) == ("average_gap", "convex", "")
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
    result = asyncopt.replay(problem, optimizer, asyncopt.traces.constant(64, 8), seeds=range(3))
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
        ("optimizer._target_", "optax.sgd", "the method is optax.sgd"),
        ("handling._target_", "asyncopt.optim.drop_stale", "stale gradients are handled by asyncopt.optim.drop_stale"),
        ("history_dtype", "bfloat16", "parameters or history are rounded"),
        ("optimizer.schedule", "constant", "the step size is constant"),
        ("optimizer.bias_correction", True, "the step is bias-corrected"),
        ("summary.problem.gradient_bound", None, "the gradients have no known bound"),
        ("summary.problem.diameter", None, "X is not a bounded box"),
        ("summary.problem.smoothness", None, "L is unknown"),
        ("scale_l1", None, "what the bound needs was not recorded"),
    ],
)
def test_hypotheses_that_are_not_met_are_named(runs, column, value, reason):
    changed = runs.drop(columns=column) if value is None else runs.assign(**{column: value})
    (study,) = studies(changed)
    assert reason in study.outside
    assert "a_priori" not in study.cells


def test_runs_with_and_without_a_wrapper_are_different_studies(runs):
    both = pd.concat([runs, runs.assign(run=runs["run"] + "h", **{"handling._target_": "asyncopt.optim.drop_stale"})])
    first, second = studies(both)
    assert "drop stale" not in first.name
    assert "; APAM, drop stale; " in second.name


def test_without_rules_the_traces_settings_tell_cells_apart(runs):
    (study,) = studies(runs.drop(columns="staleness"))
    assert study.rules == ["0", "delay = 4", "delay = 8"]


def test_numbers_as_rules(runs):
    table = runs.assign(staleness=runs["trace.delay"].astype(float))  # as pandas makes of integers beside None
    (study,) = studies(table)
    assert study.rules == ["0", "4", "8"]


def test_runs_that_share_no_seed(runs):
    other = runs.assign(seed=runs["seed"] + 10 * (runs["run"] == "3"))
    with pytest.warns(UserWarning, match="no seed in common"), pytest.raises(InputError, match="no run that a study"):
        studies(other)


def test_a_gap_that_is_unknown(runs):
    without = runs.drop(columns=["gap", "average_gap"])
    (study,) = studies(without)
    assert study.quantity == "mean_grad_norm_sq"
    with pytest.warns(UserWarning, match=r"F\* is unknown"), pytest.raises(InputError, match="no run that a study"):
        studies(without, "gap")


def test_traces_with_a_clock_have_a_throughput(tmp_path):
    from omegaconf import OmegaConf

    from asyncopt.files import records

    problem, trace = sweep.quadratic(50), asyncopt.traces.cluster(50, 4, server=0.1)
    result = asyncopt.replay(problem, asyncopt.apam(0.1, constraint=problem.constraint), trace, seeds=range(2))
    config = {
        "problem": {"_target_": "quadratic"},
        "optimizer": {"_target_": "asyncopt.apam"},
        "trace": {"_target_": "asyncopt.traces.cluster", "num_workers": 4},
    }
    records.save_run(tmp_path / "0", OmegaConf.create(config), problem, trace, result)
    (study,) = studies(asyncopt.load_runs(tmp_path))
    assert study.cells["throughput"].iloc[0] == pytest.approx(50 / trace.time[-1])
    assert study.rules == ["num_workers = 4"]
    assert isinstance(study.cells, pd.DataFrame)
    assert jnp.isfinite(study.limit)
