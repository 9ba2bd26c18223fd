"""When two seeds are called the same or correlated, and a tail too heavy, from numbers made by hand."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from asyncopt.analysis import seeds


def uncorrelated(rng, num_seeds, num_cells, distance=0.0):
    """Cells that are uncorrelated over the seeds, of which the first two are as far apart as ``distance``."""
    rows = rng.normal(size=(num_seeds, num_cells))
    rows[1] = rows[0] + distance * rows[1]
    return np.linalg.qr(rows - rows.mean(axis=0))[0]  # a seed's cells are mixed, not the seeds


def cosines(values):
    length = np.linalg.norm(values, axis=1)
    return values @ values.T / np.outer(length, length)


@pytest.mark.parametrize(("excess", "alarm"), [(-0.005, False), (0.005, True)])
def test_the_most_alike_two_seeds_are_tested_by_fishers_z_for_all_pairs(excess, alarm):
    """One-sided at 1e-3 for all 120 pairs together: the z of n uncorrelated cells has the error 1/√(n - 3)."""
    wanted = math.tanh((scipy.stats.norm.isf(1e-3 / 120) + excess) / math.sqrt(6 - 3))

    def made(distance):
        return uncorrelated(np.random.default_rng(1), 16, 6, distance)

    distance = scipy.optimize.brentq(lambda distance: cosines(made(distance))[0, 1] - wanted, 0.0, 1.0, xtol=1e-13)
    values = made(distance)
    assert np.sort(cosines(values)[np.triu_indices(16, 1)])[-2] < wanted - 0.005
    assert seeds.dependent(values, tuple(range(16))) == (
        f"seeds 0 and 1 are correlated ({wanted:.2f} over the cells)" if alarm else ""
    )


@pytest.mark.parametrize(("num_cells", "named"), [(3, False), (4, False), (5, True)])
def test_four_cells_show_no_correlation(num_cells, named):
    values = uncorrelated(np.random.default_rng(0), 16, num_cells, distance=1e-9)
    assert seeds.dependent(values, tuple(range(16))) == "seeds 0 and 1 are correlated (1.00 over the cells)" * named


@pytest.mark.parametrize(("num_seeds", "named"), [(3, False), (4, True)])
def test_three_seeds_show_no_correlation(num_seeds, named):
    values = np.random.default_rng(0).normal(size=(num_seeds, 25))
    values[-1] = values[0] + 0.01 * values[-1]
    last = num_seeds + 6
    found = seeds.dependent(values, tuple(range(7, 7 + num_seeds)))
    assert found == f"seeds 7 and {last} are correlated (1.00 over the cells)" * named


def test_seeds_that_differ_only_where_one_diverged_are_correlated():
    values = np.random.default_rng(0).gamma(25, 1 / 25, (16, 25))
    values[5] = values[2]
    values[5, 0] = np.inf
    names = tuple(range(20, 4, -1))
    assert seeds.dependent(values, names) == "seeds 15 and 18 are correlated (1.00 over the cells)"


def test_four_times_the_same_cell_are_one_and_a_half_independent_ones_of_five_seeds():
    """By hand: covariances of 5/4, their trace 5 and sum of squares 25, without bias (25 - 25/4) · 16/18 = 50/3."""
    scores = np.outer([1, -1, 0, 0, 0], np.ones(4)) * math.sqrt(5 / 2)
    assert seeds._independent_numbers(scores) == pytest.approx(25 / (50 / 3))


def test_a_tail_is_heavy_on_average_or_in_one_cell():
    """One 1 among zeros has the largest skewness possible, from three seeds on."""
    alone, even = np.eye(16)[0], np.tile([-1.0, 1.0], 8)
    on_average = "too heavy a tail to tell: skewness of {} of the largest possible on average"
    assert seeds.heavy_tail(np.stack([alone] * 3 + [even], axis=1)) == on_average.format("75%")
    assert seeds.heavy_tail(np.eye(3)[:, :1]) == on_average.format("100%")
    some = np.stack([alone] + [even] * 9, axis=1)
    assert seeds.heavy_tail(some) == "too heavy a tail to tell: in some cell one seed outweighs all others"
    assert seeds.heavy_tail(some[:, 1:]) == ""


def test_a_seed_at_the_mean_is_correlated_with_none():
    half = np.random.default_rng(0).integers(-9, 10, (8, 25))
    values = np.concatenate([half, -half, np.zeros((1, 25))])
    assert seeds.dependent(values, tuple(range(17))) == ""


def test_seeds_close_to_the_mean_are_correlated_if_they_deviate_alike():
    rng = np.random.default_rng(0)
    half, deviation = rng.integers(-9, 10, (8, 25)), rng.normal(size=25) / 100
    alike = np.concatenate([half, -half, [deviation], [1.1 * deviation], [-2.1 * deviation]])
    assert seeds.dependent(alike, tuple(range(19))) == "seeds 16 and 17 are correlated (1.00 over the cells)"


def test_seeds_that_are_the_same_are_named():
    values = np.random.default_rng(0).gamma(25, 1 / 25, (16, 25))
    assert seeds.dependent(values, tuple(range(16))) == ""
    values[11] = values[3]
    assert seeds.dependent(values, tuple(range(16))) == "seeds 3 and 11 have the same values in all cells"
    values[11] *= 1 + 0.01 * np.random.default_rng(1).normal(size=25)
    assert "seeds 3 and 11 are correlated" in seeds.dependent(values, tuple(range(16)))


def test_few_seeds_or_cells_show_no_dependence():
    values = np.random.default_rng(0).gamma(25, 1 / 25, (16, 25))
    values[1] = values[0] * 1.001
    assert "seeds 0 and 1 are correlated" in seeds.dependent(values, tuple(range(16)))
    assert seeds.dependent(values[:, :3], tuple(range(16))) == ""
    assert seeds.dependent(values[:2], (0, 1)) == ""
    assert seeds.dependent(values[[0, 0, 2]], (4, 5, 6)) == "seeds 4 and 5 have the same values in all cells"
    # A cell that diverged, or has no spread, says nothing; negative values are taken as they are.
    values[3, 0], values[:, 1] = np.inf, 1.0
    assert "seeds 0 and 1 are correlated" in seeds.dependent(values, tuple(range(16)))
    assert "seeds 0 and 1 are correlated" in seeds.dependent(values - 1, tuple(range(16)))
    assert seeds.heavy_tail(values[:2]) == seeds.heavy_tail(values[:, :0]) == ""
