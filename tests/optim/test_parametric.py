"""Optimizers whose numbers are inputs of a program: the same steps, one compilation."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError
from asyncopt.optim import parametric, step_size

MAKE = {
    "apam": (asyncopt.apam, {"learning_rate": 0.1, "b1": 0.8, "eps": 1e-3}),
    "apam in a box": (asyncopt.apam, {"learning_rate": 0.1, "constraint": asyncopt.Box(-0.5, 1.5)}),
    "apam in a ball": (asyncopt.apam, {"learning_rate": 0.1, "constraint": asyncopt.L2Ball(1.8)}),
    "apam, decreasing": (asyncopt.apam, {"learning_rate": step_size("inverse_sqrt", 0.1, 10)}),
    "momentum": (optax.sgd, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    "adamw": (optax.adamw, {"learning_rate": 0.1, "weight_decay": 0.01}),
}


def path(optimizer, dtype):
    params = {"w": jnp.ones(3, dtype), "b": jnp.zeros((), dtype)}
    state, seen = optimizer.init(params), []
    update = jax.jit(optimizer.update)
    for k in range(5):
        updates, state = update(jax.tree.map(lambda p, k=k: jnp.cos(p + k), params), state, params)
        params = optax.apply_updates(params, updates)
        seen.append(params["w"])
    return jnp.stack(seen), state


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("make", "settings"), MAKE.values(), ids=MAKE)
def test_makes_the_same_steps_in_the_same_dtypes(make, settings, dtype):
    expected, expected_state = path(make(**settings), dtype)
    found, state = path(parametric(make, **settings), dtype)
    tolerance = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 0.02}[expected.dtype.name]
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=tolerance)
    assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, expected_state)


def test_refuses_what_the_optimizer_refuses():
    with pytest.raises(InputError, match=r"eps is -1\.0"):
        parametric(asyncopt.apam, learning_rate=0.1, eps=-1.0)


@pytest.mark.parametrize("seeds", [{"seed": 0}, {"seeds": range(2)}], ids=["one", "several"])
def test_a_sweep_over_steps_and_delays_compiles_the_loop_once(caplog, seeds):
    problem = asyncopt.problems.quadratic(3, 4.0, noise=1.0)
    ends = []
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        for rate in (0.1, 0.2, 0.4):
            for delay in (5, 6):
                optimizer = parametric(asyncopt.apam, learning_rate=rate, b1=1 - rate)
                ends.append(asyncopt.replay(problem, optimizer, asyncopt.traces.constant(200, delay), **seeds).gap)
    loop = "Finished XLA compilation of jit(advance_"
    assert len([message for message in caplog.messages if message.startswith(loop)]) == 1
    assert len({tuple(gap.ravel()) for gap in ends}) == 6
    plain = asyncopt.replay(problem, asyncopt.apam(0.4, b1=0.6), asyncopt.traces.constant(200, 6), **seeds)
    np.testing.assert_allclose(ends[-1], plain.gap, rtol=1e-9)
