"""Restarts: by hand, and against optimizers that are made anew."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import optim
from asyncopt.checks import InputError


def iterates(optimizer, num_updates, params, first=0, state=None):
    """Runs on a function whose gradient changes with the update; returns the iterates and the last state."""
    state = optimizer.init(params) if state is None else state
    made = []
    for k in range(first, first + num_updates):
        steps, state = optimizer.update(jnp.cos(params + k), state, params)
        params = optax.apply_updates(params, steps)
        made.append(params)
    return made, state


@pytest.mark.optimised
@pytest.mark.parametrize(
    "inner", [asyncopt.apam(0.1), asyncopt.apam(0.1, constraint=asyncopt.L2Ball(3.0)), optax.sgd(0.1, momentum=0.9)]
)
def test_a_run_with_restarts_is_runs_one_after_the_other(inner):
    params = jnp.linspace(-1, 1, 5)
    restarted, _ = iterates(optim.restart(inner, 4), 12, params)
    expected = []
    for first in (0, 4, 8):
        part, _ = iterates(inner, 4, expected[-1] if expected else params, first)
        expected += part
    np.testing.assert_array_equal(restarted, expected)
    without, _ = iterates(inner, 12, params)
    assert not np.array_equal(restarted[4:], without[4:])


def test_the_step_count_goes_on():
    inner = asyncopt.apam(lambda count: 1.0 / (1 + count), b1=0.0, b2=0.0)  # a step is α_k times the gradient's sign
    transform = optim.restart(inner, 3)
    state, steps = transform.init(jnp.zeros(1)), []
    for _ in range(8):
        step, state = transform.update(jnp.ones(1), state)
        steps.append(-float(step[0]))
    np.testing.assert_allclose(steps, 1 / np.arange(1, 9), rtol=1e-6)
    assert int(state.inner.amsgrad.count) == 8


def test_by_hand_as_the_paper_s_program():
    """m, v and v̂ start from zero in every epoch of 2 updates, as local variables of the function of an epoch would."""
    x, expected = 1.0, []
    for epoch in range(3):
        m = v = v_max = 0.0
        for update in range(2):
            g = np.cos(x + 2 * epoch + update)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            v_max = max(v, v_max)
            x -= 0.01 * m / (np.sqrt(v_max) + 1e-8)
            expected.append(x)
    made, _ = iterates(optim.restart(asyncopt.apam(0.01), 2), 6, jnp.array(1.0))
    np.testing.assert_allclose(made, expected, rtol=1e-12)


def test_in_a_replay_under_delay():
    digits = asyncopt.problems.logistic("digits")
    trace = asyncopt.traces.uniform(60, 5)
    never, late = (
        asyncopt.replay(digits, optimizer, trace, seeds=[0, 1], eval_every=30)
        for optimizer in (asyncopt.apam(0.01), optim.restart(asyncopt.apam(0.01), 60))
    )
    np.testing.assert_allclose(never.params, late.params, rtol=1e-9, atol=1e-12)  # another program rounds otherwise
    restarted = asyncopt.replay(digits, optim.restart(asyncopt.apam(0.01), 30), trace, seeds=[0, 1], eval_every=30)
    np.testing.assert_allclose(restarted.objective[:, 1], never.objective[:, 1], rtol=1e-9)
    assert np.all(abs(restarted.objective[:, 2] / never.objective[:, 2] - 1) > 1e-3)


@pytest.mark.parametrize("every", [0, 1.5, jnp.ones(())])
def test_refuses(every):
    with pytest.raises(InputError, match="every is"):
        optim.restart(optax.sgd(0.1), every)


def test_needs_no_params():
    transform = optim.restart(asyncopt.scale_by_apam(), 2)
    state = transform.init(jnp.zeros(3))
    for _ in range(3):
        _, state = jax.jit(transform.update)(jnp.ones(3), state)
    np.testing.assert_allclose(state.inner.mu, 0.1 * np.ones(3), rtol=1e-12)
