"""Intervals cover what they claim to cover, and fits agree with slower ones."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from asyncopt.analysis import bootstrap, fits, jackknife, rates, seeds
from asyncopt.analysis.inflation import ACCEPTED_INFLATION, inflation, threshold
from asyncopt.analysis.measures import Measures
from tests.analysis import synthetic

REPETITIONS = 400


def coverage(estimates, truth):
    return np.mean([estimate.low <= truth <= estimate.high for estimate in estimates])


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_intervals_of_slopes_cover(noise):
    rng, estimates = np.random.default_rng(0), []
    for _ in range(REPETITIONS):
        study = synthetic.study(lambda tau, k: k**-0.5, rng, rules=(0,), noise=noise)
        measures = Measures(study)
        estimates.append(measures.estimate(measures.slopes("0")))
    assert 0.925 <= coverage(estimates, -0.5) <= 0.99
    assert abs(np.mean([e.value for e in estimates]) + 0.5) < 0.005


def test_intervals_of_the_delay_terms_exponents_cover():
    """The noise of a cell is small, as it is for the same mini-batches; small excesses are lost in it all the same."""
    rng, estimates = np.random.default_rng(1), []
    for _ in range(REPETITIONS):
        study = synthetic.study(lambda tau, k: k**-0.5 + 0.1 * tau**1.5 * k**-1.1, rng, noise=0.01, shared=0.2)
        measures = Measures(study)
        exponents = measures.excess_exponents()
        assert exponents is not None
        estimates.append([measures.estimate(exponents[:, column]) for column in (1, 2)])
    for column, truth in enumerate((1.5, -1.1)):
        assert 0.925 <= coverage([both[column] for both in estimates], truth) <= 0.99


def test_intervals_of_inflation_and_threshold_cover():
    """Without delay 1/√K; with it the updates count for 1/(1 + 0.1 τ/K^0.4) of theirs: threshold K^0.4."""
    rng, inflations, exponents = np.random.default_rng(2), [], []

    def truth(tau, k):
        return (k / (1 + 0.1 * tau / k**0.4)) ** -0.5

    rules = (0, "0.25*K**0.4", "0.5*K**0.4", "K**0.4", "2*K**0.4", "4*K**0.4")
    delay, longest = round(2 * 100_000**0.4), 100_000
    for _ in range(REPETITIONS):
        measures = Measures(synthetic.study(truth, rng, rules=rules, noise=0.02))
        cell = measures.study.where("2 K^2/5")[-1]
        inflations.append(measures.estimate(measures.inflation[0][:, cell]))
        exponents.append(measures.estimate(measures.threshold_fit[:, 1]))
    assert 0.925 <= coverage(inflations, 1 + 0.1 * delay / longest**0.4) <= 0.99
    assert 0.925 <= coverage(exponents, 0.4) <= 0.99


def draws(kind, shape, rng):
    """Errors of mean 1."""
    return {
        "gamma": lambda: rng.gamma(25, 1 / 25, shape),
        "exponential": lambda: rng.exponential(1.0, shape),
        "lognormal(1)": lambda: rng.lognormal(-0.5, 1.0, shape),
    }[kind]()


@pytest.mark.parametrize("num_seeds", [16, 32])
@pytest.mark.parametrize("kind", ["gamma", "exponential", "lognormal(1)"])
def test_intervals_miss_on_each_side_at_most_4_percent(kind, num_seeds):
    """Of means, of slopes of log means, and of ratios of means. Before, 7 % and 13 % of means were above theirs."""
    rng, number = np.random.default_rng(4), 20_000
    means = jackknife.means(draws(kind, (num_seeds, 5 * number), rng)).reshape(num_seeds + 1, 5, number)
    centred = np.arange(5) - 2.0
    pairs = {"mean": (means[:, 0], 1.0), "ratio": (np.log(means[:, 0] / means[:, 1]), 0.0)}
    pairs["slope"] = np.einsum("rkn,k->rn", np.log(means), centred) / (centred @ centred), 0.0
    pairs["difference from another"] = means[:, 0] - means[:, 1], 0.0
    for statistic, (rows, truth) in pairs.items():
        low, high = jackknife.ends(jackknife.pivot(rows))
        assert np.mean(high < truth) <= 0.04, statistic
        assert np.mean(low > truth) <= 0.04, statistic


def test_the_interval_of_a_symmetric_sample_is_students():
    half = np.random.default_rng(0).normal(size=8)
    values = 5 + np.concatenate([half, -half])
    expected = scipy.stats.t.interval(0.95, 15, values.mean(), scipy.stats.sem(values))
    np.testing.assert_allclose(jackknife.estimate(jackknife.means(values[:, None])[:, 0])[1:], expected, rtol=1e-9)


def test_error_and_skewness_of_a_mean_are_scipys():
    """Of three samples; the skewness of a mean of S numbers is theirs over √S. Equal numbers have none."""
    values = np.random.default_rng(0).exponential(1.0, (9, 3))
    at = jackknife.pivot(jackknife.means(np.column_stack([values, np.ones(9)])))
    np.testing.assert_allclose(at.value[:3], values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(at.error[:3], scipy.stats.sem(values), rtol=1e-12)
    np.testing.assert_allclose(at.skewness[:3], scipy.stats.skew(values, bias=False) / 3, rtol=1e-9)
    assert (at.error[3], at.skewness[3], at.num_seeds) == (0, 0, 9)
    # Two numbers have an error, and no skewness.
    two = jackknife.pivot(jackknife.means(np.array([[1.0], [2.0]])))
    assert (two.error[0], two.skewness[0]) == (0.5, 0)


def test_intervals_of_what_is_not_finite():
    """An infinite number that no single seed causes is known; one that a single seed causes is not."""
    assert jackknife.estimate(np.full(5, np.inf)) == (np.inf, np.inf, np.inf)
    assert [jackknife.p_at_most(np.full(5, sign * np.inf), 3.0) for sign in (1, -1)] == [1.0, 0.0]
    for rows in (np.full(2, np.inf), np.array([np.inf, 1.0, 2.0, 3.0]), np.array([2.0, np.nan, 1.0, 3.0]), np.ones(2)):
        assert np.isnan(jackknife.estimate(rows)[1:]).all()
        if not np.isinf(rows).all():
            assert np.isnan(jackknife.p_at_most(rows, 3.0))
    (only,) = jackknife.ratio(np.array([[6.0]]), np.array([[3.0]]))
    assert only.value == 2
    assert np.isnan([only.low, only.high]).all()


def test_equal_numbers_are_known_exactly():
    """Without any spread, a limit is held for sure, at the limit too, or broken for sure."""
    rows = np.full(17, 2.0)
    assert jackknife.estimate(rows) == (2, 2, 2)
    assert [jackknife.p_at_most(rows, limit) for limit in (1.9, 2.0, 2.1)] == [1.0, 0.0, 0.0]


def test_the_bootstrap_of_a_normal_mean_has_students_interval():
    """The bootstrap's own standard error is √((n - 1)/n) of s/√n; percentiles further out make up for it."""
    for num_seeds in (5, 16):
        error = 0.3 / np.sqrt(num_seeds)
        replicates = 2 + error * np.sqrt((num_seeds - 1) / num_seeds) * scipy.stats.norm.ppf(
            np.arange(1, 100_000) / 1e5
        )
        expected = scipy.stats.t.interval(0.95, num_seeds - 1, 2, error)
        shuffled = np.random.default_rng(0).permutation(replicates)
        np.testing.assert_allclose(bootstrap.estimate(2.0, shuffled, num_seeds)[1:], expected, rtol=1e-3)
    undefined = np.where(np.arange(100) < 5, np.nan, 1.0)  # 5 % may be
    assert bootstrap.estimate(1.0, undefined, 5) == (1, 1, 1)


