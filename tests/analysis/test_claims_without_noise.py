"""One claim at a time, of runs with hardly any noise: what is compared with what, and what is said of it."""

import math

import numpy as np
import pytest

from asyncopt.analysis import claims as judging
from asyncopt.analysis import fits
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, VIOLATED
from asyncopt.theory import claims
from tests.analysis import synthetic


def study(truth, rules=(0, "K**0.25"), without=(), **settings):
    """A study of 16 seeds that differ by 0.1 %; the cells (rule, K) of ``without`` are left out."""
    settings = {"noise": 1e-3, "shared": 0.0, **settings}
    made = synthetic.study(truth, np.random.default_rng(0), rules=rules, **settings)
    names = zip(made.cells["rule"], made.cells["num_updates"], strict=True)
    return synthetic.without(made, [cell for cell, name in enumerate(names) if name in without])


def verdicts(claim, *arguments, **settings):
    return judging.verdicts(claim, Measures(study(*arguments, **settings)))


def test_the_claims_that_runs_are_judged_by():
    """No rate is compared with itself; a fixed delay has no inflation in K; only below K^1/4 does it tend to 1."""
    judged = judging.judge(Measures(study(lambda tau, k: k**-0.5, (0, 4, "K**0.125", "K**0.25", "K**0.375"))))
    more = "updates to accuracy, over those without delay,"
    assert [each.claim for each in judged] == [
        "measured mean ≤ a-posteriori bound",
        "a-posteriori bound ≤ a-priori bound",
        *(f"falls as K^-1/2 or faster at τ = {rule}" for rule in ("0", "4", "K^1/8", "K^1/4", "K^3/8")),
        "K^1/2 times the mean is at most the a-priori bound's constant",
        "no slower in K at τ = K^1/4 than without delay",
        "excess over zero delay grows as τ^2 at most",
        "excess over zero delay falls as 1/K or faster",
        f"{more} stay bounded at τ = K^1/8",
        f"{more} tend to 1 at τ = K^1/8",
        f"{more} stay bounded at τ = K^1/4",
        f"{more} stay bounded at τ = K^3/8",
        "largest delay with at most 1.1 times the updates grows as K^1/4 or faster",
    ]


@pytest.mark.parametrize(("flat", "doubted"), [(0, True), (0.375, False)])
def test_whether_runs_converge_is_asked_without_delay(flat, doubted):
    """Where those do not, delays are not called harmless; elsewhere it is the delay that does harm."""

    def truth(tau, k):
        of_this = tau == 0 if flat == 0 else tau > k**0.3
        return k**0.0 if of_this else k**-0.6

    judged = judging.judge(Measures(study(truth, (0, "K**0.25", "K**0.375"))))
    assert any("but it is not clear that these runs converge at τ = 0" in each.rule for each in judged) == doubted
    (same,) = (each for each in judged if each.claim.startswith("no slower in K at τ = K^1/4"))
    assert same.outcome == (INCONCLUSIVE if doubted else CONSISTENT)
    assert same.noticed == (() if doubted else ("slope ≤ -0.1",))
    assert math.isnan(same.p_value) == doubted


def slow_at_last(tau, k):
    """Without delay K^-1/2. With it K^-0.7, but K^-0.4 between the last two K; K^-0.55 over the last decade."""
    return k**-0.5 if tau == 0 else min(k, 31_623) ** -0.7 * max(k / 31_623, 1) ** -0.4


@pytest.mark.parametrize(
    ("without", "outcome", "words"),
    [
        ([("0", 50_000), ("K^1/4", 50_000)], INCONCLUSIVE, "but not from K = 31,623 to 100,000"),
        # Without delay there is no run from 31,623 updates on to compare with, though there are as many K.
        ([("0", 31_623), ("K^1/4", 50_000)], CONFIRMED, "in every part"),
        ([("0", 1000), ("0", 50_000), ("K^1/4", 50_000)], CONFIRMED, "in every part"),
    ],
)
def test_neighbours_are_compared_with_runs_of_the_same_lengths(without, outcome, words):
    lengths = (1000, 3162, 10_000, 31_623, 50_000, 100_000)
    (judged,) = verdicts(claims.SameRate(up_to=0.25), slow_at_last, lengths=lengths, without=without)
    assert judged.outcome == outcome
    assert words in judged.rule


