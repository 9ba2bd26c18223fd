"""Policies on a clock, against plain loops written from the papers' pseudo-code, and against theory."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from asyncopt import InputError
from asyncopt.traces import Clock, Speed, answers, cluster, durations, policies, rounds, simulate
from asyncopt.traces.keyed_draws import KeyedDraws
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


# Relations between policies, on the same clocks.


def some_clocks(num_workers=None, **settings):
    """Clocks with and without ties and server time."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        p = num_workers or int(rng.integers(1, 9))
        compute = "exponential" if seed % 2 else rng.integers(0, 4, (p, NUM_JOBS)).astype(float)
        yield Clock(p, **{"compute": compute, "server": [0.0, 0.0, 0.25, 1.0][seed % 4], "seed": seed} | settings)


def content(trace):
    """What two policies have in common that do the same."""
    arrays = (trace.worker, trace.read_version, trace.arrival, trace.time, trace.step_weight, trace.computed)
    wasted = round(trace.wasted_seconds, 9)  # sums in another order
    return [array.tolist() for array in arrays], trace.arrivals, trace.cancelled, wasted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (policies.ringmaster(math.inf), policies.asynchronous()),
        (policies.ringmaster(math.inf, stops=False), policies.asynchronous()),
        (policies.ringmaster(10_000), policies.asynchronous()),
        (policies.rennala(1), policies.ringmaster(1, stops=False)),
        (policies.rounds(1), policies.ringmaster(1)),  # both stop all others after each step
        (policies.buffered(1, exponent=0), policies.asynchronous()),
    ],
    ids=str,
)
def test_two_policies_that_do_the_same(one, other):
    """They do so for every clock."""
    for clock in some_clocks():
        assert content(simulate(one, clock, 60)) == content(simulate(other, clock, 60))


def test_workers_that_wait_for_no_server_time():
    """Waiting makes a difference only where the server takes time."""
    for clock in some_clocks(server=0.0):
        waiting, going_on = (simulate(policies.asynchronous(waits), clock, 60) for waits in (True, False))
        assert content(waiting) == content(going_on)


def test_with_one_worker_all_policies_agree():
    """Each gradient makes a step, and each delay is 0."""
    others = [
        policies.rounds(), policies.rounds(0.1), policies.ringmaster(1), policies.ringmaster(None), policies.rennala(1),
        policies.malenia(1), policies.buffered(1), policies.ringleader(), policies.assignments(),
        policies.assignments("shuffled"),
    ]  # fmt: skip
    for clock in some_clocks(num_workers=1):
        trace = simulate(policies.asynchronous(), clock, 30)
        assert not trace.delay.any()
        assert all(content(simulate(other, clock, 30)) == content(trace) for other in others)
        batches = [policies.rennala(3), policies.malenia(3), policies.buffered(3)]
        first, *rest = [simulate(policy, clock, 30) for policy in batches]
        assert first.num_steps == 10
        assert all(trace.step.tolist() == first.step.tolist() for trace in rest)
        assert all(trace.time.tolist() == first.time.tolist() for trace in rest)


@pytest.mark.parametrize("means", [[1.0, 1.3, 2.7], [1.0, 1.0, 2.0], [1.0] * 4], ids=str)
@pytest.mark.parametrize("server", [0.0, 0.25, 0.7])
def test_constant_durations_are_those_of_the_cluster_model(means, server):
    """With nothing random, the policy and the older model are the same simulation."""
    clock, p = Clock(len(means), compute=means, server=server, network=0.125), len(means)
    settings = {"compute": means, "server": server, "network": 0.125}
    trace, expected = simulate(policies.asynchronous(), clock, 60), cluster(60, p, **settings)
    assert trace.worker.tolist() == expected.worker.tolist()
    assert trace.read_version.tolist() == expected.read_version.tolist()
    np.testing.assert_allclose(trace.time, expected.time, rtol=1e-12)
    for take in (p, 2, 0.4):
        expected = rounds(12 * p, p, **settings, take=take)
        trace = simulate(policies.rounds(take), clock, 12 * p)
        np.testing.assert_allclose(trace.time, expected.time, rtol=1e-12)
        workers, expected_workers = (of.worker.reshape(trace.num_steps, -1) for of in (trace, expected))
        assert np.sort(workers, axis=1).tolist() == np.sort(expected_workers, axis=1).tolist()


