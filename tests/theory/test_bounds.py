"""The bounds against sums written out one by one, against random sequences, and against their own orders."""

import math

import numpy as np
import pytest

from asyncopt import theory


def random_constants(rng):
    return {
        "num_updates": int(rng.integers(1, 100_000)),
        "step_size": rng.uniform(0.001, 1),
        "b1": rng.choice([0.0, 0.5, 0.9, 0.99]),
        "b2": rng.choice([0.1, 0.9, 0.999]),
        "eps": rng.choice([1e-8, 0.1, 1.0]),
        "dimension": int(rng.integers(1, 100)),
        "smoothness": rng.uniform(0, 10),
        "gradient_bound": rng.uniform(0.1, 10),
    }


@pytest.mark.parametrize("seed", range(20))
def test_a_priori_is_the_formula(seed):
    """Written out once more, with Python's own arithmetic, in the order of docs/theory.md."""
    rng = np.random.default_rng(seed)
    c = random_constants(rng)
    big_k, a, b1, b2, eps = (c[name] for name in ("num_updates", "step_size", "b1", "b2", "eps"))
    n, smooth, big_g = c["dimension"], c["smoothness"], c["gradient_bound"]
    diameter, mean, square, start = rng.uniform(0.1, 10), rng.uniform(0, 10), rng.uniform(100, 200), rng.uniform(0, 5)
    carried = b1 / (1 - b1)
    convex = theory.convex_a_priori(**c, diameter=diameter, mean_square_delay=square)
    regret = diameter**2 / (2 * a) * n * (big_g + eps)
    regret += (0.5 + carried) * big_k * a * n * big_g / math.sqrt(1 - b2) + carried * diameter * n * big_g
    drift = a**2 * n / (1 - b2) * square
    assert float(convex.total) == pytest.approx(regret / big_k + smooth / 2 * drift, rel=1e-12)
    assert float(convex.delay) == pytest.approx(smooth / 2 * drift, rel=1e-12)

    nonconvex = theory.nonconvex_a_priori(**c, initial_gap=start, mean_delay=mean, mean_square_delay=square)
    descent = start + big_k * smooth * a**2 * big_g**2 * n / eps**2
    descent += a * big_g**2 * n / ((1 - b1) * eps) + smooth * a**2 * big_g**2 * n / ((1 - b1) ** 2 * eps**2)
    # mean of τ² + (τ + c)²
    stale = 2 * square + 2 * carried * mean + carried**2
    descent += big_k * a * smooth**2 * a**2 * n / (1 - b2) / (2 * eps) * stale
    assert float(nonconvex.total) == pytest.approx(4 * (big_g + eps) / (a * big_k) * descent, rel=1e-12)


def test_orders_in_updates_and_delay():
    """With a = α/√K the parts fall as K^-1/2, K^-1 and K^-1; the delay's part grows as τ²."""
    k = np.array([1e4, 1e6])
    constants = {"b1": 0.9, "b2": 0.999, "eps": 0.1, "dimension": 5, "smoothness": 2.0, "gradient_bound": 1.0}
    common = {**constants, "num_updates": k, "step_size": 0.3 / np.sqrt(k)}
    convex = theory.convex_a_priori(**common, diameter=2.0, mean_square_delay=9.0)
    nonconvex = theory.nonconvex_a_priori(**common, initial_gap=1.0, mean_delay=3.0, mean_square_delay=9.0)
    for bound in (convex, nonconvex):
        assert bound.leading[0] / bound.leading[1] == pytest.approx(10)
        assert bound.delay[0] / bound.delay[1] == pytest.approx(100)
        assert 99.99 <= bound.lower_order[0] / bound.lower_order[1] <= 1000.01
    farther = theory.convex_a_priori(**common, diameter=2.0, mean_square_delay=36.0)
    np.testing.assert_allclose(farther.delay / convex.delay, 4.0)
    np.testing.assert_array_equal(farther.leading, convex.leading)
    without = theory.nonconvex_a_priori(**common, initial_gap=1.0, mean_delay=0.0, mean_square_delay=0.0)
    assert (without.delay == 0).all()


def test_without_eps_the_nonconvex_bound_is_infinite():
    constants = {"b1": 0.9, "eps": 0.0, "dimension": 5, "smoothness": 2.0, "gradient_bound": 1.0, "num_updates": 10}
    constants |= {"step_size": 0.1, "initial_gap": 1.0, "mean_delay": 0.0, "mean_square_delay": 0.0}
    assert theory.nonconvex_a_priori(**constants, b2=0.999).total == np.inf
    measured = {"mean_scaled_gradient": 1.0, "scaled_momentum_max": 1.0}
    assert theory.nonconvex_a_posteriori(**constants, **measured).total == np.inf


def test_sums_over_iterates_by_hand():
    """10, 8, 6, 4, 2 lie on straight lines between the evaluations after 0, 2 and 5 updates."""
    run = theory.Evidence({}, {"f": np.array([[10.0, 6.0, 0.0]]), "step": np.array([[0, 2, 5]])})
    assert [run.sum_until("f", evaluation).item() for evaluation in (0, 1, 2)] == [0, 18, 30]
    assert run.mean_over_run("f").item() == 6


