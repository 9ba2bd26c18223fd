"""A function of the user's that sees each evaluation as it comes: it gets what the result has, in this order."""

import jax
import numpy as np
import pytest

import asyncopt
from asyncopt import InputError, engine, traces

QUADRATIC = asyncopt.problems.quadratic(6, 4.0, noise=0.5)
TRACE = traces.uniform(90, 5)


def watched(**arguments):
    """A result, and what a function was told during the run."""
    told = []
    result = asyncopt.replay(
        QUADRATIC, asyncopt.apam(0.1), TRACE, on_evaluation=lambda *now: told.append(now), **arguments
    )
    return result, told


@pytest.mark.parametrize("seeds", [None, 3])
@pytest.mark.parametrize("settings", [{}, {"average": False}, {"record_bounds": True}])
def test_it_gets_what_the_result_has(seeds, settings):
    result, told = watched(seeds=seeds, eval_every=20, **settings)
    assert [step for step, _ in told] == result.step.tolist() == [0, 20, 40, 60, 80, 90]
    frame = result.to_frame()
    assert set(told[0][1]) == set(frame.columns) - {"seed", "step"}
    for step, values in told:
        rows = frame[frame["step"] == step]
        for name, value in values.items():
            assert isinstance(value, float) if seeds is None else value.shape == (3,)
            np.testing.assert_array_equal(value, rows[name] if seeds else rows[name].item())


def test_watching_changes_nothing():
    alone = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), TRACE, eval_every=20)
    result, _ = watched(eval_every=20)
    np.testing.assert_array_equal(alone.gap, result.gap)
    assert all(map(np.array_equal, jax.tree.leaves(alone.params), jax.tree.leaves(result.params)))


def test_it_may_end_the_run():
    def enough(step, values):
        if step >= 40:
            raise StopIteration(f"at {step}")

    with pytest.raises(StopIteration, match="at 40"):
        asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), TRACE, eval_every=20, on_evaluation=enough)


@pytest.mark.parametrize("stop", [0, 40, 90])
def test_a_resumed_run_tells_what_has_not_been_told(stop, tmp_path):
    """After 40 also 60, which the interrupted run had evaluated in the same call of the loop."""
    path, told = tmp_path / "run.npz", []

    def interrupted(step, values):
        told.append(step)
        if step >= stop:
            raise KeyboardInterrupt

    arguments = (QUADRATIC, asyncopt.apam(0.1), TRACE)
    for watch in (interrupted, lambda step, values: told.append(step)):
        checkpoint = engine.Checkpoint(path, "a run", 0.0)
        try:
            result = asyncopt.replay(*arguments, eval_every=20, checkpoint=checkpoint, on_evaluation=watch)
        except KeyboardInterrupt:
            continue
    assert told == list(result.step) == [0, 20, 40, 60, 80, 90]


def test_not_while_a_recording_is_replayed_exactly():
    with pytest.raises(InputError, match=r"exact is for one seed, .* on_evaluation and work"):
        watched(exact=True)


def test_it_must_be_a_function():
    with pytest.raises(InputError, match="on_evaluation is 3, expected a function"):
        asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), TRACE, on_evaluation=3)
