import math

import numpy as np
import pytest

import asyncopt
from asyncopt import InputError, theory
from tests import reference


@pytest.mark.parametrize("num_workers", [1, 2, 8, 32])
def test_asynchronous_throughput(num_workers):
    """Against the stationary Markov chain, Erlang's formula, and the event-driven model."""
    predicted = theory.asynchronous_throughput(num_workers, 1.0, 0.1)
    assert predicted == pytest.approx(reference.machine_repairman_throughput(num_workers, 1.0, 0.1), rel=1e-12)
    # The server is idle with the probability of Erlang's loss formula for p lines and a load of c / s (Erlang, 1917).
    load = [10.0**n / math.factorial(n) for n in range(num_workers + 1)]
    assert predicted == pytest.approx((1 - load[-1] / sum(load)) / 0.1, rel=1e-12)
    server = {"distribution": "exponential", "mean": 0.1}
    trace = asyncopt.traces.cluster(100_000, num_workers, server=server)
    assert trace.num_updates / trace.time[-1] == pytest.approx(predicted, rel=0.02)


def test_limits_of_asynchronous_throughput():
    assert theory.asynchronous_throughput(5, 2.0, 0.0) == pytest.approx(2.5)  # no queue: p / c
    assert theory.asynchronous_throughput(1000, 1.0, 0.1) == pytest.approx(10.0)  # the server is the limit: 1 / s


@pytest.mark.parametrize("num_workers", [1, 3, 16])
def test_synchronous_throughput(num_workers):
    rng = np.random.default_rng(0)
    rounds = rng.exponential(2.0, (200_000, num_workers)).max(axis=1) + 0.5
    predicted = theory.synchronous_throughput(num_workers, 2.0, 0.5)
    assert predicted == pytest.approx(num_workers / rounds.mean(), rel=0.01)


def test_asynchronous_workers_do_not_wait_for_the_slowest():
    assert theory.synchronous_throughput(32, 1.0, 0.01) < 0.3 * theory.asynchronous_throughput(32, 1.0, 0.01)


@pytest.mark.parametrize("num_workers", [1, 5, 32])
def test_constant_times(num_workers):
    """Against both event-driven models; 32 workers are more than a server of 0.1 s can serve."""
    settings = {"compute": 1.0, "server": 0.1}
    for make, predict in (
        (asyncopt.traces.cluster, theory.asynchronous_throughput),
        (asyncopt.traces.rounds, theory.synchronous_throughput),
    ):
        trace = make(32_000 // num_workers * num_workers, num_workers, **settings)
        assert trace.num_updates / trace.time[-1] == pytest.approx(
            predict(num_workers, 1.0, 0.1, "constant"), rel=0.002
        )


def test_exponential_rounds_as_simulated():
    trace = asyncopt.traces.rounds(160_000, 16, server={"distribution": "exponential", "mean": 0.1})
    assert trace.num_updates / trace.time[-1] == pytest.approx(theory.synchronous_throughput(16, 1.0, 0.1), rel=0.01)


@pytest.mark.parametrize("take", [1, 5, 16])
def test_rounds_that_take_the_first_gradients(take):
    times = np.sort(np.random.default_rng(0).exponential(2.0, (100_000, 16)), axis=1)
    predicted = theory.synchronous_throughput(16, 2.0, 0.5, take=take)
    assert predicted == pytest.approx(take / (times[:, take - 1].mean() + 0.5), rel=0.01)
    assert theory.synchronous_throughput(16, 2.0, 0.5, "constant", take=take) == pytest.approx(take / 2.5)


def test_bad_numbers_are_named():
    with pytest.raises(InputError, match="take is 3, expected at most num_workers, 2"):
        theory.synchronous_throughput(2, 1.0, 0.1, take=3)
    with pytest.raises(InputError, match="take is 0, expected an integer of at least 1"):
        theory.synchronous_throughput(2, 1.0, 0.1, take=0)
    with pytest.raises(InputError, match="distribution is 'gamma', expected exponential or constant"):
        theory.synchronous_throughput(2, 1.0, 0.1, "gamma")
    with pytest.raises(InputError, match="num_workers is 0"):
        theory.asynchronous_throughput(0, 1.0, 0.1)
    with pytest.raises(InputError, match="compute is 0"):
        theory.synchronous_throughput(2, 0.0, 0.1)
