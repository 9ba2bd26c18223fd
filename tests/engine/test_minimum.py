"""F below its minimum is an error: of a run that leaves the constraint, or of a wrong minimum."""

import dataclasses

import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, runtime, traces
from asyncopt.engine import Run, Settings, replay_batch
from asyncopt.optim import Box
from asyncopt.runtime import Threads

SIDE = 0.05


@pytest.fixture(scope="module")
def boxed():
    return asyncopt.problems.logistic("digits", constraint=Box(-SIDE, SIDE))


@pytest.mark.parametrize("more", [{"seed": 1}, {"seeds": [1, 2]}, {"exact": True}])
def test_an_optimizer_that_leaves_the_constraint_is_named_with_it(boxed, more):
    with pytest.raises(InputError, match=r"\(gap -.*outside the problem's constraint Box\(lower=-0.05, upper=0.05\)"):
        asyncopt.replay(boxed, optax.adam(1e-2), traces.uniform(300, 3), eval_every=50, **more)


def test_an_optimizer_that_keeps_to_it_is_not(boxed):
    optimizer = asyncopt.apam(1e-2, constraint=Box(-SIDE, SIDE))
    run = asyncopt.replay(boxed, optimizer, traces.uniform(300, 3), eval_every=50)
    assert np.all(run.gap > 0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_bounds_rounded_to_the_parameters_dtype_are_not_left(dtype):
    box = Box(-SIDE, SIDE)
    problem = asyncopt.problems.logistic("breast_cancer", constraint=box)
    optimizer, trace = asyncopt.apam(1e-2, constraint=box), traces.synchronous(2000)
    run = asyncopt.replay(problem, optimizer, trace, param_dtype=dtype, average=False, eval_every=500)
    assert np.min(run.gap) < 1e-3  # close to F*, where rounding shows


def test_a_wrong_minimum_is_named():
    problem = asyncopt.problems.quadratic(10)
    wrong = dataclasses.replace(problem, optimum=2.0)
    with pytest.raises(InputError, match=r"expected problem\.optimum to be the minimum, or None"):
        asyncopt.replay(wrong, asyncopt.apam(1e-2), traces.uniform(200, 2))


def test_a_real_run_stops_too(boxed):
    with pytest.raises(InputError, match="outside the problem's constraint"):
        runtime.record(boxed, optax.adam(1e-2), Threads(2), num_updates=300, eval_every=50)


def test_of_several_jobs_one_that_is_wrong_does_not_end_the_others(boxed):
    optimizer = optax.adam(1e-2)
    runs = [Run(boxed, optimizer, traces.uniform(200, 3, seed=seed), [0]) for seed in (0, 1)]
    results = replay_batch(runs, Settings(eval_every=100))
    assert all(result.gap.min() < 0 for result in results)


@pytest.mark.parametrize("more", [{"seed": 3}, {"seeds": [3]}])
def test_a_run_that_learns_nothing_is_said(more):
    """On a quadratic of curvature up to 1, steps of 3 multiply a coordinate by up to -2."""
    problem = asyncopt.problems.quadratic(10)
    with pytest.warns(UserWarning, match=r"more than 1000 times as much as at the start \(seeds 3\); is the step"):
        asyncopt.replay(problem, optax.sgd(3.0), traces.synchronous(12), **more)
