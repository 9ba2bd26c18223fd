"""Durations read off small traces, likelihoods against SciPy's, and fits to delays with a search made short."""

import numpy as np
import pytest
import scipy.stats

from asyncopt import InputError, traces
from asyncopt.analysis import cluster_fit
from asyncopt.analysis.cluster_fit import ClusterFit
from asyncopt.traces import Duration, Trace, durations


def in_turn(num_updates, num_workers, **clock):
    """Workers that update in turn, each with a gradient of its own last update."""
    number = np.arange(num_updates)
    read = np.maximum(number - num_workers + 1, 0)
    return Trace(read, worker=number % num_workers, num_workers=num_workers, **clock)


def test_without_arrivals_all_time_is_the_workers():
    """Updates every half second: each of two workers takes 1 s, but for the 0.5 s of the first gradient."""
    fitted = cluster_fit.fit_cluster(in_turn(400, 2, time=0.5 * np.arange(1, 401)))
    assert fitted.compute.mean == pytest.approx([(0.5 + 199) / 200, 1.0])
    assert (fitted.server, fitted.num_workers, fitted.has_clock) == (Duration("constant", 0.0), 2, True)


def test_one_worker_has_one_mean_and_what_comes_at_once_takes_no_time():
    arrival = np.arange(20.0)
    fitted = cluster_fit.fit_cluster(in_turn(20, 1, time=arrival + 1, arrival=arrival))
    assert fitted == ClusterFit(1, Duration("constant", 0.0), Duration("constant", 1.0), True)


def test_a_gradient_that_arrives_before_its_workers_last_update_takes_no_time():
    arrival = np.maximum(np.arange(20.0) - 0.5, 0)
    fitted = cluster_fit.fit_cluster(in_turn(20, 1, time=np.arange(1.0, 21), arrival=arrival))
    assert fitted == ClusterFit(1, Duration("constant", 0.0), Duration("constant", 1.0), True)


def test_the_server_is_busy_from_an_arrival_or_from_the_update_before():
    """Both gradients of a pair arrive together: one is applied after 0.25 s, the other 0.25 s later."""
    pair = np.repeat(np.arange(1.0, 21.0), 2)
    fitted = cluster_fit.fit_cluster(in_turn(40, 2, arrival=pair, time=pair + np.tile([0.25, 0.5], 20)))
    assert fitted.server == Duration("constant", 0.25)
    assert fitted.compute.mean == pytest.approx([(1 + 19 * 0.75) / 20, (1 + 19 * 0.5) / 20])


@pytest.mark.parametrize(
    ("num_updates", "num_workers", "enough"), [(19, 1, False), (20, 1, True), (31, 16, False), (32, 16, True)]
)
def test_a_trace_has_twenty_updates_and_two_of_each_worker(num_updates, num_workers, enough):
    trace = in_turn(num_updates, num_workers, time=np.arange(1.0, num_updates + 1))
    if enough:
        assert cluster_fit.fit_cluster(trace).num_workers == num_workers
    else:
        with pytest.raises(InputError, match=f"has {num_updates} updates of {num_workers} workers, expected at least"):
            cluster_fit.fit_cluster(trace)


@pytest.mark.parametrize(("number", "between", "name"), [(240, (0.67, 1), "exponential"), (400, (1, 1.5), "gamma")])
def test_a_shape_has_to_raise_the_log_likelihood_by_one(number, between, name):
    """Akaike's criterion, by SciPy's fits to quantiles of the gamma distribution of shape 1.1."""
    units = scipy.stats.gamma.ppf((np.arange(number) + 0.5) / number, 1.1, scale=1 / 1.1)
    fits = [(family, family.fit(units, floc=0)) for family in (scipy.stats.expon, scipy.stats.gamma)]
    without, with_shape = (family.logpdf(units, *parameters).sum() for family, parameters in fits)
    assert between[0] < with_shape - without < between[1]
    found = cluster_fit._likeliest(units)
    assert (found.distribution, found.mean) == (name, 1.0)
    assert found.shape == (None if name == "exponential" else fits[1][1][0])


def test_units_of_no_time_are_taken_as_short_ones():
    units = np.append(scipy.stats.lognorm.ppf((np.arange(500) + 0.5) / 500, 0.5), 0.0)
    found = cluster_fit._likeliest(units)
    expected = scipy.stats.gamma.fit(np.maximum(units, 1e-6), floc=0)[0]
    assert (found.distribution, found.shape) == ("gamma", pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize(
    ("share", "server"), [(0.0, Duration("constant", 0.0)), (0.6, Duration("exponential", 0.6 / 3))]
)
def test_a_fit_to_delays_has_the_servers_share_of_a_cycle(share, server, monkeypatch):
    """Delays of 2 are of three workers: the server's share is three times its time."""
    monkeypatch.setattr(cluster_fit, "_SERVER_SHARES", (share,))
    monkeypatch.setattr(cluster_fit, "_FITTED_UPDATES", 50)
    fitted = cluster_fit.fit_cluster(traces.constant(40, 2))
    assert (fitted.num_workers, fitted.server, fitted.has_clock) == (3, server, False)
    assert (fitted.compute.distribution, fitted.compute.mean) == ("gamma", 1.0)
    assert 1 / 3.0**2 <= fitted.compute.shape <= 1 / 1e-2**2


def test_no_delay_has_a_server_that_takes_no_time():
    fitted = cluster_fit.fit_cluster(traces.synchronous(20))
    assert fitted == ClusterFit(1, Duration("constant", 1.0), Duration("constant", 0.0), False)


def test_histograms_of_delays_are_compared():
    """No delay, and delays of 0, 1, 2, 2, ...: 19 of 20 differ, by 37 in all."""
    found = cluster_fit.compare(traces.synchronous(20), traces.constant(20, 2))
    assert found["total_variation"] == pytest.approx(19 / 20)
    assert found["wasserstein"] == pytest.approx(37 / 20)
    assert found["updates_per_second"] is None
    assert set(found["recorded"].values()) == {0}
    spread = np.sqrt((1 + 18 * 4) / 20 - (37 / 20) ** 2)
    assert found["synthetic"] == pytest.approx(
        {"mean": 37 / 20, "standard_deviation": spread, "max": 2}
        | {"quantile_0.5": 2, "quantile_0.9": 2, "quantile_0.99": 2}
    )
    clocks = [in_turn(20, 1, time=seconds * np.arange(1, 21)) for seconds in (0.5, 0.25)]
    rates = [trace.updates_per_second for trace in clocks]
    assert cluster_fit.compare(*clocks)["updates_per_second"] == {"recorded": rates[0], "synthetic": rates[1]}
    assert cluster_fit.compare(clocks[0], traces.synchronous(20))["updates_per_second"] is None


def test_a_fit_is_typed_as_overrides():
    fitted = ClusterFit(2, durations.gamma([1.0, 0.25], 4.0), durations.constant(0.5), True)
    assert fitted.overrides() == [
        "trace=cluster",
        "trace.num_workers=2",
        "trace.compute={distribution:gamma,mean:[1,0.25],shape:4}",
        "trace.server={distribution:constant,mean:0.5,shape:null}",
    ]


def test_a_synthetic_trace_is_that_of_its_seed():
    fitted = ClusterFit(3, durations.exponential(1.0), durations.constant(0.1), True)
    first, same, other = (fitted.trace(30, **seed) for seed in ({}, {"seed": 0}, {"seed": 1}))
    assert (first.num_updates, first.num_workers) == (30, 3)
    np.testing.assert_array_equal(first.time, same.time)
    assert not np.array_equal(first.time, other.time)
