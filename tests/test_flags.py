"""What is true or false is nothing else: a number in its place is a mistake."""

import pytest

import asyncopt
from asyncopt import InputError, runtime, traces
from asyncopt.problems import data, nonconvex_logistic, robust_regression

QUADRATIC = asyncopt.problems.quadratic(3)
TRACE = traces.synchronous(3)
# `logistic` is checked by beartype here, which speaks first.
CALLS = {
    "bias_correction": lambda value: asyncopt.apam(0.1, bias_correction=value),
    "intercept, non-convex": lambda value: nonconvex_logistic("digits", intercept=value),
    "intercept, regression": lambda value: robust_regression("diabetes", intercept=value),
    "dense": lambda value: data.libsvm("nowhere.svm", dense=value),
    "augment": lambda value: asyncopt.problems.perceptron(data.digits_images(), augment=value),
    "average": lambda value: asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), TRACE, average=value),
    "exact": lambda value: asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), TRACE, exact=value),
    "synchronous": lambda value: runtime.record(
        QUADRATIC, asyncopt.apam(0.1), runtime.Threads(2), num_updates=4, synchronous=value
    ),
}


@pytest.mark.parametrize("value", [1, 999999999999, "false", None, [True]])
@pytest.mark.parametrize("name", CALLS)
def test_refuses_what_is_neither(name, value):
    with pytest.raises(InputError, match=rf"^{name.partition(',')[0]} is .*, expected true or false$"):
        CALLS[name](value)
