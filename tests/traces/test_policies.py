"""Policies on a clock, against plain loops written from the papers' pseudo-code, and against theory."""

import math

import numpy as np
import pytest

from asyncopt import InputError
from asyncopt.traces import Clock, Speed, durations, policies, simulate
from tests.traces import plain_servers

CONTINUOUS = [
    "exponential",
    durations.gamma(1.0, 0.7),
    durations.lognormal(2.0, 1.0),
    durations.pareto(1.0, 1.5),
    durations.half_normal(1.0),
    durations.total(0.5, "exponential"),
]
NUM_CLOCKS = 200
NUM_JOBS = 500  # of a worker, in a clock that lists durations


def random_clock(rng, kind, num_finishing):
    """A clock of few workers; of the kind "never", at least ``num_finishing(p)`` workers finish all jobs."""
    p = 1 if kind == "one" else int(rng.integers(17, 40)) if kind == "many" else int(rng.integers(1, 8))
    settings = {"seed": int(rng.integers(1000))}
    if kind in ("continuous", "one", "many", "speed"):
        compute = CONTINUOUS[rng.integers(len(CONTINUOUS))]
        if rng.random() < 0.3:
            compute = durations.exponential(rng.uniform(0.1, 3, p).tolist())
        server, network = ["exponential", 0.2, durations.gamma(0.1, 0.5)], ["exponential", 0.3]
        if kind == "speed":
            start = np.append(0.0, np.cumsum(rng.uniform(0.5, 3, 5)))
            value = rng.choice([0.0, 0.5, 1.0, 4.0], (p, 6) if rng.random() < 0.5 else 6)
            settings["speed"] = Speed(start, value + (np.arange(6) == 5))  # the last one is above 0
    else:
        compute = rng.integers(1, 4, (p, NUM_JOBS)).astype(float)
        if kind == "zeros":
            compute *= rng.random((p, NUM_JOBS)) < 0.6
        elif kind == "never":
            compute *= rng.choice([0.5, 1.0, 1.25], (p, 1))
            others = rng.permutation(p)[num_finishing(p) :]
            compute[others] = np.where(rng.random((len(others), NUM_JOBS)) < 0.2, np.inf, compute[others])
            compute[others[:1]] = np.inf
        server, network = [1.0, 0.5], [0.5]
    if rng.random() < 0.5:
        settings["server"] = server[rng.integers(len(server))]
    if rng.random() < 0.4:
        settings["network"] = network[rng.integers(len(network))]
    return Clock(p, compute=compute, **settings)


def check(name, clock, settings, **end):
    """Compares each number of a trace with that of the plain loop."""
    server = plain_servers.serve(getattr(plain_servers, name), clock, **end, **settings)
    policy = getattr(policies, name)(**settings)
    if not server.updates:
        with pytest.raises(InputError):
            simulate(policy, clock, **end)
        return server
    trace = simulate(policy, clock, **end)
    worker, version, arrival, time, step, weight, computed = zip(*server.updates, strict=True)
    step, version = np.array(step), np.array(version)
    assert trace.num_workers == clock.num_workers
    assert trace.worker.tolist() == list(worker)
    assert trace.arrival.tolist() == list(arrival)
    assert trace.time.tolist() == list(time)
    assert trace.computed.tolist() == list(computed)
    assert (trace.arrivals, trace.cancelled) == server.costs[:2]
    np.testing.assert_allclose(trace.wasted_seconds, server.costs[2], rtol=1e-9)
    np.testing.assert_allclose(trace.step_weight, weight, rtol=1e-12)
    # None means that each gradient makes a step.
    assert (np.arange(len(step)) if trace.step is None else trace.step).tolist() == step.tolist()
    assert (trace.read_version if trace.step is None else trace.step[trace.read_version]).tolist() == version.tolist()
    # The newest iterate with the value that was read, and not newer than the one that the update changes.
    newest = np.searchsorted(step, version, side="right") - 1
    assert trace.read_version.tolist() == np.minimum(newest, np.arange(len(step))).tolist()
    return server


# Of each policy: its parameters from a random generator and p, and how many workers must finish their jobs.
POLICIES = {
    "asynchronous": (lambda rng, p: {"waits": bool(rng.random() < 0.4)}, lambda p: 1),
    "assignments": (
        lambda rng, p: {"order": ["random", "shuffled"][rng.integers(2)], "seed": int(rng.integers(99))},
        lambda p: p,
    ),
    "rounds": (
        lambda rng, p: {"take": [None, int(rng.integers(1, p + 1)), float(rng.uniform(0.05, 0.95))][rng.integers(3)]},
        lambda p: p,
    ),
    "ringmaster": (
        lambda rng, p: {"max_delay": [None, math.inf, 1, int(rng.integers(1, 2 * p + 2))][rng.integers(4)]}
        | {"stops": bool(rng.random() < 0.6)},
        lambda p: 1,
    ),
    "rennala": (lambda rng, p: {"batch": int(rng.integers(1, 2 * p + 2))}, lambda p: 1),
    "malenia": (lambda rng, p: {"batch": int(rng.integers(1, 4 * p + 2))}, lambda p: p),
    "buffered": (
        lambda rng, p: {"size": int(rng.integers(1, p + 3)), "exponent": [0, 0.5, 1.3][rng.integers(3)]},
        lambda p: 1,
    ),
    "ringleader": (lambda rng, p: {}, lambda p: p),
}
KINDS = ["continuous", "ties", "zeros", "never", "one", "speed", "continuous", "ties", "zeros", "many"]


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_against_a_plain_loop(name):
    """All numbers of a trace are those of a loop over the workers, on random clocks of many kinds."""
    draw_settings, num_finishing = POLICIES[name]
    for seed in range(NUM_CLOCKS):
        rng = np.random.default_rng(seed)
        clock = random_clock(rng, KINDS[seed % len(KINDS)], num_finishing)
        settings = draw_settings(rng, clock.num_workers)
        server = check(name, clock, settings, num_updates=int(rng.integers(20, 61)))
        if seed % 4 == 0:
            check(name, clock, settings, until=float(rng.uniform(0, server.now)) or 1e-3)
