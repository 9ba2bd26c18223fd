"""Wrappers that handle stale gradients: by hand from their papers, against Optax, and in a replay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import optim

WRAPPERS = {
    "inverse": lambda inner: optim.scale_steps_by_delay(inner),
    "power": lambda inner: optim.scale_steps_by_delay(inner, "power", 0.5),
    "threshold": lambda inner: optim.scale_steps_by_delay(inner, "threshold", 3),
    "stage": lambda inner: optim.scale_steps_by_stage(inner, 5),
    "drop": lambda inner: optim.drop_stale(inner, 1),
    "compensate": lambda inner: optim.compensate_delay(inner, 0.5),
    "compensate adaptive": lambda inner: optim.compensate_delay(inner, 0.5, 0.9),
    "buffer of 1": lambda inner: optim.buffer_updates(inner, 1),
}


def sgd_steps(wrap, gradients, delays):
    """Returns minus the steps of SGD with step size 1: the gradients as they were applied."""
    transform = wrap(optax.sgd(1.0))
    state = transform.init(jnp.zeros(()))
    applied = []
    for gradient, delay in zip(gradients, delays, strict=True):
        step, state = transform.update(jnp.asarray(gradient), state, delay=delay)
        applied.append(-float(step))
    return applied


@pytest.mark.optimised
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("inner", [asyncopt.apam(0.1), optax.sgd(0.1, momentum=0.9), optax.adam(0.1)])
def test_without_delay_it_is_the_optimizer_inside_to_the_last_bit(wrap, inner):
    ours, plain = wrap(inner), inner
    params = same = jax.random.normal(jax.random.key(0), (5,))
    state, plain_state = ours.init(params), plain.init(params)
    for k in range(8):
        gradient = jnp.cos(params + k)
        steps, state = ours.update(gradient, state, params, delay=0, stale_params=params)
        expected, plain_state = plain.update(gradient, plain_state, same)
        np.testing.assert_array_equal(steps, expected)
        params, same = optax.apply_updates(params, steps), optax.apply_updates(same, expected)


@pytest.mark.parametrize(
    ("rule", "parameter", "expected"),
    [
        ("inverse", 1.0, [1, 1, 1 / 2, 1 / 3, 1 / 8]),
        ("power", 0.5, [1, 2**-0.5, 3**-0.5, 1 / 2, 1 / 3]),
        ("threshold", 2, [1, 1, 1, 2 / 3, 1 / 4]),
    ],
)
def test_steps_scaled_by_delay(rule, parameter, expected):
    steps = sgd_steps(lambda sgd: optim.scale_steps_by_delay(sgd, rule, parameter), [1.0] * 5, [0, 1, 2, 3, 8])
    np.testing.assert_allclose(steps, expected, rtol=1e-7)


def test_drop_by_hand():
    # Two or more gradients applied since iterates 0 (for the third) and 1 (for the fifth) were read.
    steps = sgd_steps(lambda sgd: optim.drop_stale(sgd, 2), [1, 2, 3, 4, 5.0], [0, 1, 2, 1, 3])
    assert steps == [1, 2, 0, 4, 0]


@pytest.mark.parametrize("max_delay", [1, 2, 5])
def test_drop_counts_what_was_applied_since_the_read(max_delay):
    trace = asyncopt.traces.uniform(200, 12)
    applied = []
    for k, version in enumerate(trace.read_version):
        applied.append(sum(applied[version:k]) < max_delay)
    steps = sgd_steps(lambda sgd: optim.drop_stale(sgd, max_delay), np.ones(200), trace.delay.tolist())
    np.testing.assert_array_equal(steps, np.array(applied, float))
    assert 0 < sum(applied) < 200


def test_a_dropped_gradient_leaves_the_state_as_it_was():
    transform = optim.drop_stale(asyncopt.apam(0.1), 1)
    state = transform.init(jnp.zeros(2))
    _, state = transform.update(jnp.ones(2), state, delay=0)
    steps, after = transform.update(jnp.full(2, 9.0), state, delay=1)
    np.testing.assert_array_equal(steps, 0)
    jax.tree.map(np.testing.assert_array_equal, after.inner, state.inner)


def test_compensation_by_hand():
    transform = optim.compensate_delay(optax.sgd(1.0), 0.1)
    gradient, x, y = jnp.array([2.0, -1.0]), jnp.array([1.5, 0.0]), jnp.array([1.0, 2.0])
    steps, _ = transform.update(gradient, transform.init(x), x, stale_params=y)
    np.testing.assert_allclose(steps, [-(2 + 0.1 * 4 * 0.5), -(-1 + 0.1 * 1 * -2)])


def test_adaptive_compensation_by_hand():
    transform = optim.compensate_delay(optax.sgd(1.0), 0.1, 0.5)
    x, y = jnp.array([1.5]), jnp.array([1.0])
    steps, state = transform.update(jnp.array([2.0]), transform.init(x), x, stale_params=y)
    np.testing.assert_allclose(steps, [-(2 + 0.1 / np.sqrt(2.0 + 1e-7) * 4 * 0.5)])  # s = 0.5 · 4
    steps, _ = transform.update(jnp.array([4.0]), state, x, stale_params=y)
    np.testing.assert_allclose(steps, [-(4 + 0.1 / np.sqrt(9.0 + 1e-7) * 16 * 0.5)])  # s = 0.5 · 2 + 0.5 · 16


def test_compensation_is_exact_where_the_hessian_is_the_squared_gradient():
    # f = -log x has f'' = f'², so that with λ = 1 what is left is of second order in x - y.
    transform = optim.compensate_delay(optax.sgd(1.0), 1.0)
    for move in (1e-2, 1e-3):
        x, y = jnp.array(1.0 + move), jnp.array(1.0)
        steps, _ = transform.update(-1 / y, transform.init(x), x, stale_params=y)
        assert abs(float(steps) - 1 / float(x)) < 1.1 * move**2


def test_buffer_by_hand():
    steps = sgd_steps(lambda sgd: optim.buffer_updates(sgd, 2), [1.0, 2.0, 3.0, 4.0], [0, 1, 2, 1])
    # The third gradient was read one step before; all others belong to the newest iterate.
    np.testing.assert_allclose(steps, [0, 1.5, 0, (3 / np.sqrt(2) + 4) / 2])


def test_buffer_of_fresh_gradients_is_optax_multi_steps():
    ours = optim.buffer_updates(asyncopt.apam(0.1), 4, 0.0)
    theirs = optax.MultiSteps(asyncopt.apam(0.1), 4, accumulator_dtype=jnp.float64).gradient_transformation()
    params = same = jax.random.normal(jax.random.key(0), (5,))
    state, their_state = ours.init(params), theirs.init(params)
    for k in range(12):
        gradient = jnp.cos(params + k)
        steps, state = ours.update(gradient, state, params, delay=0)
        expected, their_state = theirs.update(gradient, their_state, same)
        np.testing.assert_allclose(steps, expected, rtol=1e-12, atol=1e-15)
        params, same = optax.apply_updates(params, steps), optax.apply_updates(same, expected)


def test_in_a_replay_the_engine_says_how_stale(digits):
    # Every gradient one update old, and only fresh ones applied: every second one is dropped.
    delayed = asyncopt.traces.constant(40, 1)
    dropping = asyncopt.replay(digits, optim.drop_stale(asyncopt.apam(0.01), 1), delayed, record_bounds=True)
    every_second = asyncopt.traces.Trace(np.arange(20), sample=np.arange(0, 40, 2))
    fresh = asyncopt.replay(digits, asyncopt.apam(0.01), every_second, record_bounds=True)
    np.testing.assert_allclose(dropping.params, fresh.params, rtol=1e-12, atol=1e-15)
    assert dropping.bound_terms is None  # the bounds are not about this method
    assert fresh.bound_terms is not None


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_what_is_missing_is_named(wrap):
    transform = wrap(optax.sgd(1.0))
    with pytest.raises(TypeError, match=r"needs (delay=|params and stale_params=)"):
        transform.update(jnp.ones(2), transform.init(jnp.ones(2)), jnp.ones(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda sgd: optim.scale_steps_by_delay(sgd, "linear"), r"rule is 'linear', expected one of \['inverse'"),
        (lambda sgd: optim.scale_steps_by_delay(sgd, "power", 0), "parameter is 0"),
        (lambda sgd: optim.scale_steps_by_delay(sgd, "threshold", 0.5), "parameter is 0.5"),
        (lambda sgd: optim.drop_stale(sgd, 0), "max_delay is 0"),
        (lambda sgd: optim.drop_stale(sgd, jnp.ones(())), "max_delay is an array"),
        (lambda sgd: optim.compensate_delay(sgd, -1), "strength is -1"),
        (lambda sgd: optim.compensate_delay(sgd, 1, 1.0), "decay is 1.0"),
        (lambda sgd: optim.buffer_updates(sgd, 0), "size is 0"),
        (lambda sgd: optim.buffer_updates(sgd, 2, -1), "exponent is -1"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(asyncopt.InputError, match=message):
        make(optax.sgd(1.0))
