"""The bounds with measured distances and weights: for any gradients, and on noise-free runs, in plain NumPy."""

import numpy as np
import pytest

from asyncopt import theory
from asyncopt.theory import Evidence
from asyncopt.theory.nonconvex_bounds import best_start, weighted
from tests.reference import project_ball
from tests.theory.test_bounds import divide, replay_moments


def no_projection(point, scale):
    return point


PROJECTIONS = {
    "free": lambda rng: no_projection,
    "box": lambda rng: lambda point, scale: np.clip(point, 0, 1),
    "ball": lambda rng: project_ball(1.0),
}


def sides(rng, kind, k, n):
    """The regret, (1a), (1b) and (1) of a sequence of any gradients against any point of X."""
    b1, b2, eps = rng.choice([0.0, 0.5, 0.9]), rng.choice([0.1, 0.9, 0.999]), rng.choice([1e-8, 0.1, 1.0])
    gradients = rng.normal(size=(k, n)) * 10.0 ** rng.uniform(-2, 2, size=(k, 1)) * rng.integers(0, 2, (k, n))
    a = 10.0 ** rng.uniform(-2, 0) * (np.arange(1, k + 1) ** -0.5 if rng.integers(2) else np.ones(k))
    moments, scales = replay_moments(gradients, b1, b2, eps)
    project = PROJECTIONS[kind](rng)
    start, point = rng.uniform(0, 1, (2, n)) / np.sqrt(n)
    x = [start]
    for moment, scale, step in zip(moments, scales[1:], a, strict=True):
        x.append(project(x[-1] - step * divide(moment, scale), scale))
    x = np.array(x)
    d, carried, ratio = x - point, b1 / (1 - b1), scales[1:] / a[:, None]
    growth = np.diff(ratio, axis=0, prepend=0 * ratio[:1])
    square = np.sum(a[:, None] * moments * divide(moments, scales[1:]))
    last = np.sum(ratio[-1] * d[-1] ** 2) / 2
    upper = np.sum(growth * d[:-1] ** 2) / 2 + square / 2
    upper += carried * (moments[-1] @ d[-2] + np.sum(moments[:-1] * (x[:-2] - x[1:-1])))
    loose = np.sum(ratio[-1]) / 2 + (0.5 + carried) * square + carried * np.abs(moments[-1]).sum()
    return np.sum(gradients * d[:-1]), upper - last, upper, loose


@pytest.mark.parametrize("kind", PROJECTIONS)
@pytest.mark.parametrize("seed", range(20))
def test_the_regret_of_any_gradients_is_below_its_certificate(kind, seed):
    rng = np.random.default_rng(seed)
    regret, certificate, upper, loose = sides(rng, kind, int(rng.integers(1, 60)), int(rng.integers(1, 6)))
    room = 1e-8 * (abs(regret) + abs(upper))
    assert regret <= certificate + room
    assert certificate <= upper
    if kind == "free":
        assert regret == pytest.approx(certificate, abs=1e-6 * (1 + abs(upper)))
    if kind == "box":
        assert upper <= loose + room


class Waves:
    """F(x) = Σ 1 - cos(w_i x_i), from 0 to 2n, with L = max w²."""

    def __init__(self, rng, n):
        self.frequency = rng.uniform(0.5, 2, n)

    def value(self, x):
        return np.sum(1 - np.cos(self.frequency * x), axis=-1)

    def gradient(self, x):
        return self.frequency * np.sin(self.frequency * x)


