"""Paired differences against SciPy's paired test, naive loops, and simulated studies."""

import numpy as np
import pytest
import scipy.stats

import asyncopt
from asyncopt.analysis import paired
from asyncopt.analysis.curves import Curves

BY = ("optimizer", "trace.delay", "optimizer.learning_rate")


def study(ends, quantity="test_loss", by=BY):
    """Curves of two evaluations from the ends of each combination."""
    values = [np.stack([np.full(len(end), 9.0), end], axis=1) for end in map(np.asarray, ends.values())]
    return Curves("a problem", by, quantity, [*ends], np.array([0, 10]), values)


def noise(number, seed=0):
    return np.random.default_rng(seed).normal(size=number)


def test_one_step_size_is_scipys_paired_test():
    before, after = 2 + noise(8), 2.5 + noise(8, 1)
    (found,) = paired.differences(study({("A", 0, 0.1): before, ("A", 1, 0.1): after}))
    expected = scipy.stats.ttest_rel(after, before)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose(found.difference, [np.mean(after - before), *interval], rtol=1e-12)
    np.testing.assert_allclose(found.p_value, expected.pvalue, rtol=1e-12)
    np.testing.assert_allclose(found.end, [np.mean(after), *scipy.stats.ttest_1samp(after, 0).confidence_interval()])
    # What the t of 7 degrees of freedom at 97.5 % and at 80 % reach, from a table.
    np.testing.assert_allclose(found.noticeable, (2.364624 + 0.896030) * scipy.stats.sem(after - before), rtol=1e-6)
    assert found.each == tuple(after - before)
    assert (found.group, found.value, found.step_size) == (("A",), 1, 0.1)


def test_runs_that_are_told_apart_by_nothing_else_are_one_group():
    by = BY[1:]
    (found,) = paired.differences(study({(0, 0.1): noise(8), (1, 0.1): 3 + noise(8, 1)}, by=by))
    assert (found.group, found.value, found.outcome) == ((), 1, paired.WORSE)


def test_pairing_sees_what_the_noise_of_seeds_hides():
    seeds = 5 * noise(8)
    (found,) = paired.differences(study({("A", 0, 1): seeds, ("A", 1, 1): seeds + 0.1 + 0.01 * noise(8, 1)}))
    assert found.outcome == paired.WORSE
    assert found.noticeable < 0.03


def test_no_step_size_is_chosen_by_the_seed_it_is_used_for():
    rng = np.random.default_rng(3)
    sizes, seeds = (0.01, 0.1, 1.0, 10.0), 7
    ends = {("A", delay, size): rng.normal(size=seeds) for delay in (0, 2) for size in sizes}
    (found,) = paired.differences(study(ends))
    naive = []
    for seed in range(seeds):
        of_arm = []
        for delay in (0, 2):
            without = {size: np.mean([ends["A", delay, size][s] for s in range(seeds) if s != seed]) for size in sizes}
            of_arm.append(ends["A", delay, min(without, key=without.get)][seed])
        naive.append(of_arm[1] - of_arm[0])
    np.testing.assert_allclose(found.difference.value, np.mean(naive), rtol=1e-12)


def test_tuning_by_its_own_seed_would_find_differences_in_noise():
    """The arm with more step sizes looks better if each seed takes its own best one; left out, it does not."""
    rng = np.random.default_rng(0)
    biased, fair = [], []
    for _ in range(200):
        ends = {("A", 0, 1.0): rng.normal(size=8)}
        ends |= {("A", 1, size): rng.normal(size=8) for size in (1, 2, 3, 4, 5)}
        (found,) = paired.differences(study(ends))
        fair.append(found.difference.value)
        its_own = np.min([ends["A", 1, size] for size in (1, 2, 3, 4, 5)], axis=0)
        biased.append(its_own.mean() - ends["A", 0, 1.0].mean())
    assert abs(np.mean(fair)) < 4 * np.std(fair) / np.sqrt(200)
    assert np.mean(biased) < -1.0


def test_a_best_step_size_at_an_end_of_the_grid_is_not_comparable():
    inside = {("A", 0, size): 1 + abs(np.log(size)) + 0.01 * noise(5) for size in (0.1, 1.0, 10.0)}
    outside = {("A", 3, size): 2 + size + 0.01 * noise(5, 1) for size in (0.1, 1.0, 10.0)}
    (found,) = paired.differences(study(inside | outside))
    assert found.outcome == paired.NOT_COMPARABLE
    assert (found.step_size, found.baseline_step_size) == (0.1, 1.0)


