"""A model fitted to a trace of a known cluster is that cluster, and makes traces like it."""

import numpy as np
import pytest

from asyncopt import InputError, traces
from asyncopt.analysis import cluster_fit
from asyncopt.report import fitting
from asyncopt.traces import Trace, cluster, durations
from tests.reference import machine_repairman_throughput

MEANS = [1.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "compute",
    [
        durations.exponential(MEANS), durations.gamma(MEANS, 4.0), durations.lognormal(MEANS, 0.5),
        durations.constant(MEANS),
    ],
    ids=lambda duration: duration.distribution,
)  # fmt: skip
def test_durations_are_read_off_a_clock(compute):
    fitted = cluster_fit.fit_cluster(cluster(20_000, 4, compute, durations.exponential(0.1), seed=5))
    assert fitted.num_workers == 4
    assert fitted.has_clock
    np.testing.assert_allclose(fitted.compute.mean, MEANS, rtol=0.03)
    assert fitted.server.mean == pytest.approx(0.1, rel=0.03)
    spread = np.std(fitted.compute.unit_draws(np.random.default_rng(0), 100_000))
    wanted = np.std(compute.unit_draws(np.random.default_rng(1), 100_000))
    assert spread == pytest.approx(wanted, rel=0.05, abs=1e-3)
    if compute.distribution in ("lognormal", "constant"):  # exponential and gamma may stand for each other
        assert fitted.compute.distribution == compute.distribution


def test_the_synthetic_trace_is_like_the_recorded_one():
    recorded = cluster(20_000, 8, durations.exponential(1.0), durations.exponential(0.2), seed=1)
    synthetic = cluster_fit.fit_cluster(recorded).trace(20_000, seed=2)
    compared = cluster_fit.compare(recorded, synthetic)
    assert compared["total_variation"] < 0.03
    rates = compared["updates_per_second"]
    assert rates["synthetic"] == pytest.approx(rates["recorded"], rel=0.03)
    assert rates["synthetic"] == pytest.approx(machine_repairman_throughput(8, 1.0, 0.2), rel=0.03)
    # A cluster with another spread is told apart.
    other = cluster(20_000, 8, durations.constant(1.0), durations.exponential(0.2), seed=2)
    assert cluster_fit.compare(recorded, other)["total_variation"] > 0.3


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_delays_alone_say_how_many_workers_and_how_they_spread(spread):
    recorded = Trace.from_delays(cluster(4_000, 6, durations.gamma(1.0, spread**-2), seed=3).delay)
    fitted = cluster_fit.fit_cluster(recorded)
    assert (fitted.num_workers, fitted.has_clock) == (6, False)
    compared = cluster_fit.compare(recorded, fitted.trace(4_000, seed=7))
    assert compared["total_variation"] < 0.06
    assert compared["updates_per_second"] is None


def test_no_delay_is_one_worker():
    fitted = cluster_fit.fit_cluster(traces.synchronous(50))
    assert fitted.num_workers == 1
    assert not fitted.trace(50).delay.any()


def test_constant_seconds_far_below_one():
    fitted = cluster_fit.fit_cluster(cluster(40, 2, 0.1, 0.01))
    assert (fitted.compute.distribution, fitted.server.distribution) == ("constant", "constant")
    assert fitted.server.mean == pytest.approx(0.01)
    np.testing.assert_allclose(fitted.compute.mean, 0.1)


def test_delays_count_once_the_start_is_forgotten():
    """After four times the largest delay, but after a quarter of the trace at the latest."""
    assert cluster_fit._settled(traces.constant(1000, 10)) == 40
    assert cluster_fit._settled(traces.constant(42, 10)) == 10


def test_refuses_what_says_nothing():
    with pytest.raises(InputError, match="the trace has 5 updates of 1 workers, expected at least 20"):
        cluster_fit.fit_cluster(traces.synchronous(5))
    silent = Trace(np.arange(30), worker=np.zeros(30, int), time=np.arange(30.0), num_workers=2)
    with pytest.raises(InputError, match="worker 1 of the trace has no update"):
        cluster_fit.fit_cluster(silent)


def test_the_command(tmp_path, capsys):
    cluster(400, 3, seed=1).save(tmp_path / "trace.npz")
    assert fitting.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "'trace=cluster' 'trace.num_workers=3' 'trace.compute={distribution:" in said
    assert sorted(path.name for path in (tmp_path / "trace-fit").iterdir()) == [
        "delays.png", "model.json", "synthetic.npz",
    ]  # fmt: skip
    assert traces.load(tmp_path / "trace-fit" / "synthetic.npz").num_workers == 3
    (tmp_path / "delays.csv").write_text("\n".join(["0", "1", *["2"] * 60]))
    assert fitting.main([str(tmp_path / "delays.csv"), "--output", str(tmp_path / "elsewhere")]) == 0
    assert "from delays alone" in capsys.readouterr().out
    assert fitting.main([str(tmp_path / "nothing.csv")]) == 1
    assert "asyncopt fit: " in capsys.readouterr().err