def test_a_rate_over_the_last_decade_is_the_difference_from_the_one_without_delay():
    """K^-0.6 with delay is slower than K^-0.7 without, in every part; it is 0.1 that is noticed."""
    (judged,) = verdicts(claims.SameRate(up_to=0.25), lambda tau, k: k ** (-0.6 if tau else -0.7))
    assert judged.outcome == VIOLATED
    assert judged.measured.value == pytest.approx(0.1, abs=1e-3)
    (judged,) = verdicts(claims.SameRate(up_to=0.25), lambda tau, k: k ** (-0.7 if tau else -0.65))
    assert (judged.outcome, judged.noticed) == (CONFIRMED, ("slope ≤ -0.1",))


@pytest.mark.parametrize(
    ("exponent", "outcome", "noticed", "faster"),
    [
        (-0.45, VIOLATED, (), False),
        (-0.55, CONFIRMED, ("slope ≤ -0.6",), True),
        (-0.65, CONFIRMED, (), True),
    ],
)
def test_a_rate_is_compared_with_its_limit(exponent, outcome, noticed, faster):
    (judged,) = verdicts(claims.Rate(exponent=-0.5, up_to=0.25), lambda tau, k: k**exponent, (0,))
    assert (judged.outcome, judged.noticed) == (outcome, noticed)
    assert judged.rule.endswith("; faster than K^-1/2") == faster
    assert judged.rule.startswith("exponent over the last decade: ")
    assert judged.predicted == "slope ≤ -0.5"


def test_a_rate_from_one_length_is_not_known():
    (judged,) = verdicts(claims.Rate(exponent=-0.5, up_to=0.25), lambda tau, k: k**-0.55, (0,), lengths=(1000,))
    assert (judged.outcome, judged.runs) == (INCONCLUSIVE, 16)
    assert math.isnan(judged.measured.value)


def test_without_bounds_there_is_nothing_to_compare():
    found = verdicts(claims.BoundsHold(), lambda tau, k: k**-0.5, (0,), outside="the method is SGD")
    assert [each.claim for each in found] == [
        "measured mean ≤ a-posteriori bound",
        "a-posteriori bound ≤ a-priori bound",
    ]
    assert {each.rule for each in found} == {"no bound to compare: the method is SGD"}
    assert {(each.runs, each.outcome, each.unclaimed) for each in found} == {(80, INCONCLUSIVE, "the method is SGD")}


@pytest.mark.parametrize(
    ("mean", "outcome", "noticed"),
    [(4.8, CONFIRMED, ()), (5.2, CONSISTENT, ("constant halved",)), (10.2, VIOLATED, ())],
)
def test_the_constant_of_a_rate(mean, outcome, noticed):
    """The bound's is 10, in the cell where it is largest; at K^3/8, of which nothing is claimed, both are larger."""
    found = verdicts(
        claims.Constant(exponent=-0.5, up_to=0.25),
        lambda tau, k: (mean if tau < 10 else 99) * k**-0.5,
        (0, 4, "K**0.375"),
        bound=lambda tau, k: ((5 if tau == 0 else 10 if tau == 4 else 200) * k**-0.5, 0.0),
        prior=1.0,
    )
    (judged,) = found
    assert (judged.outcome, judged.noticed, judged.predicted) == (outcome, noticed, "ratio ≤ 1 (constant 10)")
    assert judged.measured.value == pytest.approx(mean / 10, rel=1e-3)
    assert judged.runs == 160


@pytest.mark.parametrize(
    ("exponent", "outcome", "noticed"),
    [
        (-0.5, CONSISTENT, ("exponent -0.6", "exponent -0.4")),
        (-0.45, VIOLATED, ()),
        (-0.55, VIOLATED, ()),
    ],
)
def test_the_rate_that_is_attained(exponent, outcome, noticed):
    (judged,) = verdicts(claims.Attained(exponent=-0.5), lambda tau, k: k**exponent, (0,), attains_rate=True)
    assert (judged.outcome, judged.noticed) == (outcome, noticed)
    assert judged.tolerance == "0; 0.1 for consistent"
    assert verdicts(claims.Attained(exponent=-0.5), lambda tau, k: k**exponent, (4,), attains_rate=True) == []


def test_too_few_corrections_for_a_delay_term():
    """At three K the excess is a tenth of the mean without delay, and at two K there is none."""
    found = verdicts(
        claims.DelayTerm(delay=2.0, num_updates=-1.0),
        lambda tau, k: k**-0.5 * (1.1 if tau and k <= 10_000 else 1),
        (0, 2),
    )
    for judged in found:
        assert judged.rule == "3 cells whose excess is significant, and a correction (4 needed)"
        assert (judged.outcome, judged.tolerance) == (INCONCLUSIVE, "0; 0.1 for consistent")