def test_diverged_step_sizes_are_not_chosen():
    ends = {("A", 0, size): 1 + 0.01 * noise(4) for size in (1, 2, 3)}
    ends |= {("A", 1, 1): np.full(4, 5.0), ("A", 1, 2): 3 + 0.01 * noise(4), ("A", 1, 3): [np.nan, 0.0, 0.0, 0.0]}
    (found,) = paired.differences(study(ends))
    assert found.step_size == 2
    assert found.outcome == paired.NOT_COMPARABLE  # the baseline's is the smallest or the largest
    ends |= {("A", 1, size): [1.0, np.inf, 1.0, 1.0] for size in (1, 2, 3)}
    (found,) = paired.differences(study(ends))
    assert found.outcome == paired.DIVERGED
    assert np.isnan(found.p_value)


def test_of_an_accuracy_more_is_better():
    ends = {("A", 0, 1): 0.5 + 0.001 * noise(6), ("A", 1, 1): 0.6 + 0.001 * noise(6, 1)}
    outcomes = [paired.differences(study(ends, quantity))[0].outcome for quantity in ("test_accuracy", "test_loss")]
    assert outcomes == [paired.BETTER, paired.WORSE]


def test_many_rows_need_more_evidence():
    """Holm's correction, against a loop; alone, each of these rows would be seen."""
    ends = {}
    for number in range(6):
        ends[f"optimizer {number}", 0, 1] = np.zeros(8)
        ends[f"optimizer {number}", 1, 1] = noise(8, number) * 0.1 + 0.02 * (number + 4)
    found = paired.differences(study(ends))
    remaining, expected = sorted(range(6), key=lambda n: found[n].p_value), set()
    for index, number in enumerate(remaining):
        if found[number].p_value > 0.05 / (6 - index):
            break
        expected.add(number)
    assert {n for n, one in enumerate(found) if one.outcome == paired.WORSE} == expected
    assert any(one.p_value < 0.05 and one.outcome == paired.NOT_SEEN for one in found)


def test_noticeable_is_seen_in_four_of_five_studies():
    rng, seen, noticeable = np.random.default_rng(1), 0, []
    for _ in range(300):
        before = rng.normal(size=8)
        noticeable.append(paired.differences(study({("A", 0, 1): before, ("A", 1, 1): before + rng.normal(size=8)}))[0])
    size = np.sqrt(np.mean([one.noticeable**2 for one in noticeable]))
    for _ in range(300):
        before = rng.normal(size=8)
        (one,) = paired.differences(study({("A", 0, 1): before, ("A", 1, 1): before + size + rng.normal(size=8)}))
        seen += one.outcome == paired.WORSE
    assert 0.7 < seen / 300 < 0.92


def test_contrasts_are_paired_tests_of_two_groups():
    ends = {}
    for number, optimizer in enumerate("ABC"):
        ends[optimizer, 0, 1] = noise(8, number)
        ends[optimizer, 1, 1] = noise(8, number) + 0.1 * noise(8, number + 10) + number
        ends[optimizer, 2, 1] = noise(8, number)
    found = paired.contrasts(paired.differences(study(ends)), "test_loss")
    assert [one.group for one in found] == [("A", "B"), ("A", "C"), ("B", "C")]
    lost = {optimizer: ends[optimizer, 1, 1] - ends[optimizer, 0, 1] for optimizer in "ABC"}
    for one in found:
        expected = scipy.stats.ttest_rel(*(lost[optimizer] for optimizer in one.group))
        np.testing.assert_allclose(one.difference[1:], expected.confidence_interval(0.95), rtol=1e-9)
        np.testing.assert_allclose(one.p_value, expected.pvalue, rtol=1e-9)
        assert one.outcome == paired.BETTER


def test_the_baseline_may_be_another_value():
    ends = {("A", delay, 1): delay + 0.01 * noise(5, delay) for delay in (0, 1, 2)}
    found = paired.differences(study(ends), baseline=2)
    assert [one.value for one in found] == [0, 1]
    assert [one.outcome for one in found] == [paired.BETTER, paired.BETTER]
    frame = paired.to_frame(found, study(ends))
    assert frame["optimizer"].tolist() == ["A", "A"]
    assert frame["outcome"].tolist() == ["better", "better"]


