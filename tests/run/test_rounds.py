"""Synchronous rounds that take the first gradients, as ``python -m asyncopt`` sets them."""

import hydra
import pytest

from asyncopt import InputError
from asyncopt.run import task
from asyncopt.run.command_line import CONFIG_FOLDER


def prepared(*overrides):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return task.prepare(hydra.compose("config", ["trace.num_updates=64", *overrides]))


@pytest.mark.parametrize(
    ("method", "sizes"),
    [
        ("synchronous_amsgrad", [1, 2, 8, 32]),
        ("synchronous_amsgrad_half", [1, 1, 4, 16]),
        ("synchronous_amsgrad_eighth", [1, 1, 1, 4]),
        ("synchronous_amsgrad_first", [1, 1, 1, 1]),
    ],
)
def test_the_optimizer_steps_once_a_round(method, sizes):
    for workers, size in zip((1, 2, 8, 32), sizes, strict=True):
        made = prepared(f"+method={method}", f"trace.num_workers={workers}")
        assert made.settings["handling"]["size"] == size
        rounds = made.trace.time[size - 1 :: size]
        assert len(set(made.trace.time)) == len(rounds) == 64 // size
        assert made.trace.num_workers == workers


def test_more_gradients_than_workers_are_refused():
    with pytest.raises(InputError, match=r"trace: take is 9, expected a whole number of gradients from 1 to .*, 8"):
        prepared("+method=synchronous_amsgrad", "trace.num_workers=8", "trace.take=9")


def test_an_optimizer_that_does_not_step_once_a_round_is_refused():
    with pytest.raises(InputError, match=r"expected \+handling=buffer_updates handling.size=4 handling.exponent=0"):
        prepared("+method=synchronous_amsgrad", "trace.num_workers=8", "trace.take=4", "handling.size=8")
