"""What `asyncopt.replay` refuses, and odd forms of arguments that it takes."""

import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, traces


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"seed": -1}, InputError, "seed is -1, expected an integer of at least 0"),
        ({"seed": 2**32}, InputError, "seed is 4294967296, expected at most"),
        ({"seed": 0.5}, InputError, "seed is 0.5"),
        ({"seeds": []}, InputError, "seeds is empty"),
        ({"seeds": [0, 0, 1]}, InputError, "seeds has 0 2 times, expected each once"),
        ({"eval_every": 0}, InputError, "eval_every is 0, expected an integer of at least 1"),
        ({"trace": [0, 1]}, TypeError, r"trace is \[0, 1\], expected an asyncopt.traces.Trace"),
        ({"optimizer": 0.1}, TypeError, "optimizer is 0.1, expected an optax.GradientTransformation"),
        ({"problem": "digits"}, TypeError, "problem is 'digits', expected .* it has no"),
        (
            {"optimizer": asyncopt.apam(0.1, constraint=asyncopt.Box(1.0, 2.0))},
            InputError,
            "the start is outside the constraint Box",
        ),
    ],
)
def test_refuses(digits, arguments, error, message):
    good = {"problem": digits, "optimizer": asyncopt.apam(0.1), "trace": traces.synchronous(5)}
    with pytest.raises(error, match=message):
        asyncopt.replay(**(good | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seeds": 20_240_101}, r"seeds is 20240101, so many seeds, .* one seed is \[20240101\]"),
        ({"checkpoint": "run.npz"}, r"checkpoint is 'run\.npz', expected asyncopt\.engine\.Checkpoint"),
        ({"probes": None}, "probes is None, expected a list"),
    ],
)
def test_arguments_in_another_place(arguments, message):
    with pytest.raises(InputError, match=message):
        asyncopt.replay(asyncopt.problems.quadratic(3), optax.sgd(0.1), traces.constant(9, 1), **arguments)


def test_flags_and_numbers_of_numpy():
    problem, trace = asyncopt.problems.quadratic(3), traces.cluster(9, 2)
    one = asyncopt.replay(problem, optax.sgd(0.1), trace, average=False, eval_every=9)
    other = asyncopt.replay(problem, optax.sgd(0.1), trace, average=np.False_, eval_every=10**30)
    np.testing.assert_array_equal(one.objective, other.objective)
    assert other.time.tolist() == [0.0, trace.time[-1]]