def test_delays_are_those_of_theory():
    """Bounds that the papers prove, in optimizer steps."""
    for clock in some_clocks():
        p = clock.num_workers
        for limit in (1, 2, 5):
            for stops in (True, False):
                assert simulate(policies.ringmaster(limit, stops), clock, 60).step_delay.max() < limit
        trace = simulate(policies.ringmaster(None), clock, 60)
        assert (trace.step_delay < np.ceil(np.sqrt(np.arange(60) + 1))).all()
        for policy in (policies.rounds(), policies.rounds(0.5), policies.rennala(4), policies.malenia(p)):
            assert not simulate(policy, clock, 60).step_delay.any()
        trace = simulate(policies.ringleader(), clock, 120)
        assert trace.step_delay.max() <= 2 * p - 2
        steppers = trace.worker[trace.makes_step][: trace.num_steps // p * p].reshape(-1, p)
        assert (np.sort(steppers, axis=1) == np.arange(p)).all()
        assert trace.num_steps >= 2 * p
        # Ringleader loses no gradient, and stops nobody.
        assert (trace.cancelled, trace.wasted_seconds) == (0, 0)


def test_malenia_weighs_each_worker_alike():
    """In each step the weights of one worker's gradients add up to 1/p, and the harmonic mean is large enough."""
    for clock in some_clocks():
        p, batch = clock.num_workers, 2 * clock.num_workers + 1
        trace = simulate(policies.malenia(batch), clock, 100)
        for step in range(trace.num_steps):
            of_step = trace.step == step
            counts = np.bincount(trace.worker[of_step], minlength=p)
            sums = np.bincount(trace.worker[of_step], trace.step_weight[of_step], minlength=p)
            np.testing.assert_allclose(sums, 1 / p)
            assert scipy.stats.hmean(counts) >= batch / p * (1 - 1e-9)


# The clock: the same jobs for all policies.


def all_policies():
    return [
        policies.asynchronous(), policies.asynchronous(waits=False), policies.assignments(),
        policies.assignments("shuffled"), policies.rounds(), policies.rounds(0.5), policies.ringmaster(3),
        policies.ringmaster(None, stops=False), policies.rennala(3), policies.malenia(3), policies.buffered(3),
        policies.ringleader(),
    ]  # fmt: skip


@pytest.mark.parametrize("compute", ["exponential", "a function", "a list"])
def test_all_policies_meet_the_same_machine(compute):
    """No simulation changes a duration, and a policy meets what it met before others ran."""
    rng, calls = np.random.default_rng(1), []

    def function(worker, job):
        calls.append((worker, job))
        return rng.exponential()

    listed = rng.exponential(size=(4, NUM_JOBS))
    clock = Clock(4, compute={"a function": function, "a list": listed}.get(compute, compute), server=0.1)
    before = [simulate(policy, clock, 40).digest for policy in all_policies()]
    worker, job = (axis.ravel() for axis in np.indices((4, 60)))
    durations_before = clock.durations(worker, job)
    again = all_policies()
    assert [simulate(policy, clock, 40).digest for policy in again] == before
    # A policy may be used again.
    assert [simulate(policy, clock, 40).digest for policy in again] == before
    np.testing.assert_array_equal(clock.durations(worker, job), durations_before)
    if compute == "a function":
        assert len(set(calls)) == len(calls)
        assert all([job for w, job in calls if w == worker] == list(range(60)) for worker in range(4))


@pytest.mark.parametrize("name", POLICIES)
def test_a_function_is_called_when_jobs_begin(name):
    """It is called once for each job that begins, in the order of time."""
    for seed in range(20):
        rng, calls = np.random.default_rng(seed), []
        p = 20 if seed % 5 == 0 else int(rng.integers(1, 8))
        seconds, settings = rng.exponential(size=(p, NUM_JOBS)), POLICIES[name][0](rng, p)

        def function(worker, job, seconds=seconds, calls=calls):
            calls.append((worker, job))
            return seconds[worker, job]

        simulate(getattr(policies, name)(**settings), Clock(p, compute=function), 40)
        server = plain_servers.serve(getattr(plain_servers, name), Clock(p, compute=seconds), 40, **settings)
        begin = {(job.worker, job.number): job.begin for job in server.log}
        assert sorted(calls) == sorted(begin)
        assert all(np.diff([begin[call] for call in calls]) >= 0)


DISTRIBUTIONS = {
    "exponential": (durations.exponential(2.0), scipy.stats.expon(scale=2.0)),
    "gamma": (durations.gamma(2.0, 3.0), scipy.stats.gamma(3.0, scale=2 / 3)),
    "gamma of a shape below 1": (durations.gamma(2.0, 0.4), scipy.stats.gamma(0.4, scale=5.0)),
    "half_normal": (durations.half_normal(2.0), scipy.stats.halfnorm(scale=2.0)),
    "lognormal": (durations.lognormal(2.0, 0.7), scipy.stats.lognorm(0.7, scale=2 * np.exp(-0.245))),
    "pareto": (durations.pareto(2.0, 3.0), scipy.stats.pareto(3.0, scale=4 / 3)),
    "sum of two": (durations.total("exponential", "exponential"), scipy.stats.gamma(2.0)),
    "fixed and random": (durations.total(1.5, durations.exponential(2.0)), scipy.stats.expon(1.5, 2.0)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_durations_have_their_distribution(name):
    """Along the jobs of a worker, along the workers, for the server, and one by one with the same bits."""
    duration, expected = DISTRIBUTIONS[name]
    clock = Clock(3000, compute=duration, server=duration, seed=5)
    along = np.arange(3000)
    of_jobs, of_workers = clock.durations(np.full(3000, 7), along), clock.durations(along, np.full(3000, 2))
    of_steps = clock.step_seconds(0, 3000)
    for sample in (of_jobs, of_workers, of_steps):
        assert scipy.stats.kstest(sample, expected.cdf).pvalue > 1e-4
        error = np.std(sample) / np.sqrt(3000)
        assert abs(sample.mean() - expected.mean()) < 5 * error
        assert abs(np.corrcoef(sample[1:], sample[:-1])[0, 1]) < 0.1
    assert abs(np.corrcoef([of_jobs, of_workers, of_steps]) - np.eye(3)).max() < 0.1
    assert [clock.duration(7, job) for job in range(100)] == of_jobs[:100].tolist()
    assert [clock.duration(worker, 2) for worker in range(100)] == of_workers[:100].tolist()
    np.testing.assert_array_equal(clock.step_seconds(17, 30), of_steps[17:47])
    assert abs(np.corrcoef(Clock(8, duration, seed=6).durations(np.full(3000, 7), along), of_jobs)[0, 1]) < 0.1


def test_durations_of_each_worker():
    """Means for each worker, stragglers, two messages for each job."""
    worker, job = (axis.ravel() for axis in np.indices((3, 4000)))
    clock = Clock(3, durations.exponential([1.0, 2.0, 0.0]), durations.exponential([0.5, 0.0, 1.0]), stragglers=2)
    seconds = clock.durations(worker, job).reshape(3, 4000)
    for sample, mean, variance in zip(seconds, [2.0, 8.0, 2.0], [1.0 + 2 * 0.25, 64.0, 2.0], strict=True):
        assert abs(sample.mean() - mean) < 5 * np.sqrt(variance / 4000)
        np.testing.assert_allclose(sample.var(), variance, rtol=0.2)
    # The messages of a job are independent of each other: a sum of two exponential ones.
    assert scipy.stats.kstest(seconds[2], scipy.stats.gamma(2.0).cdf).pvalue > 1e-4
    total = durations.total(0.5, "exponential", durations.gamma(2.0, 4.0))
    seconds = Clock(3, total, seed=1).durations(worker, job)
    assert abs(seconds.mean() - 3.5) < 5 * np.sqrt(2.0 / len(seconds))
    np.testing.assert_allclose(seconds.var(), 1.0 + 4.0 / 4, rtol=0.1)
    assert Clock(2, {"sum": [0.5, {"distribution": "constant", "mean": [1.0, 2.0]}]}).duration(1, 3) == 2.5


def test_uniform_numbers_are_those_of_splitmix64():
    """One generator for each worker, stepped one by one: 1,024 numbers a job, of which stream 0 is the first."""

    def numbers(state):
        while True:
            state = (state + 0x9E3779B97F4A7C15) % 2**64
            z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
            yield z ^ (z >> 31)

    (seed,) = np.random.SeedSequence([7, 3]).generate_state(1, np.uint64)
    for worker, state in zip(range(3), numbers(int(seed)), strict=False):
        drawn = [(bits // 2**11 + 0.5) / 2**53 for _, bits in zip(range(5 * 1024), numbers(state), strict=False)]
        for job, stream in ((0, 0), (0, 3), (1, 0), (4, 1023)):
            (number,) = KeyedDraws(7, 3).uniform(np.array([worker]), np.array([job]), stream)
            assert number == drawn[1024 * job + stream]


def test_what_is_drawn_for_a_clock_is_independent():
    """Computing, both messages, steps and the terms of a sum have numbers of their own."""
    zeros, along = np.zeros(4000, int), np.arange(4000)
    computing = Clock(1, "exponential").durations(zeros, along)
    messages = Clock(1, 0.0, network="exponential").durations(zeros, along)  # the sum of those of a job
    both_terms = Clock(1, durations.total("exponential", "exponential")).durations(zeros, along)
    steps = Clock(1, server="exponential").step_seconds(0, 4000)
    assert abs(np.corrcoef(messages[1:], messages[:-1])[0, 1]) < 0.1
    assert abs(np.corrcoef(both_terms - computing, computing)[0, 1]) < 0.1
    assert abs(np.corrcoef(steps, computing)[0, 1]) < 0.1
    for others in (computing, steps):
        assert abs(np.corrcoef(others.reshape(-1, 2).sum(axis=1), messages[:2000])[0, 1]) < 0.1


def test_listed_durations():
    """They are those of the array; stragglers take longer."""
    listed = np.random.default_rng(0).exponential(size=(3, 50))
    listed[1, 4], listed[0, 0] = np.inf, 0.0
    worker, job = (axis.ravel() for axis in np.indices((3, 50)))
    np.testing.assert_array_equal(Clock(3, listed).durations(worker, job).reshape(3, 50), listed)
    np.testing.assert_array_equal(Clock(3, listed.tolist()).durations(worker, job).reshape(3, 50), listed)
    slow = Clock(3, listed, network=0.5, stragglers=1, slowdown=2.0)
    assert slow.duration(2, 9) == 2 * listed[2, 9] + 1
    assert slow.duration(1, 9) == listed[1, 9] + 1
    assert slow.duration(1, 4) == np.inf


# Speeds.


def end_plainly(start, value, begin, seconds):
    """Walks through the pieces, and returns the first second by which so much work is done."""
    now, left = begin, seconds
    for piece in range(len(start)):
        until = start[piece + 1] if piece + 1 < len(start) else math.inf
        if until <= now:
            continue
        if left == 0:
            return now
        if value[piece] > 0 and now + left / value[piece] <= until:
            return now + left / value[piece]
        left -= value[piece] * (until - now) if value[piece] > 0 else 0
        now = until
    return math.inf


def test_speeds_against_a_walk_through_the_pieces():
    """With short binary fractions, so that a job may end exactly at the end of a piece, and nothing is rounded."""
    ends = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        num_pieces, p = int(rng.integers(1, 7)), int(rng.integers(1, 4))
        start = np.append(0.0, np.cumsum(rng.integers(1, 5, num_pieces - 1))) / 2
        value = rng.choice([0.0, 0.0, 0.5, 1.0, 2.0], (p, num_pieces))
        speed, worker = Speed(start, value), int(rng.integers(p))
        for begin, seconds in rng.integers(0, [20, 12], (10, 2)) / 4:
            expected = end_plainly(start.tolist(), value[worker].tolist(), begin, seconds)
            assert speed.end(worker, begin, seconds) == expected
            clock = Clock(p, compute=seconds, speed=speed)
            assert clock.duration(worker, 3, begin) == expected - begin
            for_all = Speed(start, value[worker])
            assert for_all.end(2, begin, seconds) == expected
            ends += math.isfinite(expected)
        assert speed.end(worker, 1.0, math.inf) == math.inf
    assert 500 < ends < 2900


def test_speeds_integrate_to_the_job():
    """By sums over small steps of time, for speeds that are no fractions."""
    rng = np.random.default_rng(0)
    start, value = np.append(0.0, np.cumsum(rng.uniform(0.2, 2, 7))), rng.uniform(0, 2, 8) * (rng.random(8) < 0.7)
    value[-1] = 0.9
    grid = np.arange(0, 30, 1e-4)
    speeds = value[np.searchsorted(start, grid + 5e-5, side="right") - 1]
    for begin, seconds in rng.uniform(0, [10, 8], (30, 2)):
        end = Speed(start, value).end(0, begin, seconds)
        assert speeds[(grid >= begin) & (grid < end)].sum() * 1e-4 == pytest.approx(seconds, abs=1e-3)


def test_a_worker_without_speed_does_nothing():
    """Worker 1 stands still from 2 s to 10 s, and then is as fast as before."""
    clock = Clock(2, compute=1.5, speed={"start": [0.0, 2.0, 10.0], "value": [[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]})
    trace = simulate(policies.asynchronous(), clock, until=13.0)
    assert trace.time[trace.worker == 0].tolist() == [1.5, 3.0, 4.5, 6.0, 7.5, 9.0, 10.5, 12.0]
    assert trace.time[trace.worker == 1].tolist() == [1.5, 11.0, 12.5]


# What is refused.


class Own:
    """A policy with given answers."""

    def __init__(self, decide, start=None):
        self.answer, self.first = decide, start

    def start(self, num_workers):
        return self.first(num_workers) if self.first else Answer(restart=range(num_workers))

    def decide(self, arrival):
        return self.answer(arrival)


def use(arrival, **fields):
    """The answer of asynchronous training, but for some fields."""
    return Answer(**{"step": (arrival.number,), "restart": (arrival.worker,)} | fields)


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (lambda a: use(a, step=(a.number, a.number)), "step 0 uses gradient 0 twice"),
        (lambda a: use(a, step=(0,)), "step 1 uses gradient 0, expected numbers of gradients that are held"),
        (lambda a: use(a, step=(a.number + 1,)), "step 0 uses gradient 1, expected numbers of gradients that are held"),
        (lambda a: use(a, step=(-1,)), "step 0 uses gradient -1, expected"),
        (lambda a: use(a, step=(0.5,)), "step 0 uses gradient 0.5, expected"),
        (lambda a: use(a, step="0"), "step 0 uses gradient '0', expected"),
        (lambda a: use(a, step=() if a.number == 0 else (0,)), "step 0 uses gradient 0, expected .* held"),
        (lambda a: use(a, step=a.number + 1), "answered Answer.*step=1.*expected .* sequences of numbers"),
        (lambda a: None, "Own answered None, expected an asyncopt.traces.policies.Answer"),
        (lambda a: "step", "Own answered 'step', expected an asyncopt.traces.policies.Answer"),
        (lambda a: 3, "Own answered 3, expected an asyncopt.traces.policies.Answer"),
        (lambda a: (False, (0,)), r"Own answered \(False, \(0,\)\), expected an asyncopt.traces.policies.Answer"),
        (lambda a: use(a, restart=(3,)), r"restart is \(3,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=(-1,)), r"restart is \(-1,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=(1.5,)), r"restart is \(1.5,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=("0",)), r"restart is \('0',\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=np.array([0.0])), r"restart is array\(\[0.\]\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=range(4)), r"restart is range\(0, 4\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=None), "answered Answer.*restart=None.*expected .* sequences of numbers"),
        (lambda a: use(a, restart=(), assign=(3,)), r"assign is \(3,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=(), assign=(-1,)), r"assign is \(-1,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=(), assign=(1.5,)), r"assign is \(1.5,\), expected workers from 0 to 2"),
        (lambda a: use(a, weight=(1.0, 2.0)), r"weight of step 0 is \(1.0, 2.0\), expected one number for each of 1"),
        (lambda a: use(a, weight=()), r"weight of step 0 is \(\), expected one number for each of 1"),
        (lambda a: use(a, weight=(math.nan,)), r"weight of step 0 is \(nan,\), expected finite numbers"),
        (lambda a: use(a, weight=(math.inf,)), r"weight of step 0 is \(inf,\), expected finite numbers"),
        (lambda a: use(a, weight=("x",)), "policies.Answer with sequences of numbers"),
        (lambda a: use(a, restart=()), "no worker will finish after 3 steps and 3 arrivals"),
    ],
)  # fmt: skip
def test_refuses_an_answer(decide, message):
    """The message says which policy, what it answered, and what is expected."""
    with pytest.raises(InputError, match=f"policy Own.*{message}|policy {message}"):
        simulate(Own(decide), Clock(3, compute=[1.0, 1.5, 2.2]), 5)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda p: None, "Own answered None"),
        (lambda p: Answer(), "no worker will finish after 0 steps and 0 arrivals"),
        (lambda p: Answer(restart=(p,)), r"restart is \(3,\), expected workers from 0 to 2"),
        (lambda p: Answer(assign=(-1,)), r"assign is \(-1,\), expected workers from 0 to 2"),
        (lambda p: Answer(step=(0,), restart=range(p)), "start uses a gradient, expected restart or assign alone"),
        (lambda p: Answer(hold=True, restart=range(p)), "start uses a gradient, expected restart or assign alone"),
    ],
)
def test_refuses_a_start(start, message):
    """Before the first gradient there is nothing to use."""
    with pytest.raises(InputError, match=message):
        simulate(Own(use, start), Clock(3), 5)


def test_weights_without_a_step_do_nothing():
    """They are not looked at."""
    clock = Clock(3)
    odd = simulate(Own(lambda a: use(a, weight=(math.nan,), step=()) if a.number % 3 == 0 else use(a)), clock, 20)
    plain = simulate(Own(lambda a: use(a, step=()) if a.number % 3 == 0 else use(a)), clock, 20)
    assert odd == plain


@pytest.mark.parametrize("end", [{"num_updates": 5}, {"until": 1e9}])
def test_a_policy_that_makes_no_step_comes_to_an_end(monkeypatch, end):
    """After many arrivals without a step there is an error, rather than no answer."""
    monkeypatch.setattr(answers, "_PATIENCE", 50)
    monkeypatch.setattr(answers, "_PATIENCE_PER_WORKER", 1)
    with pytest.raises(InputError, match="policy Own: no step in the last 50 arrivals, after 0 steps"):
        simulate(Own(lambda a: Answer(hold=True, restart=(a.worker,))), Clock(3), **end)


def test_ends():
    """By the number of gradients or by the second, whichever comes first."""
    clock = Clock(3, compute=[1.0, 2.0, 3.5])
    assert simulate(policies.rounds(2), clock, 5).num_updates == 6  # whole steps
    assert simulate(policies.asynchronous(), clock, until=3.0).time.tolist() == [1.0, 2.0, 2.0, 3.0]
    assert simulate(policies.asynchronous(), clock, 2, until=3.0).num_updates == 2
    assert simulate(policies.asynchronous(), clock, 9, until=3.0).num_updates == 4
    # A policy whose workers all stop may have an end in seconds.
    idle = simulate(Own(lambda a: Answer(step=(a.number,))), clock, until=100.0)
    assert idle.time.tolist() == [1.0, 2.0, 3.5]
    # What comes after the last step does not count.
    late = simulate(Own(lambda a: use(a, step=() if a.number else (0,))), clock, until=50.0)
    assert (late.num_updates, late.arrivals, late.wasted_seconds) == (1, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": policies.Rennala}, "policy is <class .*Rennala.*, an object and not a class"),
        ({"policy": policies.Ringleader}, "policy is <class .*Ringleader.*, an object and not a class"),
        ({"policy": "rennala"}, "policy is 'rennala', expected one with the methods start and decide"),
        ({"policy": None}, "policy is None"),
        ({"clock": None}, "clock is None, expected an asyncopt.traces.Clock"),
        ({"clock": 3}, "clock is 3, expected an asyncopt.traces.Clock"),
        ({"num_updates": None}, "num_updates and until are both None"),
        ({"num_updates": 0}, "num_updates is 0, expected an integer of at least 1"),
        ({"num_updates": True}, "num_updates is True"),
        ({"num_updates": 2.0}, "num_updates is 2.0"),
        ({"until": 0}, "until is 0, expected a finite number > 0"),
        ({"until": math.nan}, "until is nan"),
        ({"until": math.inf}, "until is inf"),
        ({"until": True}, "until is True"),
        ({"until": 0.5}, "no step was made until the end, after 0 arrivals"),
        ({"policy": policies.rounds(9)}, "take is 9, expected a whole number of gradients from 1 to num_workers, 3"),
        ({"policy": policies.rounds(1.0)}, "take is 1.0, expected a whole number"),
        ({"clock": Clock(3, compute=np.full((3, 9), np.inf))}, "no worker will finish after 0 steps and 0 arrivals"),
        ({"clock": Clock(3, compute=np.ones((3, 2)))}, "compute has 2 durations .* but worker 0 begins job 2"),
        ({"clock": Clock(3, compute=lambda w, j: None)}, r"compute\(0, 0\) is None, expected at least 0 seconds"),
        ({"clock": Clock(3, compute=lambda w, j: 1.0 - 2 * j)}, r"compute\(0, 1\) is -1.0, expected at least 0"),
        ({"clock": Clock(3, compute=lambda w, j: math.nan)}, r"compute\(0, 0\) is nan"),
    ],
)
def test_simulate_refuses(arguments, message):
    """The message names the argument."""
    usual = {"policy": policies.asynchronous(), "clock": Clock(3, compute=1.0), "num_updates": 10}
    with pytest.raises(InputError, match=message):
        simulate(**usual | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": 0}, "num_workers is 0"),
        ({"num_workers": True}, "num_workers is True"),
        ({"compute": [1, 2]}, "compute has 2 means, expected one, or one for each of the 3 workers"),
        ({"compute": np.array([[1.0, math.nan]] * 3)}, "compute of job 1 of worker 0 is nan, expected seconds of"),
        ({"compute": [[1.0], [1.0], [-1.0]]}, "compute of job 0 of worker 2 is -1.0, expected seconds of at least 0"),
        ({"compute": np.ones((2, 9))}, r"compute has shape \(2, 9\), expected a row of seconds for each of 3 workers"),
        ({"compute": np.ones((3, 2, 2))}, r"compute has shape \(3, 2, 2\)"),
        ({"compute": [["a"], ["b"], ["c"]]}, "compute is not an array of seconds"),
        ({"compute": "normal"}, "compute: distribution is 'normal'"),
        ({"compute": -1.0}, "compute: mean of the constant duration is -1.0"),
        ({"compute": {"sum": []}}, "compute is .*sum.*, expected sum alone, with a list of durations"),
        ({"compute": {"sum": ["normal"]}}, "compute, term 0: distribution is 'normal'"),
        ({"network": math.inf}, "network: mean of the constant duration is inf"),
        ({"server": [1.0, 2.0]}, "server has 2 means, expected one"),
        ({"seed": -1}, "seed is -1"),
        ({"stragglers": -1}, "stragglers is -1"),
        ({"slowdown": 0.5}, "slowdown is 0.5"),
        ({"speed": 2.0}, "speed is 2.0, expected an asyncopt.traces.Speed, or None"),
        ({"speed": Speed([0.0], np.ones((2, 1)))}, "speed has 2 rows, expected one, or one for each of 3 workers"),
    ],
)
def test_a_clock_refuses(arguments, message):
    """The message names the argument."""
    with pytest.raises(InputError, match=message):
        Clock(**{"num_workers": 3} | arguments)


