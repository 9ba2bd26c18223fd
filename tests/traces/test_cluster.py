import sys

import numpy as np
import pytest
import scipy.stats

from asyncopt import InputError
from asyncopt.traces import Duration, WorkerTimes, cluster, cyclic, durations, rounds, shared_memory
from asyncopt.traces.seconds import Seconds
from tests.reference import machine_repairman_throughput

ALL = [
    durations.constant(2.0),
    durations.exponential(2.0),
    durations.gamma(2.0, 3.0),
    durations.lognormal(2.0, 0.5),
    durations.pareto(2.0, 3.0),
]


@pytest.mark.parametrize("num_workers", [1, 2, 8, 32])
@pytest.mark.parametrize("server", [0.02, 0.2])
def test_throughput_is_that_of_the_markov_chain(num_workers, server):
    trace = cluster(
        200_000, num_workers, compute=durations.exponential(1.0), server=durations.exponential(server), seed=1
    )
    throughput = trace.num_updates / trace.time[-1]
    assert throughput == pytest.approx(machine_repairman_throughput(num_workers, 1.0, server), rel=0.02)
    assert trace.mean_delay == pytest.approx(num_workers - 1, rel=0.02)


def test_a_wrong_service_time_would_be_seen():
    trace = cluster(200_000, 8, compute=durations.exponential(1.0), server=durations.exponential(0.2), seed=1)
    assert trace.num_updates / trace.time[-1] != pytest.approx(machine_repairman_throughput(8, 1.0, 0.15), rel=0.02)


def test_a_compiled_simulation_has_the_same_bits(monkeypatch):
    """Long traces are simulated by the same function, compiled."""
    settings = [
        {"num_workers": 1},
        {"num_workers": 50, "server": 0.01, "network": "exponential", "stragglers": 3},
        {"num_workers": 3, "compute": durations.constant([1.0, 1.0, 2.0]), "server": 0.5},  # with ties
    ]
    interpreted = [cluster(5_000, **setting) for setting in settings]
    monkeypatch.setattr(sys.modules["asyncopt.traces.cluster"], "_COMPILED_FROM", 1)  # the package has the function
    compiled = [cluster(5_000, **setting) for setting in settings]
    assert [trace.digest for trace in compiled] == [trace.digest for trace in interpreted]


@pytest.mark.parametrize("compute", ALL, ids=lambda d: d.distribution)
def test_mean_delay_is_one_less_than_the_workers_whatever_the_speeds(compute):
    stragglers = Duration(compute.distribution, [1.0, 1.0, 2.0, 10.0], compute.shape)
    assert cluster(100_000, 4, compute=stragglers).mean_delay == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("duration", ALL, ids=lambda d: d.distribution)
def test_durations_have_their_mean(duration):
    draws = duration.unit_draws(np.random.default_rng(0), 400_000)
    assert draws.mean() == pytest.approx(1.0, rel=0.02)
    assert (draws >= 0).all()


def test_one_worker_is_synchronous():
    trace = cluster(100, 1, compute=2.0, server=0.5, network=0.25)
    assert not trace.delay.any()
    # Each update takes a message, a computation, a message, and the service.
    np.testing.assert_allclose(trace.time, 3.0 * np.arange(1, 101))


def test_equal_constant_times_are_round_robin():
    trace = cluster(50, 5, compute=1.0, server=0.01)
    np.testing.assert_array_equal(trace.worker, cyclic(50, 5).worker)
    np.testing.assert_array_equal(trace.read_version, cyclic(50, 5).read_version)


def test_against_a_simulation_by_hand():
    # Worker 0 needs 1 s, worker 1 needs 2.5 s, the server 0.5 s.
    trace = cluster(5, 2, compute=[1.0, 2.5], server=0.5)
    # 0 arrives at 1, done 1.5; arrives at 2.5 with worker 1: 0 first, done 3.0; 1 waits, done 3.5; ...
    np.testing.assert_array_equal(trace.worker, [0, 0, 1, 0, 0])
    np.testing.assert_allclose(trace.time, [1.5, 3.0, 3.5, 4.5, 6.0])
    np.testing.assert_array_equal(trace.read_version, [0, 1, 0, 2, 4])


def test_one_straggler_needs_few_slots():
    trace = cluster(40_000, 8, compute=durations.exponential([1.0] * 7 + [1000.0]), server=0.001)
    assert trace.max_delay > 1000
    assert trace.live_versions <= 9