@pytest.mark.parametrize(
    ("ends", "by", "baseline", "message"),
    [
        ({(0.1,): np.ones(4)}, BY[-1:], None, "expected a setting and a step size"),
        ({("A", 0, 1): np.ones(2), ("A", 1, 1): np.ones(2)}, BY, None, "2 seeds in common, expected 3"),
        ({("A", 0, 1): np.ones(4), ("B", 1, 1): np.ones(4)}, BY, 0, "trace.delay is 1 of B, expected the baseline 0"),
        (
            {(0, 1): np.ones(4), (1, 1): np.ones(4)},
            BY[1:],
            7,
            "trace.delay is 0, 1 of all runs, expected the baseline 7",
        ),
        ({("A", 0, 1): np.ones(4), ("A", 0, 2): np.ones(4)}, BY, None, "trace.delay is 0 in all runs, expected two"),
        (
            {(name, value, 1): np.ones(4) for name, value in (("A", 0), ("A", 2), ("B", 1), ("B", 2))},
            BY,
            None,
            "the first trace.delay is 0 of A and 1 of B, expected one for all, or a baseline",
        ),
    ],
)
def test_too_little_to_compare(ends, by, baseline, message):
    with pytest.raises(asyncopt.InputError, match=message):
        paired.differences(study(ends, by=by), baseline)


@pytest.mark.parametrize(("less", "p_value", "outcome"), [(0.0, 1, "not seen"), (0.5, 0, "better"), (-0.5, 0, "worse")])
def test_differences_that_are_equal_in_all_seeds_are_certain(less, p_value, outcome):
    """Of three seeds, the fewest that are compared; halves are exact."""
    before = np.array([1.0, 2.5, 4.0])
    (found,) = paired.differences(study({("A", 0, 1): before, ("A", 1, 1): before - less}))
    assert (found.p_value, found.outcome, found.noticeable) == (p_value, outcome, 0)


@pytest.mark.parametrize("diverged", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("quantity", ["test_accuracy", "test_loss"])
def test_a_step_size_with_which_a_seed_diverged_is_not_chosen_for_the_others(quantity, diverged):
    """Also for that seed itself, whatever the value is that is left of it."""
    best = 1.0 if quantity == "test_accuracy" else 0.0
    ends = {("A", delay, size): 0.5 + 0.1 * noise(4, delay) for delay in (0, 1) for size in (1, 2, 3)}
    ends["A", 1, 1] = ends["A", 1, 3] = [diverged, best, best, best]
    (found,) = paired.differences(study(ends, quantity))
    assert found.step_size == 2
    np.testing.assert_allclose(found.end.value, np.mean(ends["A", 1, 2]))


def test_contrasts_are_of_groups_that_did_not_diverge_and_are_comparable():
    """Of an accuracy, who loses more is worse off; a step size at the edge of one group spoils its pairs alone."""
    ends = {}
    for number, optimizer in enumerate("ABCD"):
        for delay in (0, 1):
            ends[optimizer, delay, 2] = 0.9 - delay * 0.1 * number + noise(8, 2 * number + delay) / 1000
    ends["C", 0, 3], ends["C", 1, 3] = ends["C", 0, 2] - 0.1, ends["C", 1, 2] - 0.1
    ends["D", 1, 2] = np.full(8, np.nan)
    found = paired.differences(study(ends, "test_accuracy"))
    assert [one.outcome for one in found] == ["not seen", "worse", "not comparable", "diverged"]
    pairs = {one.group: one for one in paired.contrasts(found, "test_accuracy")}
    assert {group: one.outcome for group, one in pairs.items()} == {
        ("A", "B"): "better", ("A", "C"): "not comparable", ("B", "C"): "not comparable",
    }  # fmt: skip
    assert pairs["B", "C"].difference.value == pytest.approx(np.mean(np.subtract(found[1].each, found[2].each)))


def test_the_table_of_differences():
    ends = {("A", delay, size): [delay + size, 2.0 * delay + size, delay + size] for delay in (0, 1) for size in (2, 5)}
    (found,) = paired.differences(study(ends))
    (row,) = paired.to_frame([found], study(ends)).to_dict("records")
    assert row == {
        "optimizer": "A", "trace.delay": 1, "end": found.end.value, "end_low": found.end.low,
        "end_high": found.end.high, "difference": found.difference.value, "low": found.difference.low,
        "high": found.difference.high, "noticeable": found.noticeable, "step_size": 2, "baseline_step_size": 2,
        "p_value": found.p_value, "outcome": "not comparable",
    }  # fmt: skip
    assert (found.end.value, found.difference.value) == pytest.approx((10 / 3, 4 / 3))


@pytest.mark.parametrize("sizes", [(None, 1.0), ("cosine", "linear"), (False, True), ("linear", 2)])
def test_only_numbers_have_an_edge(sizes):
    """Of texts, none and flags no value is the largest, so that a better one beyond is no concern."""
    ends = {("A", delay, size): noise(8) / 50 + delay + place for delay in (0, 1) for place, size in enumerate(sizes)}
    ends["A", 1, sizes[0]] = ends["A", 1, sizes[0]] + noise(8, 1) / 100
    (found,) = paired.differences(study(ends))
    assert (found.outcome, found.step_size) == (paired.WORSE, sizes[0])