@pytest.mark.parametrize("form", [list, lambda rows: [np.array(row) for row in rows], jnp.asarray, np.array])
def test_a_clock_takes_rows_of_seconds_in_any_form(form):
    rows = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    clock = Clock(2, form(rows))
    assert [[clock.duration(worker, job) for job in range(3)] for worker in range(2)] == rows


def test_a_clock_takes_an_array_of_means():
    clock = Clock(2, np.array([1.0, 4.0]))
    assert [clock.duration(worker, job) for worker in range(2) for job in (0, 7)] == [1.0, 1.0, 4.0, 4.0]


@pytest.mark.parametrize("shape", [0.3, 0.9, 2.5])
def test_a_clock_draws_from_the_gamma_distribution(shape):
    clock = Clock(1, {"distribution": "gamma", "mean": 1.0, "shape": shape})
    drawn = clock.durations(np.zeros(4000, np.int64), np.arange(4000))
    assert scipy.stats.kstest(drawn, scipy.stats.gamma(shape, scale=1 / shape).cdf).pvalue > 0.01


def test_a_step_with_the_mean_of_its_gradients_has_no_weights():
    trace = simulate(policies.rennala(3), Clock(4), num_updates=30)
    assert trace.num_steps == 10
    assert trace.weight is None


@pytest.mark.parametrize("scale", ["x", {"base": 1.0}, -1.0, [1.0, None]])
def test_a_half_normal_duration_refuses(scale):
    with pytest.raises(InputError, match=r"scale is .*, expected a finite number >= 0"):
        durations.half_normal(scale)