def replay_moments(gradients, b1, b2, eps):
    """Moments of a sequence of gradients, and V, one update after another; V[0] is before the first."""
    m, v, v_max = (np.zeros(gradients.shape[1]) for _ in range(3))
    moments, scales = [], [v_max + eps]
    for g in gradients:
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        v_max = np.maximum(v_max, v)
        moments.append(m)
        scales.append(np.sqrt(v_max) + eps)
    return np.array(moments), np.array(scales)


def divide(a, b):
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


@pytest.mark.parametrize("decreasing", [False, True])
@pytest.mark.parametrize("seed", range(50))
def test_regret_of_any_gradients_is_below_the_a_posteriori_bound(seed, decreasing):
    """The inequality behind the convex bound holds for every sequence of gradients and every point of the box."""
    rng = np.random.default_rng(seed)
    k, n = int(rng.integers(1, 60)), int(rng.integers(1, 6))
    b1, b2, eps = rng.choice([0.0, 0.5, 0.9, 0.99]), rng.choice([0.1, 0.9, 0.999]), rng.choice([0.0, 1e-8, 0.1, 1.0])
    alpha, diameter = 10.0 ** rng.uniform(-3, 1), 10.0 ** rng.uniform(-1, 1)
    gradients = rng.normal(size=(k, n)) * 10.0 ** rng.uniform(-2, 2, size=(k, 1)) * rng.integers(0, 2, (k, n))
    gradients *= rng.choice([-1.0, 1.0])
    steps = alpha / np.sqrt(np.arange(1, k + 1)) if decreasing else np.full(k, alpha)
    moments, scales = replay_moments(gradients, b1, b2, eps)
    x, iterates = rng.uniform(0, diameter, n), []
    for moment, scale, step in zip(moments, scales[1:], steps, strict=True):
        iterates.append(x)
        x = np.clip(x - step * divide(moment, scale), 0, diameter)
    iterates = np.array(iterates)
    # The worst comparison point of a linear function over a box is a corner.
    total = gradients.sum(axis=0)
    worst = np.where(total > 0, 0.0, diameter)
    regret = np.sum(gradients * iterates) - total @ worst
    bound = theory.convex_a_posteriori(
        num_updates=k,
        step_size=steps[-1],
        b1=b1,
        smoothness=1.0,
        diameter=diameter,
        scale_l1=scales[-1].sum(),
        scaled_momentum_sum=np.sum(steps[:, None] * moments * divide(moments, scales[1:])),
        momentum_l1=np.abs(moments[-1]).sum(),
        mean_drift=0.0,
    )
    assert regret / k <= bound.total * (1 + 1e-12)
    assert np.all(np.abs(divide(moments, scales[1:])) <= 1 / np.sqrt(1 - b2) * (1 + 1e-12))


@pytest.mark.parametrize("seed", range(30))
def test_noise_free_nonconvex_runs_are_below_both_bounds(seed):
    """Without noise there is no expectation to estimate: every single run must be below."""
    rng = np.random.default_rng(seed)
    k, n = int(rng.integers(2, 200)), int(rng.integers(1, 5))
    b1, b2, eps = rng.choice([0.0, 0.5, 0.9]), rng.choice([0.1, 0.9, 0.999]), rng.choice([0.1, 1.0])
    a = 10.0 ** rng.uniform(-2, 1) / np.sqrt(k)
    frequency = rng.uniform(0.5, 2, n)

    def objective(x):  # between 0 and 2n; ∇F within ±frequency, ∇²F within ±frequency²
        return np.sum(1 - np.cos(frequency * x))

    def gradient(x):
        return frequency * np.sin(frequency * x)

    delays = np.minimum(rng.integers(0, rng.integers(1, 30), k), np.arange(k))
    iterates, gradients = [rng.normal(size=n) * 2], []
    for step, delay in enumerate(delays):
        gradients.append(gradient(iterates[step - delay]))
        moments, scales = replay_moments(np.array(gradients), b1, b2, eps)
        iterates.append(iterates[-1] - a * moments[-1] / scales[-1])
    measured = np.mean([np.sum(gradient(x) ** 2) for x in iterates[:-1]])
    common = {
        "num_updates": k,
        "step_size": a,
        "b1": b1,
        "eps": eps,
        "dimension": n,
        "smoothness": np.max(frequency) ** 2,
        "gradient_bound": np.max(frequency),
        "initial_gap": objective(iterates[0]),
        "mean_delay": delays.mean(),
        "mean_square_delay": np.mean(delays**2),
    }
    a_posteriori = theory.nonconvex_a_posteriori(
        **common,
        mean_scaled_gradient=np.mean(np.sum((np.array(gradients) / scales[:-1]) ** 2, axis=1)),
        scaled_momentum_max=np.max(np.linalg.norm(moments / scales[1:], axis=1)),
    )
    assert measured <= a_posteriori.total <= theory.nonconvex_a_priori(**common, b2=b2).total
