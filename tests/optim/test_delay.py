import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt


@pytest.mark.parametrize("delay", [0, 1, 2, 5, 30])
def test_step_k_applies_the_gradient_of_step_k_minus_delay(delay):
    transform = asyncopt.delay_gradients(delay)
    gradients = np.random.default_rng(0).normal(size=(20, 3))
    state = transform.init(jnp.zeros(3))
    for k in range(20):
        late, state = transform.update(jnp.asarray(gradients[k]), state)
        np.testing.assert_array_equal(late, gradients[k - delay] if k >= delay else np.zeros(3))


def test_in_a_loop_it_equals_a_replay_of_a_constant_delay_after_the_wait():
    """The gradient that is applied at step k was computed at iterate k - delay, as the trace has it."""
    problem = asyncopt.problems.quadratic(4, noise=0.0)
    delay, num_updates = 3, 50
    chained = optax.chain(asyncopt.delay_gradients(delay), optax.sgd(0.05))
    params = problem.init(asyncopt.engine.init_key(jax.random.key(0)))
    state = chained.init(params)
    for _ in range(num_updates + delay):
        updates, state = chained.update(problem.eigenvalues * params, state, params)
        params = optax.apply_updates(params, updates)
    replayed = asyncopt.replay(problem, optax.sgd(0.05), asyncopt.traces.constant(num_updates, delay))
    np.testing.assert_allclose(params, replayed.params, rtol=1e-12)


@pytest.mark.parametrize(
    ("delay", "message"),
    [
        (-1, "delay is -1, expected an integer of at least 0"),
        (1.5, "delay is 1.5, expected an integer"),
        (True, "delay is True, expected an integer"),
        (jnp.asarray(2), "delay is an array, .* static_args='delay'"),
    ],
)
def test_refuses(delay, message):
    with pytest.raises(asyncopt.InputError, match=message):
        asyncopt.delay_gradients(delay)


def test_injected_without_static_args_says_what_to_do():
    with pytest.raises(asyncopt.InputError, match="static_args='delay'"):
        optax.inject_hyperparams(asyncopt.delay_gradients)(2).init(jnp.zeros(2))
