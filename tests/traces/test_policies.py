"""Policies on a clock: which of them agree, and delays as theory has them."""

import math

import numpy as np
import pytest
import scipy.stats

from asyncopt.traces import Clock, cluster, policies, rounds, simulate
from tests.traces import plain_servers
from tests.traces.test_policies_against_loops import NUM_JOBS, POLICIES


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
