"""Intervals over seeds: how often they cover the truth, false alarms of seeds, and numbers without an interval."""

import numpy as np
import pytest
import scipy.stats

from asyncopt.analysis import bootstrap, jackknife, seeds
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
