"""A run that was stopped goes on to the same bits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import traces
from asyncopt.engine import Checkpoint, drive, runner

TRACE = traces.uniform(300, 12, seed=3)
OPTIMIZERS = {
    "apam": asyncopt.apam(0.02),
    "noise": optax.chain(optax.add_noise(0.1, 0.55, jax.random.key(7)), optax.sgd(0.01)),  # keeps a key
}


class StoppedError(Exception):
    """A process that ends without a word, seen from inside."""


@pytest.fixture
def problem():
    return asyncopt.problems.quadratic(4, 5.0, noise=1.0)


@pytest.fixture
def stop_after(monkeypatch):
    """Lets a run end with an error once so many updates are made, in calls of few updates each."""
    monkeypatch.setattr(drive, "_CALL_SECONDS", 0.0)

    def arrange(updates, error):
        made = []

        class Reporter:
            def __enter__(self):
                return self.report

            def __exit__(self, *_):
                return None

            def report(self, number, evaluation_share):
                made.append(number)
                if sum(made) >= updates:
                    raise error

        monkeypatch.setattr(runner.progress_bar, "reporter", lambda *_: Reporter())
        return made

    yield arrange
    monkeypatch.undo()


def assert_same_bits(one, other):
    fields = (
        "params",
        "average",
        "optimizer_state",
        "objective",
        "grad_norm_sq",
        "drift",
        "bound_terms",
        "diverged_at",
    )
    for field in fields:
        for a, b in zip(*(jax.tree.leaves(getattr(result, field)) for result in (one, other)), strict=True):
            a, b = (jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in (a, b))
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.optimised
@pytest.mark.parametrize("seeds", [None, [0, 1, 2]])
@pytest.mark.parametrize(("name", "history_dtype"), [("apam", "bfloat16"), ("noise", None)])
def test_interrupted_anywhere(tmp_path, problem, name, history_dtype, seeds, stop_after):
    optimizer = OPTIMIZERS[name]
    settings = {"seeds": seeds, "history_dtype": history_dtype, "eval_every": 25, "record_bounds": True}
    whole = asyncopt.replay(problem, optimizer, TRACE, **settings)
    kept = Checkpoint(tmp_path / "checkpoint.npz", "this run", every=1e9)
    for updates in (1, 150, 200):
        made = stop_after(updates, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            asyncopt.replay(problem, optimizer, TRACE, **settings, checkpoint=kept)
        assert sum(made) < 300
    made = stop_after(10_000, KeyboardInterrupt)
    assert_same_bits(asyncopt.replay(problem, optimizer, TRACE, **settings, checkpoint=kept), whole)
    assert made[0] >= 200  # went on from there
    assert sum(made) == 300


def test_killed_after_a_checkpoint(tmp_path, problem, stop_after):
    settings = {"record_bounds": True, "eval_every": "percent"}
    whole = asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, **settings)
    kept = Checkpoint(tmp_path / "checkpoint.npz", "this run", every=0.0)
    stop_after(170, StoppedError)
    with pytest.raises(StoppedError):
        asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, **settings, checkpoint=kept)
    made = stop_after(10_000, StoppedError)
    assert_same_bits(asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, **settings, checkpoint=kept), whole)
    assert made[0] > 130


@pytest.mark.parametrize("other", ["another run", "this run"])
def test_only_what_is_of_this_run_is_read(tmp_path, problem, stop_after, other):
    """Another tag; or the same, which its user was wrong to give, on arrays of other shapes."""
    path = tmp_path / "checkpoint.npz"
    stop_after(170, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, checkpoint=Checkpoint(path, other, every=1e9))
    seeds = None if other == "another run" else [0]
    made = stop_after(10_000, KeyboardInterrupt)
    kept = Checkpoint(path, "this run", every=1e9)
    found = asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, seeds=seeds, checkpoint=kept)
    assert made[0] == 1
    assert_same_bits(found, asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, seeds=seeds))


@pytest.mark.parametrize("size", [0, 10, 700])
def test_a_damaged_file_is_named_and_the_run_starts_over(tmp_path, problem, stop_after, size):
    path = tmp_path / "checkpoint.npz"
    stop_after(170, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, checkpoint=Checkpoint(path, "this run", every=1e9))
    path.write_bytes(path.read_bytes()[:size])
    made = stop_after(10_000, KeyboardInterrupt)
    with pytest.warns(UserWarning, match=r"checkpoint\.npz: not a readable .*; the run starts over"):
        asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, checkpoint=Checkpoint(path, "this run", every=1e9))
    assert made[0] == 1


def test_a_disk_that_takes_no_checkpoint_costs_a_warning(tmp_path, problem):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.warns(UserWarning, match="no checkpoint was written"):
        found = asyncopt.replay(
            problem, OPTIMIZERS["apam"], TRACE, checkpoint=Checkpoint(blocked / "checkpoint.npz", "this run", every=0.0)
        )
    assert_same_bits(found, asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE))


def test_progress_does_not_wait_for_evaluations(problem, stop_after):
    made = stop_after(10_000, KeyboardInterrupt)
    result = asyncopt.replay(problem, OPTIMIZERS["apam"], TRACE, eval_every=300)
    assert len(result.step) == 2
    assert len(made) > 10
    assert sum(made) == 300
