"""A sweep in one call: each row is that of a replay alone, and what cannot be swept is refused."""

import math

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, traces

QUADRATIC = asyncopt.problems.quadratic(6, 4.0, noise=0.5)
STEPS, DELAYS = [0.05, 0.2], [0, 3, 9]


def uniform(delay):
    return traces.uniform(80, delay)


@pytest.mark.parametrize(
    "make", [asyncopt.apam, optax.adam, lambda learning_rate: optax.sgd(learning_rate, momentum=0.5)]
)
def test_each_cell_is_a_replay(make):
    table = asyncopt.sweep(QUADRATIC, make, uniform, learning_rate=STEPS, delay=DELAYS, seeds=2)
    assert table.groupby(["optimizer.learning_rate", "trace.delay"]).ngroups == 6
    assert table["run"].nunique() == 6
    for (step, delay), rows in table.groupby(["optimizer.learning_rate", "trace.delay"]):
        alone = asyncopt.replay(QUADRATIC, make(step), uniform(delay), seeds=2, eval_every="percent").to_frame()
        assert rows[["seed", "step"]].to_numpy().tolist() == alone[["seed", "step"]].to_numpy().tolist()
        for name in ("gap", "grad_norm_sq", "average_gap", "drift"):
            np.testing.assert_allclose(rows[name], alone[name], rtol=1e-9, atol=1e-12)
        assert rows["summary.trace.mean_delay"].unique().tolist() == [uniform(delay).mean_delay]
        assert (rows["summary.diverged_at"] == -1).all()


def test_workers_may_make_local_steps():
    work, trace = asyncopt.engine.local_steps(optax.sgd(0.05), 4), uniform(3)
    table = asyncopt.sweep(QUADRATIC, optax.sgd, trace, learning_rate=STEPS, work=work)
    for step, rows in table.groupby("optimizer.learning_rate"):
        alone = asyncopt.replay(QUADRATIC, optax.sgd(step), trace, seeds=1, eval_every="percent", work=work).to_frame()
        np.testing.assert_allclose(rows["gap"], alone["gap"], rtol=1e-9, atol=1e-12)


def test_step_sizes_may_be_arrays():
    listed, arrays = (
        asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform, learning_rate=STEPS, delay=range(2)),
        asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform, learning_rate=jnp.array(STEPS), delay=np.arange(2)),
    )
    np.testing.assert_array_equal(listed.to_numpy(), arrays.to_numpy())


def test_one_axis_alone():
    steps = asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform(3), learning_rate=STEPS)
    assert "trace.delay" not in steps
    delays = asyncopt.sweep(QUADRATIC, asyncopt.apam(0.1), uniform, delay=DELAYS, seeds=[3, 5])
    assert "optimizer.learning_rate" not in delays
    assert sorted(delays["seed"].unique()) == [3, 5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"learning_rate": None, "delay": None, "optimizer": asyncopt.apam(0.1), "trace": uniform(3)},
            "nothing is swept",
        ),
        ({"learning_rate": None}, r"optimizer is .*, expected a GradientTransformation, or learning_rate=\[...\]"),
        ({"optimizer": asyncopt.apam(0.1)}, "expected a function of learning_rate"),
        ({"trace": uniform(3)}, "trace is .*, expected a function of delay"),
        ({"learning_rate": []}, "learning_rate is empty"),
        ({"learning_rate": [0.1, -1.0]}, "learning_rate is -1.0"),
        ({"delay": [1, -2]}, "max_delay is -2"),
        (
            {"trace": lambda delay: traces.uniform(10 + delay, 2)},
            "trace made 10 updates of delay 0 and 13 of 3, expected one number",
        ),
        ({"trace": lambda delay: delay}, "trace made 0 of delay 0, expected a Trace"),
        ({"learning_rate": 0.1}, r"learning_rate is 0.1, expected a list: learning_rate=\[0.1\]"),
        ({"learning_rate": np.array(0.1)}, "learning_rate is array.0.1., expected a list"),
        ({"learning_rate": [0.1, 0.1]}, "learning_rate has 0.1 2 times"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1', expected a list"),
        ({"delay": 3}, r"delay is 3, expected a list: delay=\[3\]"),
        ({"delay": [3, 3]}, "delay has 3 2 times"),
        ({"learning_rate": [1, 1.0]}, "learning_rate has 1 2 times"),
        ({"optimizer": lambda learning_rate: optax.sgd(math.sqrt(learning_rate))}, "learning_rate as a Python number"),
        ({"delay": [3, None]}, "delay has None, expected numbers or texts"),
        ({"delay": [[0, 1]]}, r"delay has \[0, 1\], expected numbers or texts"),
        ({"optimizer": lambda rate: optax.sgd(rate)}, "expected a function that takes learning_rate=...: missing"),
        ({"optimizer": lambda learning_rate: None}, "optimizer made None of learning_rate 0.05"),
        ({"trace": lambda: uniform(3)}, "expected a function that takes a delay: too many"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": [1, 1]}, "seeds has 1 2 times"),
        ({"seeds": "01"}, "seeds is '01'"),
        ({"progress": "no"}, "progress is 'no', expected true or false"),
    ],
)
def test_what_cannot_be_swept(changed, message):
    arguments = {"optimizer": asyncopt.apam, "trace": uniform, "learning_rate": STEPS, "delay": DELAYS} | changed
    with pytest.raises(InputError, match=message):
        asyncopt.sweep(QUADRATIC, arguments.pop("optimizer"), arguments.pop("trace"), **arguments)


def test_a_number_of_seeds_is_those_from_0():
    several = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3), seeds=3)
    listed = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3), seeds=range(3))
    np.testing.assert_array_equal(several.gap, listed.gap)
