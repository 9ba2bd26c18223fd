"""Policies on a clock against plain loops, written from the papers' pseudo-code, and by hand."""

import math

import numpy as np
import pytest

from asyncopt import InputError
from asyncopt.traces import Clock, Speed, durations, policies, simulate
from asyncopt.traces.policies import Answer
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


def check(name, clock, settings, policy=None, **end):
    """Compares each number of a trace with that of the plain loop."""
    server = plain_servers.serve(getattr(plain_servers, name), clock, **end, **settings)
    policy = policy or getattr(policies, name)(**settings)
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
        lambda rng, p: (
            {"max_delay": [None, math.inf, 1, int(rng.integers(1, 2 * p + 2))][rng.integers(4)]}
            | {"stops": bool(rng.random() < 0.6)}
        ),
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


class ByChance:
    """The policy of the plain loop with this name."""

    def __init__(self, seed):
        self.seed = seed

    def start(self, num_workers):
        self.generator, self.num_workers, self.held = np.random.default_rng(self.seed), num_workers, []
        return Answer(restart=range(num_workers))

    def decide(self, arrival):
        answer = plain_servers.draw_answer(
            self.generator, self.num_workers, arrival.number, self.held, arrival.worker
        )  # fmt: skip
        hold, step, weight, restart = answer
        self.held = [i for i in [*self.held, arrival.number] if i not in step and (hold or i != arrival.number)]
        return Answer(hold, step, weight, restart)


def test_decisions_by_chance_against_a_plain_loop():
    """Whatever a policy answers, the machine does it: old gradients in any order, stops, idle workers, weights."""
    for seed in range(NUM_CLOCKS):
        rng = np.random.default_rng(seed)
        clock = random_clock(rng, KINDS[seed % len(KINDS)], lambda p: p)
        check("by_chance", clock, {"seed": seed}, ByChance(seed), num_updates=int(rng.integers(20, 61)))


class AssignedByChance:
    """The policy of the plain loop with this name."""

    def __init__(self, seed):
        self.seed = seed

    def start(self, num_workers):
        self.generator, self.num_workers = np.random.default_rng(self.seed), num_workers
        return Answer(assign=range(num_workers))

    def decide(self, arrival):
        assign, restart = plain_servers.draw_assignments(self.generator, self.num_workers, arrival.worker)
        return Answer(step=(arrival.number,), restart=restart, assign=assign)


def test_assignments_by_chance_against_a_plain_loop():
    """A worker may have several jobs before it; one that is stopped forgets them."""
    for seed in range(NUM_CLOCKS):
        rng = np.random.default_rng(seed)
        clock = Clock(int(rng.integers(1, 8)), compute=CONTINUOUS[seed % len(CONTINUOUS)], seed=seed)
        check("assigned_by_chance", clock, {"seed": seed}, AssignedByChance(seed), num_updates=40)


@pytest.mark.parametrize(
    ("name", "settings", "num_workers"),
    [("asynchronous", {}, 3), ("rounds", {"take": 12}, 20), ("ringmaster", {"max_delay": None}, 40)],
)
def test_a_long_trace_against_a_plain_loop(name, settings, num_workers):
    """Long enough that numbers which are drawn many at once are drawn anew."""
    clock = Clock(num_workers, compute=durations.gamma(1.0, 2.0), server="exponential", network=0.1, seed=4)
    check(name, clock, settings, num_updates=2_500)


def test_an_own_policy_by_hand():
    """One that ignores every second gradient of worker 0."""

    class EverySecond:
        def start(self, num_workers):
            self.ignores = False
            return Answer(restart=range(num_workers))

        def decide(self, arrival):
            ignored = arrival.worker == 0 and self.ignores
            if arrival.worker == 0:
                self.ignores = not self.ignores
            return Answer(step=() if ignored else (arrival.number,), restart=(arrival.worker,))

    trace = simulate(EverySecond(), Clock(2, compute=[1.0, 1.5]), num_updates=6)
    # Worker 0 comes at 1, 2, ..., and worker 1 at 1.5, 3, ...; those of 2 and 4 s are ignored.
    assert trace.worker.tolist() == [0, 1, 0, 1, 1, 0]
    assert trace.time.tolist() == [1.0, 1.5, 3.0, 3.0, 4.5, 5.0]
    assert trace.read_version.tolist() == [0, 0, 2, 2, 4, 4]
    assert trace.computed.tolist() == [1, 2, 4, 5, 7, 8]
    assert (trace.arrivals, trace.cancelled, trace.wasted_seconds) == (8, 0, 2.0)
    assert (trace.step, trace.weight) == (None, None)


def test_a_worker_that_does_not_wait_by_hand():
    """It computes while the server makes a step, from the iterate that there is."""
    clock = Clock(1, compute=1.0, server=0.5)
    waiting, going_on = (simulate(policies.asynchronous(waits), clock, 4) for waits in (True, False))
    assert waiting.time.tolist() == [1.5, 3.0, 4.5, 6.0]
    assert waiting.read_version.tolist() == [0, 1, 2, 3]
    assert going_on.time.tolist() == [1.5, 2.5, 3.5, 4.5]
    assert going_on.read_version.tolist() == [0, 0, 1, 2]


def test_a_job_begins_when_it_is_assigned_at_the_earliest():
    """A worker whose gradient waits for the server is idle; it cannot read an iterate that is not there yet."""

    class AllToOne(policies.Assignments):
        def decide(self, arrival):
            return Answer(step=(arrival.number,), assign=(1,))

    trace = simulate(AllToOne(), Clock(2, compute=1.0, server=1.0), num_updates=3)
    # Both come at 1 s. Worker 1 is given a job at 2 s, when worker 0's step is done, while its gradient waits.
    assert trace.worker.tolist() == [0, 1, 1]
    assert trace.time.tolist() == [2.0, 3.0, 4.0]
    assert trace.read_version.tolist() == [0, 0, 1]
    assert trace.arrival.tolist() == [1.0, 1.0, 3.0]


def test_seeds_of_assignments_and_clocks_are_0():
    clock = Clock(4, seed=0)
    usual = simulate(policies.assignments(), clock, 100)
    assert usual == simulate(policies.assignments("random", 0), Clock(4), 100)
    assert usual != simulate(policies.assignments(seed=1), clock, 100)
    assert usual != simulate(policies.assignments(), Clock(4, seed=1), 100)


def test_a_worker_is_stopped_once():
    """Ringmaster, R = 1: a worker that began from the newest iterate is stopped by the next step, and only once."""
    clock = Clock(2, compute=np.array([[1.0, 1.0, 4.0, 1.0, 1.0], [1.0, 2.0, 3.0, 1.0, 1.0]]))
    trace = simulate(policies.ringmaster(1), clock, num_updates=3)
    # Both come at 1 s; worker 1 second, so it is ignored. Worker 0 comes at 2 s, and stops worker 1 after one second.
    # Then worker 1 does its job 2 in 3 s, which is the end: what that stops is not counted.
    assert trace.worker.tolist() == [0, 0, 1]
    assert trace.time.tolist() == [1.0, 2.0, 5.0]
    assert (trace.arrivals, trace.cancelled, trace.wasted_seconds) == (4, 1, 2.0)