def test_a_saturated_server_sets_the_pace():
    trace = cluster(1000, 64, compute="exponential", server=1.0)
    assert trace.num_updates / trace.time[-1] == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": 0}, "num_workers is 0"),
        ({"compute": "normal"}, "compute: distribution is 'normal', expected one of"),
        ({"compute": -1.0}, "compute: mean of the constant duration is -1.0, expected a finite number >= 0"),
        (
            {"compute": "gamma"},
            r"compute: shape of the gamma duration .* is None, expected a finite number > 0",
        ),
        ({"compute": {"distribution": "pareto", "shape": 1.0}}, "shape of the pareto .* is 1.0, .* > 1"),
        ({"compute": {"distribution": "constant", "shape": 1.0}}, "a constant duration has none"),
        ({"compute": {"kind": "constant"}}, "compute: .* unexpected keyword argument 'kind'"),
        ({"compute": [1.0, 2.0]}, "compute has 2 means, expected one, or one for each of the 3 workers"),
        ({"compute": [1.0, float("nan"), 1.0]}, "mean of the constant duration, worker 1 is nan"),
        ({"num_workers": 2, "compute": [1.0, -1.0]}, "mean of the constant duration, worker 1 is -1.0"),
        ({"server": [1.0, 2.0]}, "server has 2 means, expected one"),
        ({"network": float("inf")}, "network: mean of the constant duration is inf"),
        ({"compute": True}, "compute: mean of the constant duration is True"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        cluster(**{"num_updates": 10, "num_workers": 3} | arguments)


def test_stragglers_are_means_one_by_one():
    slow = cluster(500, 4, compute=durations.exponential(2.0), stragglers=1, slowdown=10.0, seed=3)
    by_hand = cluster(500, 4, compute=durations.exponential([2.0, 2.0, 2.0, 20.0]), seed=3)
    np.testing.assert_array_equal(slow.read_version, by_hand.read_version)
    np.testing.assert_array_equal(slow.time, by_hand.time)
    # Never all: the only worker there is stays as it is.
    np.testing.assert_array_equal(cluster(50, 1, stragglers=1, seed=3).time, cluster(50, 1, seed=3).time)


def test_worker_times():
    times = WorkerTimes(4, {"distribution": "exponential", "mean": 2.0, "shape": None}, stragglers=2, slowdown=2.5)
    np.testing.assert_array_equal(times.means, [2.0, 2.0, 5.0, 5.0])
    assert times.label == "exponential times, 2 stragglers × 2.5"
    assert WorkerTimes(4, "exponential", stragglers=1).label == "exponential times, 1 straggler × 4"
    assert WorkerTimes(4, [1.0, 1.0, 2.0, 2.0]).label == "constant times"
    np.testing.assert_array_equal(WorkerTimes(3, 1.0, stragglers=9).means, [1.0, 4.0, 4.0])


def test_rounds_by_hand():
    # Workers need 1 s and 2.5 s, a message 0.25 s, the server 0.5 s: each round takes 3.5 s.
    trace = rounds(6, 2, compute=[1.0, 2.5], network=0.25, server=0.5)
    np.testing.assert_array_equal(trace.worker, [0, 1, 0, 1, 0, 1])
    np.testing.assert_allclose(trace.time, [3.5, 3.5, 7.0, 7.0, 10.5, 10.5])
    assert not trace.delay.any()
    np.testing.assert_allclose(rounds(4, 2, compute=1.0, stragglers=1, slowdown=3.0).time, [3.0, 3.0, 6.0, 6.0])


@pytest.mark.parametrize("compute", ALL, ids=lambda d: d.distribution)
def test_rounds_of_one_worker_are_asynchronous(compute):
    settings = {"compute": compute, "server": durations.exponential(0.1), "network": durations.exponential(0.1)}
    np.testing.assert_allclose(rounds(200, 1, **settings).time, cluster(200, 1, **settings).time)
    settings["server"] = 0.0  # then to the last bit
    assert rounds(200, 1, **settings) == cluster(200, 1, **settings)


def test_rounds_that_take_the_first_gradients_by_hand():
    # Three workers need 3, 1 and 2 s, a message 0.25 s, the server 0.5 s. The first two gradients are those of workers
    # 1 and 2, after 1.5 and 2.5 s. Worker 0 starts again with the others at 3 s.
    trace = rounds(4, 3, compute=[3.0, 1.0, 2.0], network=0.25, server=0.5, take=2)
    np.testing.assert_array_equal(trace.worker, [1, 2, 1, 2])
    np.testing.assert_allclose(trace.arrival, [1.5, 2.5, 4.5, 5.5])
    np.testing.assert_allclose(trace.time, [3.0, 3.0, 6.0, 6.0])
    assert not trace.delay.any()
    assert trace.num_workers == 3


@pytest.mark.parametrize(("num_workers", "take"), [(8, 1), (8, 3), (16, 12), (5, 5)])
def test_a_round_is_as_long_as_an_order_statistic(num_workers, take):
    """The m-th of p exponential times is on average c (H_p - H_{p-m}) (Rényi, 1953)."""
    trace = rounds(20_000 * take, num_workers, compute=durations.exponential(2.0), take=take, seed=1)
    expected = 2.0 * sum(1 / j for j in range(num_workers - take + 1, num_workers + 1))
    assert trace.time[-1] / 20_000 == pytest.approx(expected, rel=0.02)


def test_rounds_that_take_all_are_those_of_before():
    """Digests of traces made before rounds could cancel gradients."""
    settings = {"server": durations.exponential(0.1), "network": "exponential", "stragglers": 1, "seed": 5}
    assert rounds(240, 3).digest.startswith("58ba15b6528a1731")
    for take in (None, 8):
        assert rounds(240, 8, **settings, take=take).digest.startswith("1903107e81d863e5")


def test_a_share_of_the_workers_is_valid_for_every_number_of_them():
    for num_workers, gradients in ((1, 1), (2, 1), (4, 1), (8, 2), (16, 4)):
        share, count = (rounds(32, num_workers, take=take) for take in (0.25, gradients))
        assert share.digest == count.digest


@pytest.mark.parametrize("take", [0, 4, 1.0, -0.5, True, "all", float("nan")])
def test_rounds_refuse_to_take(take):
    with pytest.raises(InputError, match=r"take is .*, expected a whole number .* from 1 to num_workers, 3"):
        rounds(12, 3, take=take)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_updates": 10}, "num_updates is 10, expected a multiple of num_workers, 3"),
        ({"num_updates": 3, "take": 2}, "num_updates is 3, expected a multiple of the gradients taken in a round, 2"),
        ({"stragglers": -1}, "stragglers is -1"),
        ({"slowdown": 0.5}, "slowdown is 0.5, expected a finite number >= 1"),
        ({"compute": [1.0, 2.0]}, "compute has 2 means"),
    ],
)
def test_rounds_refuse(arguments, message):
    with pytest.raises(InputError, match=message):
        rounds(**{"num_updates": 12, "num_workers": 3} | arguments)