def noise_free_run(rng, *, delays, eps, a, b1, b2=0.9):
    """A run of APAM without noise, as a theorem reads it: an evaluation after every update, with all sums."""
    k, n = len(delays), int(rng.integers(1, 5))
    problem, carried = Waves(rng, n), b1 / (1 - b1)
    x, g, y = [rng.normal(size=n)], [], []
    for step, delay in enumerate(delays):
        y.append(x[step - delay])
        g.append(problem.gradient(y[-1]))
        moments, scales = replay_moments(np.array(g), b1, b2, eps)
        x.append(x[-1] - a * moments[-1] / scales[-1])
    x, y, g = np.array(x), np.array(y), np.array(g)
    z = x + carried * np.diff(x, axis=0, prepend=x[:1])
    big, small = scales.max(axis=1), scales.min(axis=1)
    s, u, w = problem.gradient(z[:-1]), problem.gradient(x[:-1]), problem.gradient(y)
    moved = np.diff(z, axis=0)
    e, v, weight, spread = moved + a * g / scales[:-1], scales[:-1], big[:-1], (big / small)[:-1]

    def norm(values, scale):
        return np.sum(values**2 * scale, axis=1)

    sums = {
        "descent_moved": weight * norm(moved, 1.0), "descent_errors": weight * norm(e, v),
        "descent_read": spread * norm(x[:-1] - y, 1.0), "descent_lag": spread * norm(z[:-1] - x[:-1], 1.0),
        "chain_gradients": norm(u, 1.0), "chain_weighted": weight * norm(u, 1 / v),
        "chain_inner": weight * np.sum(s * w / v, axis=1), "chain_noise": 0 * weight, "chain_noise_square": 0 * weight,
        "chain_near": weight * (norm(s - u, 1 / v) + norm(w - u, 1 / v)),
        "chain_errors": weight * np.sum(s * e, axis=1), "chain_potential": -weight * np.diff(problem.value(z)),
        "scaled_gradient_sum": norm(g / v, 1.0),
    }  # fmt: skip
    columns = {name: np.cumsum([0, *values])[None] for name, values in sums.items()}
    columns |= {
        "step": np.arange(k + 1)[None], "objective": problem.value(x)[None], "scale_max": big[None],
        "grad_norm_sq": norm(problem.gradient(x), 1.0)[None], "lag_last": np.linalg.norm(z - x, axis=1)[None],
        "scaled_momentum_max": np.linalg.norm(moments / scales[1:], axis=1).max() * np.ones((1, k + 1)),
        "gradient_max": np.full((1, k + 1), np.abs(g).max()),
    }  # fmt: skip
    facts = {"learning_rate": a * np.sqrt(k), "b1": b1, "b2": b2, "eps": eps}
    facts = {f"optimizer.{name}": value for name, value in facts.items()}
    constants = {"dimension": n, "smoothness": np.max(problem.frequency) ** 2, "lower_bound": 0.0}
    constants |= {"gradient_bound": np.max(problem.frequency)}
    facts |= {f"summary.problem.{name}": value for name, value in constants.items()}
    facts |= {"summary.trace.mean_delay": delays.mean(), "summary.trace.mean_square_delay": np.mean(delays**2)}
    return Evidence(facts, columns)


def random_run(seed):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(20, 150))
    delays = np.minimum(rng.integers(0, rng.integers(1, 20), k), np.arange(k))
    settings = {"eps": rng.choice([1e-8, 0.1]), "b1": rng.choice([0.0, 0.5, 0.9])}
    return noise_free_run(rng, delays=delays, a=10.0 ** rng.uniform(-2, 0.5) / np.sqrt(k), **settings)


@pytest.mark.parametrize("seed", range(30))
def test_the_nonconvex_proof_line_by_line(seed):
    """Without noise every line is an inequality: each is at most the next, down to the a-priori bound."""
    run = random_run(seed)
    steps = theory.THEOREMS["nonconvex"].steps(run)
    values = [step.values[0] for step in steps]
    assert [step.words.split(":")[0] for step in steps][::7] == ["measured", "a priori"]
    for before, after, step in zip(values, values[1:], steps[1:], strict=False):
        assert before <= after * (1 + 1e-9), step.words
    (descent,) = theory.THEOREMS["nonconvex"].certificates(with_broken(run))
    assert descent.left[0] <= descent.right[0] * (1 + 1e-9)


def with_broken(run):
    """The run with the column that says that nothing was broken."""
    return Evidence(run.facts, {**run.columns, "descent_broken_at": -np.ones_like(run.columns["scale_max"])})


def test_the_weighted_bound_does_not_divide_by_eps():
    """Where (4) is 10^8 times larger at the smaller ε, (4b) is about the same."""
    bounds = {}
    for eps in (1e-8, 1e-3):
        run = noise_free_run(np.random.default_rng(3), delays=np.zeros(100, int), eps=eps, a=0.02, b1=0.5)
        bounds[eps] = (weighted(run, best_start(run)).total[0], theory.THEOREMS["nonconvex"].a_priori(run).total)
    assert bounds[1e-8][0] < 3 * bounds[1e-3][0]
    assert bounds[1e-8][1].item() > 1e8 * bounds[1e-3][1].item()


def test_no_more_than_the_first_few_updates_are_left_out():
    """Else the bound would be the measured quantity itself."""
    for seed in range(10):
        run = random_run(seed)
        assert run.columns["step"][0, best_start(run)] <= np.sqrt(run.num_updates)
