"""The compiled machine of long simulations, against the one in Python."""

import sys

import numpy as np
import pytest

from asyncopt import InputError
from asyncopt.traces import Clock, compiled_machine, durations, policies, simulate
from asyncopt.traces.compiled_machine import CompiledMachine
from tests.traces.test_policies_against_loops import (
    KINDS,
    NUM_CLOCKS,
    POLICIES,
    AssignedByChance,
    ByChance,
    random_clock,
)

SIMULATION = sys.modules["asyncopt.traces.simulate"]  # the package has the function


def numbers(policy, clock, **end):
    """All numbers of a trace, or the error."""
    try:
        trace = simulate(policy, clock, **end)
    except InputError as error:
        return str(error)
    return trace.digest, trace.arrivals, trace.cancelled, trace.wasted_seconds, trace.computed.tolist()


def drawn(name, rng, num_workers):
    if name in POLICIES:
        return getattr(policies, name)(**POLICIES[name][0](rng, num_workers))
    return {"by_chance": ByChance, "assigned_by_chance": AssignedByChance}[name](int(rng.integers(99)))


@pytest.fixture
def early(monkeypatch):
    """Lets a function of a machine say with which one a simulation goes on after its first arrival."""

    def use(other):
        monkeypatch.setattr(SIMULATION, "COMPILED_FROM", 0)
        monkeypatch.setattr(SIMULATION, "compiled", other)

    return use


@pytest.mark.parametrize("name", [*POLICIES, "by_chance", "assigned_by_chance"])
def test_the_same_traces(name, early):
    """On random clocks with ties, zeros and workers that never finish; jobs are stopped, and wait for workers."""
    pytest.importorskip("numba")
    used = []

    def compiled(machine):
        used.append(CompiledMachine(machine, compiled_machine._compiled_begin()))
        return used[-1]

    for seed in range(NUM_CLOCKS):
        traces = []
        for other in (lambda machine: machine, compiled):
            early(other)
            rng = np.random.default_rng(seed)
            clock = random_clock(rng, KINDS[seed % len(KINDS)], lambda p: p)
            policy, num_updates = drawn(name, rng, clock.num_workers), int(rng.integers(20, 61))
            traces.append(numbers(policy, clock, num_updates=num_updates))
        assert traces[0] == traces[1], seed
    assert len(used) == NUM_CLOCKS


@pytest.mark.parametrize("policy", [policies.ringmaster(300), policies.ringmaster(None), policies.rounds(0.5)])
def test_the_same_long_trace(policy, monkeypatch):
    """It is taken over in the middle; durations are drawn anew, many workers begin together, and few."""
    pytest.importorskip("numba")
    clock = Clock(500, compute=durations.gamma(1.0, 2.0), server=0.001, seed=4)
    expected = numbers(policy, clock, num_updates=3_000)
    monkeypatch.setattr(SIMULATION, "COMPILED_FROM", 1_000)
    monkeypatch.setattr(SIMULATION, "_LOOKS_EVERY", 100)
    assert numbers(policy, clock, num_updates=3_000) == expected


def test_without_numba(early, monkeypatch):
    """The function that is compiled gives the same trace as it is; and without Numba nothing is compiled."""
    clock = Clock(40, seed=3)
    expected = numbers(policies.ringmaster(8), clock, num_updates=300)
    early(lambda machine: CompiledMachine(machine, compiled_machine._begin))
    assert numbers(policies.ringmaster(8), clock, num_updates=300) == expected
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    machine = SIMULATION.Machine(clock)
    assert compiled_machine.compiled(machine) is machine