@pytest.mark.parametrize(
    ("delay", "num_updates", "outcomes", "noticed"),
    [
        (1.95, -1.05, (CONFIRMED, CONFIRMED), (("p ≤ 1.9",), ("q ≤ -1.1",))),
        (1.8, -1.2, (CONFIRMED, CONFIRMED), ((), ())),
        (2.1, -1.2, (VIOLATED, CONFIRMED), ((), ())),
        (1.8, -0.9, (CONFIRMED, VIOLATED), ((), ())),
    ],
)
def test_both_exponents_of_a_delay_term(delay, num_updates, outcomes, noticed):
    found = verdicts(
        claims.DelayTerm(delay=2.0, num_updates=-1.0),
        lambda tau, k: k**-0.5 + 0.5 * tau**delay * k**num_updates,
        (0, 2, 4, 8),
        noise=1e-4,
    )
    assert tuple(each.outcome for each in found) == outcomes
    assert tuple(each.noticed for each in found) == noticed


def test_a_delay_term_that_falls_too_slowly_over_the_last_decade():
    """As K^-1.3, then K^-0.6 over half a decade and K^-1.05 over the last half: K^-1.04 over all, but not at last."""
    powers_of_ten = {1000: 0, 3162: -0.65, 10_000: -1.3, 31_623: -1.6, 100_000: -2.125}
    delay, updates = verdicts(
        claims.DelayTerm(delay=2.0, num_updates=-1.0),
        lambda tau, k: 1 + 0.01 * tau**1.5 * 10 ** powers_of_ten[k],
        (0, 2, 4, 8),
        noise=1e-7,
    )
    assert delay.outcome == CONFIRMED
    assert updates.measured.value == pytest.approx(-1.04, abs=0.02)
    assert updates.outcome == VIOLATED
    assert updates.rule.endswith("but all of it on the wrong side over the last decade")


def harmless(threshold):
    """Means of which a delay of threshold(K) needs 1.1 times the updates, as it grows with the square of the delay."""
    return lambda tau, k: (k / (1 + 0.1 * (tau / threshold(k)) ** 2)) ** -0.5


@pytest.mark.parametrize(
    ("growth", "rules", "outcome", "words"),
    [
        (0.35, (0, 1, 2, 4, 8, 16, 32), CONFIRMED, "interval at least 0.25 in every part"),
        (0.15, (0, 1, 2, 4, 8, 16, 32), VIOLATED, "whole interval not at least 0.25"),
        # From 1.2 to 12 over two decades.
        (0.5, (0, 1, 2, 4, 8), CONFIRMED, "in every part; a limit only at 1 of 5 K"),
        (0.5, (0, 1, 2, 4), CONSISTENT, "from K = 10,000; a limit only at 2 of 5 K"),  # the last decade has one of 3 K
        (0.5, (0, 1, 2, 3), INCONCLUSIVE, "among the delays tried at 2 of 5 K only (3 needed)"),
        (0.35, (0, 1, 2, 5, 12), CONFIRMED, "in every part"),
        (0.35, (0, 1, 2, 5, 13), INCONCLUSIVE, "neighbouring delays differ by a factor of 2.6, more than 2.5"),
    ],
)
def test_thresholds_among_the_delays_tried(growth, rules, outcome, words):
    truth = harmless(lambda k: 1.2 * (k / 1000) ** growth)
    (judged,) = verdicts(claims.Threshold(exponent=0.25), truth, rules, noise=1e-4)
    assert (judged.outcome, judged.rule[-len(words) :]) == (outcome, words), judged
    assert judged.tolerance == "0; 0.1 for consistent"


@pytest.mark.parametrize(("growth", "noticed"), [(0.3, ("exponent ≥ 0.35",)), (0.5, ())])
def test_a_threshold_that_grows_little_faster_is_noticed(growth, noticed):
    truth = harmless(lambda k: 1.2 * (k / 1000) ** growth)
    (judged,) = verdicts(claims.Threshold(exponent=0.25), truth, (0, 1, 2, 4, 8, 16), noise=1e-4)
    assert (judged.outcome, judged.noticed) == (CONFIRMED, noticed)


def test_thresholds_are_counted_over_all_seeds():
    """Without some seed, more of them may be known."""
    measures = Measures(study(harmless(lambda k: 1.2 * (k / 1000) ** 0.3), (0, 1, 2, 4, 8, 16), noise=1e-4))
    lengths, value, side = measures.thresholds
    side = side.copy()
    side[0, :3] = fits.AT_MOST
    vars(measures)["thresholds"] = lengths, value, side
    (judged,) = judging.verdicts(claims.Threshold(exponent=0.25), measures)
    assert judged.rule == "among the delays tried at 2 of 5 K only (3 needed)"
