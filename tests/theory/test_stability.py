"""The stability limit under delay, against the roots of the characteristic polynomial and against replays."""

import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, theory
from asyncopt.optim import parametric

DELAYS = (0, 1, 3, 10, 50)


def bisect(stable, low, high, steps):
    """The number at which ``stable`` turns false, on a scale of ratios."""
    assert stable(low)
    assert not stable(high)
    for _ in range(steps):
        middle = np.sqrt(low * high)
        low, high = (middle, high) if stable(middle) else (low, middle)
    return np.sqrt(low * high)


def largest_root(step, delay, b1):
    """The largest |z| of (z - 1)(z - β) z^(τ-1) + (1 - β) η, times z at τ = 0."""
    if delay == 0:
        return np.abs(np.roots([1, (1 - b1) * step - 1 - b1, b1])).max()
    coefficients = np.zeros(delay + 2)
    coefficients[:3] = [1, -1 - b1, b1]
    coefficients[-1] += (1 - b1) * step
    return np.abs(np.roots(coefficients)).max()


@pytest.mark.parametrize("b1", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("delay", DELAYS)
def test_a_root_reaches_the_unit_circle_at_the_limit(delay, b1):
    limit = bisect(lambda step: largest_root(step, delay, b1) < 1, 1e-4, 1e3, 50)
    assert theory.stability_limit(delay, momentum=b1) == pytest.approx(limit, rel=1e-10)
    assert theory.stability_limit(delay, 4.0, b1) == pytest.approx(limit / 4, rel=1e-10)


def test_known_limits():
    np.testing.assert_allclose([theory.stability_limit(delay) for delay in (0, 1)], [2.0, 1.0])
    with_momentum = [theory.stability_limit(delay, momentum=0.9) for delay in (3, 10, 50)]
    np.testing.assert_allclose(with_momentum, [0.348, 0.114, 0.0273], rtol=2e-3)
    # In the form of Levin and May.
    for delay in DELAYS:
        levin_may = 2 * np.cos(np.pi * delay / (2 * delay + 1))
        assert theory.stability_limit(delay) == pytest.approx(levin_may, rel=1e-12)


def descent(learning_rate):
    return optax.sgd(learning_rate)


def descent_with_averaged_momentum(learning_rate):
    return optax.chain(optax.ema(0.9, debias=False), optax.scale(-1.0 * learning_rate))


@pytest.mark.filterwarnings("ignore:F is up to")
@pytest.mark.parametrize(
    ("delay", "make", "b1"),
    [*((delay, descent, 0.0) for delay in (0, 3, 50)), (10, descent_with_averaged_momentum, 0.9)],
)
def test_replays_turn_unstable_at_the_limit(delay, make, b1):
    """The measured limit is that step size from which the largest F over a quarter of the run grows, not shrinks."""
    problem = asyncopt.problems.quadratic(1, 1.0, noise=0.0)
    trace = asyncopt.traces.constant(20_000, delay)

    def stable(step):
        run = asyncopt.replay(problem, parametric(make, learning_rate=float(step)), trace, eval_every=20)
        quarters = run.objective[1:].reshape(4, -1).max(axis=1)
        return quarters[3] < quarters[1] or quarters[3] == 0

    measured = bisect(stable, 0.01, 10.0, 11)
    assert measured == pytest.approx(theory.stability_limit(delay, momentum=b1), rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"delay": -1}, "delay is -1, expected an integer of at least 0"),
        ({"delay": 1.5}, "delay is 1.5"),
        ({"delay": 1, "curvature": 0.0}, "curvature is 0.0, expected a finite number > 0"),
        ({"delay": 1, "momentum": 1.0}, "momentum is 1.0, expected a finite number >= 0 and < 1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        theory.stability_limit(**arguments)
