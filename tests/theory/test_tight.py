"""Instances on which the convex bound is attained, as the shipped sweeps run them. Bounds are written out by hand."""

import hydra
import numpy as np
import pytest

import asyncopt
from asyncopt import theory
from asyncopt.run import build, task
from asyncopt.run.command_line import CONFIG_FOLDER


def shipped(sweep, *overrides):
    """The results of one run of a shipped sweep, and the run itself."""
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("config", [f"+sweep={sweep}", *overrides])
    made = build.build(task.prepare(config))
    settings = {"eval_every": "percent", "record_bounds": True}
    return asyncopt.replay(made.problem, made.optimizer, made.trace, seeds=made.seeds, **settings), made


def grid(sweep):
    """What a shipped sweep varies."""
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("config", [f"+sweep={sweep}"], return_hydra_config=True)
    return {name: str(values).split(",") for name, values in config.hydra.sweeper.params.items()}


def mean_drift(run):
    """The mean of ‖x_k - y_k‖² over the updates, for each seed."""
    return np.sum(run.drift[:, 1:] * np.diff(run.step), axis=1) / run.step[-1]


def recorded_bound(run, smoothness):
    """The a-posteriori bound of each seed, as reports compute it from what the run recorded."""
    names = ("step_size", "scale_l1", "scaled_momentum_sum", "momentum_l1")
    recorded = {name: run.bound_terms[name][:, -1] for name in names}
    return theory.convex_a_posteriori(
        num_updates=run.step[-1], b1=0.0, smoothness=smoothness, diameter=2.0, mean_drift=mean_drift(run), **recorded
    ).total


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("num_updates", [3, 1000])
def test_from_end_to_end_the_bound_is_the_regret(num_updates, sign):
    """With ε = 0 and a K = D the iterate arrives after exactly K updates: no bound of this form is smaller."""
    problem = asyncopt.problems.hard_instance(num_updates, noise=0.0, start=1.0, sign=sign)
    optimizer = asyncopt.apam(2 / num_updates, b1=0.0, b2=0.0, eps=0.0, constraint=problem.constraint)
    run = asyncopt.replay(problem, optimizer, asyncopt.traces.synchronous(num_updates))
    slope, step = 1 / np.sqrt(num_updates), 2 / num_updates
    # (1): D² V/(2a) + S/2 with V = δ and S = K a δ²/V, over K; in (3), G = δ.
    bound = 2**2 * slope / (2 * step * num_updates) + step * slope / 2
    assert bound == pytest.approx(slope * (1 + 1 / num_updates), rel=1e-12)
    assert run.average_gap[-1] == pytest.approx(bound, rel=1e-12)
    assert run.gap[-1] == pytest.approx(0, abs=1e-12 * slope)


@pytest.mark.parametrize("sign", [1, -1])
def test_shipped_instance_without_delay(sign):
    settings = grid("tight")
    assert settings["problem.sign"] == ["1", "-1"]
    num_updates = int(settings["trace.num_updates"][0])
    run, made = shipped("tight", f"problem.sign={sign}", f"trace.num_updates={num_updates}")
    assert made.trace.max_delay == 0
    slope, noise, eps, step = 1 / np.sqrt(num_updates), 1e-3, 0.5, 0.9 / np.sqrt(num_updates)
    # β2 = 0: V is the largest gradient so far, which from the first few updates on is δ + σ.
    scale = slope + noise + eps
    squares = slope**2 + noise**2  # the mean of g²
    a_posteriori = 2**2 * scale / (2 * step * num_updates) + step * squares / scale / 2
    a_priori = 2**2 * scale / (2 * step * num_updates) + step * (slope + noise) / 2
    measured = run.average_gap[:, -1].mean()
    assert 0.95 * a_posteriori < measured < a_posteriori
    assert 0.95 * a_priori < measured < a_priori
    assert len(set(run.average_gap[:, -1])) == 16  # the seeds differ
    np.testing.assert_allclose(recorded_bound(run, smoothness=0.0), a_posteriori, rtol=1e-3)


@pytest.mark.parametrize(("num_updates", "at_least"), [(300, 0.986), (30_000, 0.99986)])
def test_shipped_instance_whose_gradients_are_all_read_at_the_start(num_updates, at_least):
    """The bound is attained; without the delay's part it is exceeded, and so is half of it."""
    assert str(num_updates) in grid("tight_delay")["trace.num_updates"]
    run, made = shipped("tight_delay", f"trace.num_updates={num_updates}", "seeds=4")
    np.testing.assert_array_equal(made.trace.read_version, 0)
    step, start = 2 / np.sqrt(num_updates), np.sqrt(2 * run.objective[:, 0])  # x_0²/2 is F
    # Every gradient is x_0, so v_k is (1 - 0.999^k) x_0² and m_k is x_0; by hand, one update after another.
    updates = np.arange(1, num_updates + 1)
    scales = np.sqrt(1 - 0.999 ** updates[:, None]) * start + 1e-12
    path = start - np.cumsum(step * start / scales, axis=0)
    iterates = np.clip(np.concatenate([start[None], path[:-1]]), -1, 1)
    regret = 2**2 * scales[-1] / (2 * step) + np.sum(step * start**2 / scales, axis=0) / 2
    leading = regret / num_updates
    delay = np.mean((iterates - start) ** 2, axis=0) / 2
    np.testing.assert_allclose(run.average_gap[:, -1], np.mean(iterates, axis=0) ** 2 / 2, rtol=1e-10)
    np.testing.assert_allclose(mean_drift(run) / 2, delay, rtol=1e-10)
    ratio = run.average_gap[:, -1] / (leading + delay)
    assert (ratio > at_least).all()
    assert (ratio < 1).all()
    assert (run.average_gap[:, -1] > 1000 * leading).all()
    np.testing.assert_allclose(recorded_bound(run, smoothness=1.0), leading + delay, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:F is up to")
@pytest.mark.parametrize("delay", [0, 50])
def test_shipped_step_sizes_are_on_both_sides_of_the_stability_limit(delay):
    settings = grid("stability")
    assert str(delay) in settings["trace.delay"]
    limit = theory.stability_limit(delay)
    near = [step for step in settings["optimizer.learning_rate"] if 0.85 < float(step) / limit < 1.15]
    np.testing.assert_allclose([float(step) / limit for step in near], [0.9, 0.95, 1.05, 1.1], atol=1e-3)
    for step in near:
        run, _ = shipped("stability", f"trace.delay={delay}", f"optimizer.learning_rate={step}")
        change = run.gap[0, -1] / run.gap[0, 0]
        assert change < 1e-3 if float(step) < limit else change > 1e3
