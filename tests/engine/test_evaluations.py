"""How often a run is evaluated: by counts of operations, which are the same on every machine."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, traces
from asyncopt.engine.operations import evaluation_cost, operations
from asyncopt.engine.prepare import evaluation_steps


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float64)


def test_counts_by_hand():
    assert operations(lambda a, b: a @ b, shape(3, 5), shape(5, 7)) == 3 * 5 * 7 / 8
    assert operations(lambda x: x + x, shape(4, 5)) == 20
    assert operations(jnp.exp, shape(10)) == 80
    assert operations(lambda x: jax.lax.scan(lambda s, _: (s + s, None), x, None, 6)[0], shape(4)) == 24
    assert operations(jnp.sum, shape(9)) == 9
    assert operations(lambda x, y: x @ y, shape(16), shape(16)) == 2
    assert operations(lambda x, a: (a + a) * x, shape(4), shape()) == 4
    image, kernel = shape(1, 2, 8, 8), shape(4, 2, 3, 3)
    count = operations(lambda x, w: jax.lax.conv(x, w, (1, 1), "VALID"), image, kernel)
    assert count == 4 * 6 * 6 * (2 * 3 * 3) / 8


def test_an_evaluation_of_more_rows_costs_more(digits):
    optimizer, start = asyncopt.apam(0.1), digits.init(jax.random.key(0))
    cost = evaluation_cost(digits, optimizer, start, average=True)
    # 1,437 rows for F and its gradient and F again, against 32 for a gradient, and what the optimizer does.
    assert 5 < cost < 1437 / 32 * 5 / 3
    assert evaluation_cost(digits, optimizer, start, average=False) < cost


def test_step_sizes_that_are_inputs_cost_nothing():
    problem = asyncopt.problems.quadratic(3)
    start = problem.init(jax.random.key(0))
    costs = {
        evaluation_cost(problem, make(learning_rate=0.1), start, average=True)
        for make in (asyncopt.apam, functools.partial(asyncopt.optim.parametric, asyncopt.apam))
    }
    assert len(costs) == 1


def test_an_optimizer_is_told_the_delays_of_leaves_only_where_a_run_tells_it():
    def update(updates, state, params=None, *, delay, stale_params, worker):
        return jax.tree.map(lambda gradient: -0.1 * gradient, updates), state

    strict = optax.GradientTransformationExtraArgs(lambda params: (), update)
    result = asyncopt.replay(asyncopt.problems.quadratic(3), strict, asyncopt.traces.constant(9, 1))
    assert result.objective[-1] < result.objective[0]


@pytest.mark.parametrize("num_updates", [1, 2, 7, 100, 949, 20_000, 3_000_000])
@pytest.mark.parametrize("cost", [0.01, 1.0, 22.0, 63.0, 400.0])
def test_evaluations_take_at_most_a_fifth(num_updates, cost):
    steps = evaluation_steps(num_updates, None, lambda: cost)
    assert steps[0] == 0
    assert steps[-1] == num_updates
    assert np.all(np.diff(steps) > 0)
    between = len(steps) - 2  # start and end are evaluated in any case
    assert between * cost <= 0.2 * (num_updates + between * cost) + 1e-9
    dense = evaluation_steps(num_updates, "percent", lambda: cost)
    assert len(steps) <= len(dense)
    if cost < 0.1 and num_updates >= 100:
        np.testing.assert_array_equal(steps, dense)


def test_a_curve_begins_with_early_points():
    steps = evaluation_steps(20_000, None, lambda: 22.0)
    assert 20 < len(steps) < 26
    assert steps[1] == 1
    assert np.sum(steps < 1200) > 5


def test_a_number_of_updates_and_percent():
    np.testing.assert_array_equal(evaluation_steps(10, 4, pytest.fail), [0, 4, 8, 10])
    steps = evaluation_steps(1_000, "percent", pytest.fail)
    assert set(range(0, 1_001, 10)) <= set(steps.tolist())
    assert {1, 2, 3, 4, 5, 6, 7, 8} <= set(steps.tolist())
    with pytest.raises(InputError, match="eval_every is 'often', expected a number of updates, or percent"):
        evaluation_steps(10, "often", pytest.fail)


def test_seconds_of_evaluations(digits):
    """Of real clocks no more can be said; `test_drive.py` has one that can be trusted."""
    trace, optimizer = traces.uniform(300, 5), asyncopt.apam(0.1)
    for arguments in ({}, {"seeds": [0, 1]}, {"exact": True}):
        result = asyncopt.replay(digits, optimizer, trace, eval_every=1, **arguments)
        assert 0 <= result.evaluation_seconds <= result.seconds
    # Here each evaluation is timed by itself.
    often, seldom = (asyncopt.replay(digits, optimizer, trace, eval_every=e, exact=True) for e in (1, 300))
    assert 0 < seldom.evaluation_seconds < often.evaluation_seconds <= often.seconds


@pytest.mark.optimised
def test_without_an_average(digits):
    trace, optimizer = traces.uniform(100, 5), asyncopt.apam(0.1)
    for arguments in ({}, {"seeds": [0, 1]}, {"exact": True}):
        both = [
            asyncopt.replay(digits, optimizer, trace, eval_every=50, average=average, **arguments)
            for average in (True, False)
        ]
        np.testing.assert_array_equal(both[0].params, both[1].params)
        np.testing.assert_array_equal(both[0].objective, both[1].objective)
        assert both[1].average is None
        assert both[1].average_objective is None
        assert both[1].average_gap is None