@pytest.mark.parametrize(
    ("worker", "job", "message"),
    [(3, 0, "worker is 3, expected at most 2"), (-1, 0, "worker is -1"), (0, -1, "job is -1"), (0, 1.5, "job is 1.5")],
)
def test_a_clock_refuses_to_say_a_duration(worker, job, message):
    """Of a worker or job that there is not."""
    with pytest.raises(InputError, match=message):
        Clock(3).duration(worker, job)


@pytest.mark.parametrize(
    ("start", "value", "message"),
    [
        ([1.0], [1.0], "start of the speeds is .*, expected seconds that increase from 0"),
        ([0.0, 2.0, 2.0], [1.0] * 3, "start of the speeds is .*, expected seconds that increase from 0"),
        ([], [], "start of the speeds is"),
        ([0.0], [-1.0], "value of the speeds has shape .*, expected numbers of at least 0"),
        ([0.0, 1.0], [1.0], "value of the speeds has shape .*, one for each of the 2 starts"),
        ([0.0], [math.nan], "value of the speeds is .*nan.*, expected finite numbers"),
        ([0.0], ["fast"], "value of the speeds is not an array of numbers"),
        ([0.0, math.inf], [1.0, 1.0], "start of the speeds is .*inf.*, expected finite numbers"),
    ],
)
def test_speed_refuses(start, value, message):
    """The message says which of the two arrays is wrong."""
    with pytest.raises(InputError, match=message):
        Speed(start, value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ringmaster", (0,), "max_delay is 0, expected an integer of at least 1"),
        ("ringmaster", (2.5,), "max_delay is 2.5"),
        ("ringmaster", (math.nan,), "max_delay is nan"),
        ("ringmaster", (2, 1), "stops is 1, expected true or false"),
        ("rennala", (2.5,), "batch is 2.5, expected an integer of at least 1"),
        ("malenia", (0,), "batch is 0"),
        ("buffered", (0,), "size is 0"),
        ("buffered", (2, -0.5), "exponent is -0.5"),
        ("rounds", (0,), "take is 0"),
        ("rounds", (True,), "take is True"),
        ("rounds", ("all",), "take is 'all'"),
        ("assignments", ("x",), "order is 'x', expected random or shuffled"),
        ("assignments", ("random", -1), "seed is -1"),
        ("asynchronous", (1,), "waits is 1, expected true or false"),
    ],
)
def test_a_policy_refuses(name, arguments, message):
    """The message names the parameter."""
    with pytest.raises(InputError, match=message):
        getattr(policies, name)(*arguments)
