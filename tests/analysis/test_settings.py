"""What tells runs apart: the names and words of settings, and what is a run's clock, method and surroundings."""

import numpy as np
import pandas as pd
import pytest

from asyncopt.analysis import settings
from asyncopt.files.records import Record

BOX = {"lower": -1.0}


def record(*, trace=None, label="cluster", optimizer=None, steps=(0, 5, 10), **config):
    """A run of two seeds on the simulated cluster."""
    known = {"optimizer": {"_target_": "sgd", "learning_rate": 0.1, **(optimizer or {})}}
    known["trace"] = {"num_workers": 4, **(trace or {})}
    frame = pd.DataFrame({"seed": np.repeat([0, 1], len(steps)), "step": [*steps, *steps]})
    return Record(known | config, frame, {"labels": {"trace": label, "method": "SGD"}})


def test_surroundings_have_the_constraint_once():
    """An optimizer's own constraint is the run's, unless it is another."""
    assert settings.surroundings(record(constraint=BOX, optimizer={"constraint": BOX})) == settings.surroundings(
        record(constraint=BOX)
    )
    other = settings.surroundings(record(constraint=BOX, optimizer={"constraint": {"lower": -2.0}}))
    assert other["optimizer.constraint.lower"] == -2.0
    assert (other["constraint.lower"], other["trace.num_updates"], other["evaluations"]) == (-1.0, 10, 3)


def test_the_clock_of_a_trace_that_says_nothing_is_that_of_the_cluster():
    said = {"compute": 2.0, "server": {"distribution": "exponential", "mean": 0.5}, "stragglers": 1, "num_workers": 8}
    clock = settings.clock({**said, "extra": {"a": 1}, "seed": 3})
    assert clock == {
        "compute.distribution": "constant", "compute.mean": 2.0, "compute.shape": None,
        "server.distribution": "exponential", "server.mean": 0.5, "server.shape": None,
        "network.distribution": "constant", "network.mean": 0.0, "network.shape": None,
        "stragglers": 1, "slowdown": 4.0, "extra.a": 1,
    }  # fmt: skip
    assert settings.clock({"stragglers": None}) == settings.clock({"stragglers": 0, "slowdown": 9.0, "compute": None})
    each = settings.clock({"compute": {"distribution": "gamma", "mean": [1, 2], "shape": 3}})
    assert (each["compute.mean"], each["compute.shape"]) == ([1.0, 2.0], 3)
    # What takes no time has no distribution and no shape.
    nothing = settings.clock({"network": {"distribution": "gamma", "mean": 0, "shape": 3}})
    assert nothing == settings.clock({"network": 0.0})


@pytest.mark.parametrize(("label", "kind"), [("cluster", "cluster"), ("rounds", "cluster"), ("recorded", "recorded")])
def test_rounds_are_of_the_same_cluster_as_other_traces(label, kind):
    assert settings.clock_of(record(label=label))["kind"] == kind
    assert settings.clock_of(record(label=label, trace={"policy": {}}))["kind"] == "policy"


def test_gradients_a_round_are_those_of_simulated_rounds_alone():
    """They are tuned, so they are no part of the method."""
    rounds = record(label="rounds", trace={"take": 3}, handling={"_target_": "mean", "size": 3})
    assert (settings.in_rounds(rounds), settings.taken(rounds)) == (True, 3)
    assert settings.taken(record(label="rounds")) == 4
    others = [record(trace={"take": 3}), record(label="rounds")]
    del others[1].config["trace"]["num_workers"]
    assert [settings.in_rounds(other) for other in others] == [False, False]
    assert [settings.taken(other) for other in others] == [None, None]
    method = settings.method(rounds)
    assert method == {
        "optimizer._target_": "sgd", "handling._target_": "mean", "rounds": True, "label": "SGD",
        "runtime": None, "work": None, "policy": None,
    }  # fmt: skip
    assert settings.method(record(handling={"_target_": "mean", "size": 3}))["handling.size"] == 3


def test_the_step_size_and_the_constraint_are_no_part_of_the_method():
    plain = settings.method(record())
    assert plain == settings.method(record(optimizer={"learning_rate": 9.0, "constraint": BOX}))
    assert settings.method(record(runtime={"threads": 2}))["runtime.threads"] == 2


@pytest.mark.parametrize(
    ("variants", "names"),
    [
        ([{"optimizer.b1": 0.5}], ["A"]),
        ([{"optimizer.b1": 0.5}, {"optimizer.b1": 0.9}], ["A (b1 = 0.5)", "A (b1 = 0.9)"]),
        ([{"x.eps": True}, {"x.eps": None}], ["A (eps = True)", "A (eps = None)"]),
        # Two that end the same keep their groups, as durations do.
        ([{"x.eps": 1, "y.eps": 1}, {"x.eps": 2, "y.eps": 2}], [f"A (x.eps = {n}, y.eps = {n})" for n in (1, 2)]),
        ([{"server.mean": 1.0}, {"server.mean": 2e-9}], ["A (server mean = 1)", "A (server mean = 2e-09)"]),
        ([{"a.b.c": 1, "same": 3}, {"a.b.c": 2, "same": 3}], ["A (c = 1)", "A (c = 2)"]),
    ],
)
def test_names_say_what_differs(variants, names):
    found = settings.names([*(("A", parts) for parts in variants), ("B", {"optimizer.b1": 0.1})])
    assert list(found.values()) == [*names, "B"]
    assert [found[settings.key(parts)] for parts in variants] == names


def test_differences_are_in_order_and_in_words():
    differing = settings.differences({"b": 1, "a": True, "same": 2}, {"a": None, "c": "x", "same": 2})
    assert settings.in_words(differing) == "a: True, not None; b: 1, not None; c: None, not x"


def test_a_clock_is_random_if_a_duration_is():
    steady = settings.clock({"compute": 1.0})
    assert not settings.is_random(steady)
    assert settings.is_random(steady | {"network.distribution": "gamma"})