def test_arrivals_are_between_being_sent_and_being_applied():
    trace = cluster(2_000, 4, compute=durations.exponential(1.0), server=durations.exponential(0.3), seed=2)
    begun = np.append(0.0, trace.time)[trace.read_version]
    assert np.all((begun <= trace.arrival) & (trace.arrival <= trace.time))
    # First come, first served.
    assert np.all(np.diff(trace.arrival) >= 0)
    np.testing.assert_allclose(np.mean(trace.arrival - begun), 1.0, rtol=0.1)


def test_shared_memory_against_a_simulation_by_hand():
    # One block after another: worker 0 reads in 2 s and computes in 1 s, worker 1 in 2 s and 2 s; writing takes 1 s.
    trace = shared_memory(4, 2, num_blocks=2, compute=[1.0, 2.0], read=2.0, write=1.0)
    # Both read iterate 0 until 2 s. Worker 0 comes at 3 s, is written by 4 s; worker 1 comes at 4 s, is written by 5 s.
    # Worker 0 reads the first block at 5 s, when update 1 has been written, and the second at 6 s. It comes at 7 s.
    # Worker 1 began at 5 s and comes at 9 s, of iterate 2 in both blocks: update 2 writes from 7 to 8 s.
    np.testing.assert_array_equal(trace.worker, [0, 1, 0, 1])
    np.testing.assert_array_equal(trace.time, [4, 5, 8, 10])
    np.testing.assert_array_equal(trace.arrival, [3, 4, 7, 9])
    assert trace.is_consistent
    np.testing.assert_array_equal(trace.read_version, [0, 0, 2, 2])
    # Worker 0 comes at 3 s, is written by 4 s. Worker 1 comes at 5 s; its blocks are written by 5.5 s and by 6 s.
    # Worker 0 has read the first by 5.25 s, of iterate 1, and the second by 6.5 s, of iterate 2. It comes at 7 s.
    racing = shared_memory(3, 2, num_blocks=2, compute=[0.5, 2.5], read=2.5, write=1.0)
    np.testing.assert_array_equal(racing.time, [4, 6, 8])
    np.testing.assert_array_equal(racing.block_version, [[0, 0], [0, 0], [1, 2]])
    np.testing.assert_array_equal((racing.read_version[2], racing.read_end[2]), [1, 2])