def test_resampled_means_are_means_of_drawn_seeds():
    """Of 0, 1, 10 and 100 a mean says how often each was drawn. A diverged seed counts only where it is drawn."""
    values = np.array([[0.0, 1.0], [1.0, 1.0], [10.0, 1.0], [100.0, np.inf]])
    means = bootstrap.means(values)
    assert means.shape == (4001, 2)
    assert means[0].tolist() == [111 / 4, np.inf]
    drawn = (means[1:, 0] * 4).round().astype(int)
    counts = np.stack([drawn // 10**digit % 10 for digit in range(3)])
    assert (counts.sum(axis=0) <= 4).all()
    np.testing.assert_allclose(counts.mean(axis=1), 1, atol=0.05)
    np.testing.assert_array_equal(np.isinf(means[1:, 1]), counts[2] > 0)


def test_p_values_are_the_levels_at_which_intervals_touch():
    rows = jackknife.means(np.random.default_rng(0).exponential(1.0, (16, 50)))
    for level in (0.025, 1e-4):
        _, high = jackknife.ends(jackknife.pivot(rows), level)
        np.testing.assert_allclose(jackknife.p_values(jackknife.pivot(rows), high), level, rtol=1e-6)


def test_a_ratio_and_its_interval():
    """The ends are where the interval of numerator - c denominator touches 0; a common factor of a seed cancels."""
    rng = np.random.default_rng(0)
    common, own = rng.gamma(4, 0.25, (16, 3)), rng.gamma(100, 0.01, (16, 3))
    for each, top, bottom in zip(jackknife.ratio(common * own, common), (common * own).T, common.T, strict=True):
        assert each.value == pytest.approx(top.mean() / bottom.mean())
        for end, side in ((each.low, 0), (each.high, 1)):
            touching = jackknife.ends(jackknife.pivot(jackknife.means((top - end * bottom)[:, None])))
            assert touching[side][0] == pytest.approx(0, abs=1e-9)
        assert each.high - each.low < 0.2
    assert jackknife.ratio(common, -common)[0].high == np.inf


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


def test_the_number_of_independent_cells():
    """Twenty independent ones, by themselves and each of them three times."""
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(16, 20)) for _ in range(200)]
    tiled = ([np.tile(one - one.mean(axis=0), (1, times)) for times in (1, 3)] for one in scores)
    estimates = [[seeds._independent_numbers(one) for one in both] for both in tiled]
    np.testing.assert_allclose(np.median(estimates, axis=0), 20, rtol=0.1)


