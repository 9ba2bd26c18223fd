"""Clocks: durations and speeds against their distributions, and what a clock refuses."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from asyncopt import InputError
from asyncopt.traces import Clock, Speed, durations, policies, simulate
from asyncopt.traces.keyed_draws import KeyedDraws

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