def shared_memory_plainly(seconds, num_blocks):
    """Worker, time, arrival and versions of the blocks by looking at all workers in each step, without a queue."""
    away = [seconds.compute_draws[w] * seconds.compute_means[w] for w in range(seconds.num_workers)]
    reading = [seconds.transfer_draws[w] * seconds.transfer_means[w] for w in range(seconds.num_workers)]
    begun, arrives = [0.0] * seconds.num_workers, [sum(pair) for pair in zip(away, reading, strict=True)]
    rows, written, free = [], [], 0.0
    for k, writing in enumerate(seconds.service):
        worker = min(range(seconds.num_workers), key=lambda w: (arrives[w], w))
        start = max(free, arrives[worker])
        free = start + writing
        versions = []
        for block in range(1, num_blocks + 1):
            copied = begun[worker] + reading[worker] * block / num_blocks
            versions.append(sum(copied >= first + took * block / num_blocks for first, took in written))
        written.append((start, writing))
        rows.append((worker, free, arrives[worker], versions))
        d = seconds.num_workers + k
        begun[worker], reading[worker] = free, seconds.transfer_draws[d] * seconds.transfer_means[worker]
        arrives[worker] = free + reading[worker] + seconds.compute_draws[d] * seconds.compute_means[worker]
    return [list(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("seed", range(5))
def test_shared_memory_against_a_plain_simulation(seed):
    times = WorkerTimes(4, "exponential", stragglers=1, slowdown=3.0)
    read, write = durations.exponential(0.5), durations.gamma(0.2, 2.0)
    seconds = Seconds(200, times, ("read", read), ("write", write), seed)
    worker, time, arrival, versions = shared_memory_plainly(seconds, 5)
    trace = shared_memory(
        200, 4, num_blocks=5, read=read, write=write, stragglers=1, slowdown=3.0, seed=seed
    )  # fmt: skip
    np.testing.assert_array_equal(trace.worker, worker)
    np.testing.assert_allclose(trace.time, time, rtol=1e-12)
    np.testing.assert_allclose(trace.arrival, arrival, rtol=1e-12)
    np.testing.assert_array_equal(trace.block_version, versions)


def test_shared_memory_that_is_read_and_written_at_once_is_the_cluster():
    at_once = shared_memory(200, 5, read=0.0, write=0.0, seed=3)
    np.testing.assert_array_equal(at_once.read_version, cluster(200, 5, seed=3).read_version)
    assert at_once.block_version is None
    assert shared_memory(200, 5, num_blocks=1, read=1.0, write=0.5, seed=3).block_version is None
    assert not shared_memory(200, 5, read=1.0, write=0.5, seed=3).is_consistent


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_workers": 0}, "num_workers is 0"),
        ({"num_blocks": 0}, "num_blocks is 0"),
        ({"read": -1.0}, "read: mean of the constant duration is -1.0"),
        ({"write": "normal"}, "write: distribution is 'normal'"),
        ({"write": [1.0, 2.0]}, "write has 2 means"),
    ],
)
def test_shared_memory_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        shared_memory(**({"num_updates": 10, "num_workers": 3} | arguments))


@pytest.mark.parametrize("make", [cluster, shared_memory, cyclic])
def test_swapped_numbers_are_noticed(make):
    with pytest.warns(UserWarning, match="num_workers is 50, more than num_updates, 8.*swapped"):
        make(8, 50)


@pytest.mark.parametrize("make", [cluster, rounds, shared_memory])
def test_seeds(make):
    """The default is 0, another gives another trace, and none is negative."""
    assert make(40, 4) == make(40, 4, seed=0) != make(40, 4, seed=1)
    with pytest.raises(InputError, match="seed is -1, expected an integer of at least 0"):
        make(40, 4, seed=-1)


def test_half_normal_times_have_their_mean_and_shape():
    trace = cluster(4000, 1, compute={"distribution": "half_normal", "mean": 2.0})
    drawn = np.diff(trace.time, prepend=0.0)
    assert scipy.stats.kstest(drawn, scipy.stats.halfnorm(scale=2.0 * np.sqrt(np.pi / 2)).cdf).pvalue > 0.01