def test_independent_seeds_are_not_called_correlated():
    """With cells that are much alike, as those of the same mini-batches are: at most a few in a thousand."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(300):
        same = rng.gamma(25, 1 / 25, (16, 1, 5))
        values = (same * rng.gamma(2500, 1 / 2500, (16, 5, 5))).reshape(16, 25)
        alarms += bool(seeds.dependent(values, tuple(range(16))))
    assert alarms <= 3


@pytest.mark.parametrize(
    ("kind", "heavy"), [("gamma", False), ("exponential", False), ("lognormal(1.5)", True), ("few", True)]
)
def test_a_heavy_tail_is_refused(kind, heavy):
    rng, refused = np.random.default_rng(0), 0
    for _ in range(100):
        few = np.where(rng.random((16, 20)) < 0.05, 13.0, 0.4) * rng.gamma(25, 1 / 25, (16, 20))
        lognormal = rng.lognormal(0, 1.5, (16, 20))
        values = {"few": few, "lognormal(1.5)": lognormal}.get(kind)
        refused += "too heavy a tail" in seeds.heavy_tail(draws(kind, (16, 20), rng) if values is None else values)
    assert refused >= 98 if heavy else refused <= 20


def test_the_plain_percentile_interval_would_be_too_short():
    """The reason for expanding it: at 16 seeds it covers less than 94 %."""
    rng, hits = np.random.default_rng(3), 0
    for _ in range(REPETITIONS):
        values = rng.normal(size=(16, 1))
        low, high = np.quantile(bootstrap.resampled_means(values, 1000), [0.025, 0.975])
        hits += low <= 0 <= high
    assert hits < 940


@pytest.mark.parametrize("seed", range(30))
def test_one_sided_least_squares_against_a_general_minimiser(seed):
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(4, 12)), int(rng.integers(2, 4))
    design = np.column_stack([np.ones(n), rng.normal(size=(n, p - 1))])
    target = rng.normal(size=n) * 3
    side = rng.choice([fits.EXACT, fits.AT_LEAST, fits.AT_MOST], n)
    side[:p] = fits.EXACT

    def objective(theta):
        residual = target - design @ theta
        counted = (side == 0) | ((side > 0) & (residual > 0)) | ((side < 0) & (residual < 0))
        return np.sum(np.where(counted, residual, 0) ** 2)

    best = min(
        (scipy.optimize.minimize(objective, rng.normal(size=p), method="BFGS", tol=1e-10) for _ in range(3)),
        key=lambda result: result.fun,
    )
    theta = fits.one_sided_least_squares(design, target, side)
    assert objective(theta) <= best.fun * (1 + 1e-6) + 1e-9


def test_limits_count_only_on_the_wrong_side():
    x, y = np.array([1.0, 10, 100, 1000]), np.array([1.0, 10, 100, 500])
    exact = fits.power_law_slope(x, y, np.zeros(4, int))[1]
    assert exact < 1
    as_limit = fits.power_law_slope(x, y, np.array([0, 0, 0, fits.AT_LEAST]))[1]
    assert as_limit == pytest.approx(1)  # the line passes above it: no contradiction
    too_high = fits.power_law_slope(x, np.array([1.0, 10, 100, 5000]), np.array([0, 0, 0, fits.AT_LEAST]))[1]
    assert too_high > 1.05


def test_what_cannot_be_fitted_is_nan():
    x, y = np.array([1.0, 10, 100]), np.array([1.0, 2, 3])
    assert np.isnan(fits.power_law_slope(x, y, np.array([0, 1, 1]))).all()
    assert np.isnan(fits.power_law_slope(np.full(3, 7.0), y, np.zeros(3, int))).all()
    # Two limits that contradict each other would fix a line, with one measurement only.
    limits = np.array([fits.EXACT, fits.AT_LEAST, fits.AT_MOST])
    assert np.isnan(fits.power_law_slope(np.exp([0.0, 1, 2]), np.exp([0.0, 5, 1]), limits)).all()
    # τ a power of K in all cells: p and q cannot be told apart.
    k = np.array([1e3, 1e4, 1e5, 1e6])
    assert np.isnan(fits.power_law_surface(k**0.25, k, 1 / k[None], 0.01 / k)).all()


def test_a_surface_without_noise_is_found():
    tau, k = (grid.ravel() for grid in np.meshgrid([1.0, 4, 16], [1e3, 1e4, 1e5]))
    y = 3 * tau**1.3 * k**-0.9
    fitted = fits.power_law_surface(tau, k, np.stack([y, 2 * y]), 0.01 * y)
    np.testing.assert_allclose(fitted, [[np.log(3), 1.3, -0.9], [np.log(6), 1.3, -0.9]], rtol=1e-6)


def test_inflation_of_a_power_law():
    k = np.array([1e3, 1e4, 1e5])
    reached = np.array([1e4**-0.5, (1e4 / 3) ** -0.5, (1e4 / 0.8) ** -0.5])
    value, side = inflation(k, np.tile(k**-0.5, (3, 1)), 1e4, reached)
    np.testing.assert_allclose(value, [1, 3, 0.8])
    assert (side == fits.EXACT).all()


def test_inflation_outside_of_the_horizons_tried():
    k = np.array([1e3, 1e4, 1e5])
    reached = np.array([600.0**-0.5, 100.0**-0.5, np.inf, (1.5e5) ** -0.5])
    value, side = inflation(k, np.tile(k**-0.5, (4, 1)), 1e3, reached)
    # Up to a factor of 2 the slope is followed; then only a limit is known.
    np.testing.assert_allclose(value, [1e3 / 600, 2, 2, 1e3 / 1.5e5])
    np.testing.assert_array_equal(side, [0, fits.AT_LEAST, fits.AT_LEAST, 0])


def test_inflation_means_nothing_if_more_updates_do_not_help():
    k = np.array([1e3, 1e4, 1e5])
    assert np.isnan(inflation(k, np.array([1.0, 1.0, 1.0]), 1e4, np.array(0.5))[0])
    assert np.isnan(inflation(k, np.array([1.0, 2.0, 3.0]), 1e4, np.array(0.5))[0])


def test_the_tail_below_a_transient():
    """30/K + 0.02 K^-1/4, whose slope over all K is -0.68, and pure powers of K."""
    k = np.array([1e3, 3162, 1e4, 31_623, 1e5])
    y = np.stack([30 / k + 0.02 * k**-0.25, 3 / k + 0.1 * k**-0.5, k**-0.4])
    np.testing.assert_allclose(fits.tail_exponent(k, y), [0.25, 0.5, 0.4], atol=0.006)
    assert np.isnan(fits.tail_exponent(k, 2 / k[None])).all()
    assert (fits.curvature(k, y[:2]) > 0.01).all()
    assert fits.curvature(k, y[2:])[0] == pytest.approx(0, abs=1e-9)


def test_the_last_decade():
    k = np.array([1000.0, 3162, 10_000, 31_623, 100_000])
    np.testing.assert_array_equal(rates.last_decade(k), [2, 3, 4])
    np.testing.assert_array_equal(rates.last_decade(np.array([1.0, 100, 10_000])), [1, 2])
    assert list(rates.neighbours(k)) == ["from K = 10,000 to 31,623", "from K = 31,623 to 100,000"]
    assert rates.decades(k) == [slice(0, 3), slice(1, 4), slice(2, 5)]
    # K are rounded: 3,163 to 31,623 are a decade, and 3,170 are not.
    np.testing.assert_array_equal(rates.last_decade(np.array([1000.0, 3163, 10_000, 31_623])), [1, 2, 3])
    np.testing.assert_array_equal(rates.last_decade(np.array([1000.0, 3100, 10_000, 31_623])), [2, 3])
    assert rates.decades(np.array([1000.0, 3170, 10_000, 31_623])) == [slice(0, 3)]
    np.testing.assert_array_equal(rates.last_decade(np.array([7.0])), [0])


def test_threshold():
    delays = np.array([1.0, 10, 100])
    inflations = np.array([[1.0, ACCEPTED_INFLATION**2, 5], [1.0, 1.0, 1.05], [1.2, 2, 3], [1.2, 1.0, 3]])
    value, side = threshold(delays, inflations)
    assert value[0] == pytest.approx(np.sqrt(10))  # half-way in logarithms
    assert (value[1], side[1]) == (100, fits.AT_LEAST)
    assert (value[2], side[2]) == (1, fits.AT_MOST)
    assert 10 < value[3] < 100  # the largest delay that is harmless, not the first that is not
    assert np.isnan(threshold(delays, np.array([1.0, np.nan, 2]))[0])
    assert threshold(delays, inflations[:1], squares=True)[0][0] == pytest.approx(np.sqrt(50.5))  # half-way in squares


def test_threshold_exponent_with_limits():
    k = np.array([1e3, 1e4, 1e5, 1e6])
    value, side = k**0.3, np.zeros(4, int)
    assert fits.power_law_slope(k, value, side)[1] == pytest.approx(0.3)
    value[3], side[3] = 1e6**0.25, fits.AT_LEAST
    assert fits.power_law_slope(k, value, side)[1] == pytest.approx(0.3)
    value[0], side[0] = 1e3**0.2, fits.AT_MOST
    assert fits.power_law_slope(k, value, side)[1] > 0.3


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(0).gamma(2, size=(16, 3))
    first, second = (Measures(synthetic.study(lambda t, k: 1 / k, np.random.default_rng(1))) for _ in range(2))
    np.testing.assert_array_equal(first.means, second.means)
    np.testing.assert_array_equal(bootstrap.resampled_means(values), bootstrap.resampled_means(values.copy()))


def test_without_an_interval():
    assert np.isnan(bootstrap.estimate(1.0, np.ones(10), num_seeds=1).low)
    assert np.isnan(bootstrap.estimate(np.nan, np.ones(10), num_seeds=5).low)
    some = np.where(np.arange(100) < 20, np.nan, 1.0)
    assert np.isnan(bootstrap.estimate(1.0, some, num_seeds=5).low)
    endless = np.where(np.arange(100) < 50, np.inf, 1.0)
    assert bootstrap.estimate(1.0, endless, num_seeds=5).high == np.inf
