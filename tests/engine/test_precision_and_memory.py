"""Parameters and history in a dtype of their own, and runs that memory cannot hold."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError
from asyncopt.engine import memory

TRACE = asyncopt.traces.uniform(60, 7)


@pytest.fixture(scope="module")
def problem():
    return asyncopt.problems.quadratic(6, 4.0, noise=1.0)


def test_a_history_in_bfloat16_is_that_of_a_plain_loop(problem):
    """Every gradient at the rounded iterate; the parameters themselves are not rounded."""
    result = asyncopt.replay(problem, optax.sgd(0.1), TRACE, history_dtype="bfloat16")
    key = jax.random.key(0)
    iterates = [np.asarray(problem.init(asyncopt.engine.init_key(key)))]
    for k, version in enumerate(TRACE.read_version):
        rounded = iterates[version].astype(jnp.bfloat16).astype(np.float64)
        gradient = jax.grad(problem.loss)(jnp.asarray(rounded), problem.sample(asyncopt.engine.batch_key(key, k)))
        iterates.append(iterates[-1] - 0.1 * np.asarray(gradient))
    np.testing.assert_allclose(result.params, iterates[-1], rtol=1e-12)
    exact = asyncopt.replay(problem, optax.sgd(0.1), TRACE)
    assert not np.allclose(result.params, exact.params, rtol=1e-6)


@pytest.mark.parametrize("seeds", [None, range(3)])
def test_parameters_in_bfloat16(problem, seeds):
    result = asyncopt.replay(
        problem, asyncopt.apam(0.05), asyncopt.traces.uniform(400, 7), seeds=seeds, param_dtype="bfloat16"
    )
    assert result.params.dtype == jnp.bfloat16
    assert result.average.dtype == jnp.float32
    assert result.optimizer_state.amsgrad.nu.dtype == jnp.float32  # else v would stop growing
    assert (np.ravel(result.gap[..., -1]) < 0.3 * np.ravel(result.gap[..., 0])).all()
    assert result.grad_norm_sq.dtype in (np.float32, np.float64)


def test_a_network_in_bfloat16():
    images = asyncopt.problems.data.digits_images()
    problem = asyncopt.problems.perceptron(images, width=0.3, objective_images=200)
    result = asyncopt.replay(
        problem, asyncopt.apam(3e-3, bias_correction=True), asyncopt.traces.uniform(300, 5), eval_every=300,
        record_bounds=False, param_dtype="bfloat16", history_dtype="float32",
    )  # fmt: skip
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(result.params))
    assert result.metrics["test_accuracy"][-1] > 0.7


@pytest.mark.parametrize("name", ["param_dtype", "history_dtype"])
@pytest.mark.parametrize("dtype", ["float16", "int32", "half of it"])
def test_refuses_other_dtypes(problem, name, dtype):
    with pytest.raises(InputError, match=f"{name} is '{dtype}', expected one of .'bfloat16', 'float32', 'float64'"):
        asyncopt.replay(problem, optax.sgd(0.1), TRACE, **{name: dtype})


def test_a_run_that_does_not_fit_is_refused_before_it_starts(problem, monkeypatch):
    started = []
    monkeypatch.setattr(memory, "available_bytes", lambda device: 10_000)
    monkeypatch.setattr(asyncopt.engine.runner.loop, "advance_many", lambda *arguments: started.append(arguments))
    slots = asyncopt.engine.plan(TRACE)
    with pytest.raises(InputError) as error:
        asyncopt.replay(problem, optax.sgd(0.1), TRACE, seeds=range(100))
    message = str(error.value)
    # Two copies of the history and what else a run carries, for each of a hundred runs of six numbers.
    least = 2 * 100 * (slots.capacity + 2) * 6 * 8
    needed = int(message.split("(")[1].split(" bytes")[0].replace(",", ""))
    assert least <= needed <= least + 2 * 100 * 100
    assert f"{slots.num_slots} live versions of 48 bytes each, in {slots.capacity} slots of float64" in message
    assert "10,000 bytes" in message
    assert not started


def test_available_memory_is_about_what_the_machine_has():
    found = memory.available_bytes(jax.local_devices()[0])
    assert found is None or 10**8 < found < 10**14
