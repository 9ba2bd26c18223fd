"""`scale_steps_by_stage` and the delay of each leaf: against the formula, and what `update` is told."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import optim
from asyncopt.optim._shared import known_leaf_delays

PARAMS = {"first": jnp.ones(3), "middle": [jnp.ones((2, 2)), None], "last": jnp.ones(())}
DELAYS = {"first": 7, "middle": [jnp.int32(3), None], "last": 0}


def test_each_leaf_has_the_paper_s_factor():
    annealing = 5
    transform = optim.scale_steps_by_stage(optax.sgd(0.5), annealing)
    state = transform.init(PARAMS)
    for k in range(8):
        steps, state = transform.update(PARAMS, state, PARAMS, delay=7, leaf_delay=DELAYS)
        power = 1 - min(k / annealing, 1)
        np.testing.assert_allclose(steps["first"], np.full(3, -0.5 * 7**-power), rtol=1e-12)
        np.testing.assert_allclose(steps["middle"][0], np.full((2, 2), -0.5 * 3**-power), rtol=1e-12)
        np.testing.assert_array_equal(steps["last"], -0.5)
        assert steps["middle"][1] is None


def test_without_delays_of_leaves_each_has_the_delay():
    transform = optim.scale_steps_by_stage(optax.sgd(1.0), 10)
    steps, _ = transform.update(PARAMS, transform.init(PARAMS), PARAMS, delay=4)
    jax.tree.map(lambda step: np.testing.assert_array_equal(step, jnp.full_like(step, -0.25)), steps)


def test_a_masked_leaf_needs_no_delay_of_its_own():
    mask = {"first": True, "middle": False, "last": True}
    transform = optax.masked(optim.scale_steps_by_stage(optax.sgd(1.0), 10), mask)
    steps, _ = transform.update(PARAMS, transform.init(PARAMS), PARAMS, delay=7, leaf_delay=DELAYS)
    np.testing.assert_allclose(steps["first"], np.full(3, -1 / 7))
    np.testing.assert_array_equal(steps["middle"][0], PARAMS["middle"][0])


def test_the_optimizer_inside_is_told_the_same():
    told = {}

    def update(updates, state, params=None, **extra_args):
        told.update(extra_args)
        return updates, state

    inner = optax.GradientTransformationExtraArgs(lambda params: (), update)
    transform = optim.scale_steps_by_stage(optim.scale_steps_by_stage(inner))
    transform.update(PARAMS, transform.init(PARAMS), PARAMS, delay=7, leaf_delay=DELAYS, worker=2)
    assert told == {"delay": 7, "leaf_delay": DELAYS, "worker": 2}


@pytest.mark.parametrize(
    ("leaf_delay", "words"),
    [
        ({"first": 7}, "leaf_delay is .*expected one delay for each leaf of"),
        (3, "leaf_delay is .*expected one delay for each leaf of"),
        (DELAYS | {"first": jnp.zeros(3, int)}, "a leaf of leaf_delay is .*expected an integer without an axis"),
        (DELAYS | {"first": {"w": 1}}, "a leaf of leaf_delay is .*expected an integer without an axis"),
        (DELAYS | {"first": None}, "a leaf of leaf_delay is None, expected an integer without an axis"),
    ],
)
def test_other_delays_of_leaves_are_refused(leaf_delay, words):
    with pytest.raises(asyncopt.InputError, match=f"scale_steps: {words}"):
        known_leaf_delays(7, leaf_delay, PARAMS, "scale_steps")


def test_a_delay_is_needed():
    with pytest.raises(TypeError, match="scale_steps_by_stage needs delay="):
        optim.scale_steps_by_stage(optax.sgd(1.0)).update(
            PARAMS, optim.scale_steps_by_stage(optax.sgd(1.0)).init(PARAMS)
        )


@pytest.mark.parametrize("wrapper", [optim.scale_steps_by_stage, optim.rotate_basis])
def test_what_is_wrapped_is_an_optimizer(wrapper):
    with pytest.raises(asyncopt.InputError, match=r"inner is None, expected an optax\.GradientTransformation"):
        wrapper(None)
