"""Nesterov's chain, against the matrix written out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt.checks import InputError
from asyncopt.engine.draws import drawn_at_once
from asyncopt.problems import tridiagonal
from asyncopt.problems.tridiagonal import Tridiagonal


@pytest.mark.parametrize("dimension", [1, 2, 7, 65])
def test_against_the_matrix(dimension):
    problem = tridiagonal(dimension, noise=0.0)
    matrix = 0.25 * (2 * np.eye(dimension) - np.eye(dimension, k=1) - np.eye(dimension, k=-1))
    right = np.zeros(dimension)
    right[0] = -0.25
    x = np.random.default_rng(0).normal(size=dimension)
    np.testing.assert_allclose(problem.objective(jnp.asarray(x)), 0.5 * x @ matrix @ x - right @ x, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(problem.objective)(jnp.asarray(x)), matrix @ x - right, atol=1e-12)
    np.testing.assert_allclose(problem.minimiser, np.linalg.solve(matrix, right), rtol=1e-9)
    np.testing.assert_allclose(problem.optimum, -0.5 * right @ np.linalg.solve(matrix, right), rtol=1e-9)
    eigenvalues = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(problem.constants.smoothness, eigenvalues.max(), rtol=1e-9)
    np.testing.assert_allclose(problem.constants.strong_convexity, eigenvalues.min(), rtol=1e-9)
    np.testing.assert_allclose(problem.init(jax.random.key(0)), [np.sqrt(dimension)] + [0] * (dimension - 1))


def test_noise():
    problem = tridiagonal(500, noise=0.01)
    drawn = np.asarray(problem.sample(jax.random.key(3)))
    assert 0.008 < drawn.std() < 0.012
    noisy = jax.grad(problem.loss)(jnp.zeros(500), jnp.asarray(drawn))
    np.testing.assert_allclose(noisy - jax.grad(problem.objective)(jnp.zeros(500)), drawn, atol=1e-12)
    with pytest.raises(InputError, match="dimension is 0"):
        tridiagonal(0)


class OneAtATime(Tridiagonal):
    draws_ahead = False


def test_noise_is_drawn_ahead():
    """Many draws in one call are those of one call each; the last call is for fewer updates than it draws."""
    problem = tridiagonal(129)
    fields = {field.name: getattr(problem, field.name) for field in dataclasses.fields(problem)}
    trace = asyncopt.traces.constant(100, 3)
    ahead, one = (asyncopt.replay(p, optax.sgd(0.2), trace, eval_every=7) for p in (problem, OneAtATime(**fields)))
    np.testing.assert_allclose(ahead.objective, one.objective, rtol=1e-12)
    np.testing.assert_allclose(ahead.params, one.params, rtol=1e-12, atol=1e-15)
    assert drawn_at_once(problem, has_steps=False) == 64
    assert drawn_at_once(problem, has_steps=True) == drawn_at_once(OneAtATime(**fields), has_steps=False) == 1


def test_the_ringmaster_experiment_beside_numpy():
    """The first seconds of sweep=ringmaster: the gap of a plain loop of the same gradients."""
    i = np.arange(200)
    fixed, random = (1 + np.sqrt(i)).tolist(), asyncopt.traces.durations.half_normal(np.sqrt(i + 1).tolist())
    clock = asyncopt.traces.Clock(200, asyncopt.traces.durations.total(fixed, random), seed=1)
    problem = tridiagonal(129)
    for policy in (asyncopt.traces.policies.ringmaster(6), asyncopt.traces.policies.rennala(6)):
        trace = asyncopt.traces.simulate(policy, clock, until=60.0)
        run = asyncopt.replay(problem, optax.sgd(0.2), trace)
        iterates, total = [np.asarray(problem.init(None))], np.zeros(129)
        for k in range(trace.num_updates):
            y = iterates[trace.read_version[k]]
            key = asyncopt.engine.batch_key(jax.random.key(0), int(trace.sample[k]))
            gradient = 0.25 * (2 * y - np.append(y[1:], 0) - np.append(0, y[:-1])) + np.asarray(problem.sample(key))
            gradient[0] += 0.25
            total += trace.step_weight[k] * gradient
            iterates.append(iterates[-1] - 0.2 * total * trace.makes_step[k])
            total *= not trace.makes_step[k]
        x = iterates[-1]
        gap = 0.125 * (x[0] ** 2 + x[-1] ** 2 + np.sum(np.diff(x) ** 2)) + 0.25 * x[0] - problem.optimum
        np.testing.assert_allclose(run.gap[-1], gap, rtol=1e-10)
