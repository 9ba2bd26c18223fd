"""The paper's tables, and the cluster model fitted to them."""

import numpy as np
import pytest

from asyncopt.analysis.speedup_fit import SpeedupFit, fit_speedup
from asyncopt.checks import InputError
from asyncopt.theory import asynchronous_throughput
from figures import reported


def test_the_fit_finds_the_cluster_that_made_a_table():
    workers = [1, 2, 4, 8, 16, 32]
    made = [asynchronous_throughput(p, 0.9, 0.07) for p in workers]
    fit = fit_speedup(workers, made)
    assert fit.compute == pytest.approx(0.9, rel=1e-6)
    assert fit.server == pytest.approx(0.07, rel=1e-6)
    assert fit.worst < 1e-6


def test_the_fit_is_the_best_on_a_grid():
    workers, speedups = reported.points("LeNet-5", "speed-up")
    fit = fit_speedup(workers, speedups)

    def squared(compute, server):
        throughput = [asynchronous_throughput(p, compute, server) for p in workers]
        return np.sum(np.log(np.array(throughput) / speedups) ** 2)

    grid = [squared(c, s) for c in np.linspace(0.7, 1.3, 61) for s in np.linspace(0.01, 0.2, 96)]
    assert squared(fit.compute, fit.server) <= min(grid)


def test_no_cluster_fits_every_point_of_the_first_table_of_lenet_to_a_tenth():
    """As the caption says."""
    workers, speedups = reported.points("LeNet-5", "speed-up")
    worst = [
        np.abs(np.array([asynchronous_throughput(p, c, s) for p in workers]) / speedups - 1).max()
        for c in np.linspace(0.7, 1.4, 71)
        for s in np.linspace(0.01, 0.2, 96)
    ]
    assert min(worst) > 0.1


def test_control_a_table_that_no_cluster_makes_is_not_fitted():
    # A speed-up that falls when workers are added.
    assert fit_speedup([1, 2, 4, 8], [1, 2, 4, 1]).error > 0.3


@pytest.mark.parametrize("name", reported.speedup_tables())
def test_the_papers_tables_are_fitted_within_a_tenth(name):
    fit = fit_speedup(*reported.points(name, "speed-up"))
    assert fit.error < 0.1


def test_errors_of_a_fit_are_relative():
    """One worker takes 0.75 s and the server 0.25 s: one update a second, half of 2, and a quarter more than 0.8."""
    fit = SpeedupFit((1, 1), (2.0, 0.8), compute=0.75, server=0.25)
    np.testing.assert_allclose(fit.errors, [-0.5, 0.25])
    assert (fit.error, fit.worst) == pytest.approx((np.sqrt((0.25 + 0.0625) / 2), 0.5))


@pytest.mark.parametrize(
    ("workers", "speedups", "message"),
    [
        ([1, 2], [1.0], "2 values and reported 1"),
        ([4, 4], [1.0, 2.0], "two different"),
        ([1, 0], [1.0, 2.0], "num_workers is 0"),
        ([1, 2], [1.0, -1.0], "reported is -1"),
        ([1, 2], [1.0, float("nan")], "reported is nan"),
    ],
)
def test_bad_tables(workers, speedups, message):
    with pytest.raises(InputError, match=message):
        fit_speedup(workers, speedups)


def test_unknown_tables_are_refused():
    with pytest.raises(ValueError, match="no speed-up of ResNet"):
        reported.table("ResNet", "speed-up")
