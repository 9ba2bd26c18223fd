"""Each claim comes out confirmed, consistent, violated, inconclusive or not tested when it must."""

import dataclasses
import math

import numpy as np
import pytest

from asyncopt import theory
from asyncopt.analysis import (
    CONFIRMED,
    CONSISTENT,
    INCONCLUSIVE,
    NOT_TESTED,
    VIOLATED,
    Estimate,
    Verdict,
    judge,
    verdict,
)
from asyncopt.analysis.measures import Measures
from asyncopt.theory import claims
from tests.analysis import synthetic


def half_power(tau, k):
    """What the theory allows at its slowest: K^-1/2, and a delay term τ²/K."""
    return k**-0.5 + 0.01 * tau**2 / k


def verdicts(truth=half_power, *, seed=0, **settings):
    settings = {"noise": 0.02, **settings}
    return {v.claim: v for v in judge(Measures(synthetic.study(truth, np.random.default_rng(seed), **settings)))}


def outcomes(judged, words):
    chosen = {claim: v.outcome for claim, v in judged.items() if words in claim}
    assert chosen, words
    return set(chosen.values())


@pytest.mark.parametrize(
    ("estimate", "at_most", "at_least", "equal"),
    [
        (Estimate(0.9, 0.8, 1.0), CONFIRMED, INCONCLUSIVE, INCONCLUSIVE),
        (Estimate(0.9, 0.85, 1.0), CONFIRMED, CONSISTENT, CONSISTENT),
        (Estimate(1.0, 0.95, 1.1), CONSISTENT, CONSISTENT, CONSISTENT),
        (Estimate(1.1, 1.0, 1.3), INCONCLUSIVE, CONFIRMED, INCONCLUSIVE),
        (Estimate(1.5, 1.4, 1.6), VIOLATED, CONFIRMED, VIOLATED),
        (Estimate(0.5, 0.4, 0.6), CONFIRMED, VIOLATED, VIOLATED),
        (Estimate(0.9, math.nan, math.nan), INCONCLUSIVE, INCONCLUSIVE, INCONCLUSIVE),
        (Estimate(1.0, 0.0, math.inf), INCONCLUSIVE, INCONCLUSIVE, INCONCLUSIVE),
    ],
)
def test_decisions(estimate, at_most, at_least, equal):
    """Limit 1, margin 0.2: no tolerance, and consistent only if 0.2 to the wrong side is excluded."""
    assert verdict.at_most(estimate, 1, 0.2)[0] == at_most
    assert verdict.at_least(estimate, 1, 0.2)[0] == at_least
    assert verdict.equal(estimate, 1, 0.2)[0] == equal


def judged_alone(outcome, p_value, noticed=("a wrong claim",), otherwise=CONSISTENT):
    return Verdict("", "", Estimate(0.0, 0.0, 0.0), 1, outcome, "", noticed, p_value, otherwise)


def test_holms_correction():
    """By hand: of 0.001, 0.012, 0.02 and 0.3, the first two are below 0.025/4 and not below 0.025/3."""
    ps = (0.02, 0.001, 0.3, 0.012)
    given = [judged_alone(CONFIRMED if p <= 0.025 else INCONCLUSIVE, p) for p in ps]
    assert [v.outcome for v in verdict.corrected(given)] == [CONSISTENT, CONFIRMED, INCONCLUSIVE, CONSISTENT]
    # A claim that cannot be confirmed is not counted: 0.012 is below 0.025/2.
    given = [judged_alone(CONFIRMED, 0.012), judged_alone(CONFIRMED, 0.02), judged_alone(VIOLATED, math.nan)]
    assert [v.outcome for v in verdict.corrected(given)] == [CONFIRMED, CONFIRMED, VIOLATED]


def test_what_notices_nothing_is_not_tested():
    (judged,) = verdict.corrected([judged_alone(CONFIRMED, 0.0, noticed=())])
    assert judged.outcome == NOT_TESTED
    assert "a wrong claim would have passed" in judged.rule


def test_what_the_theory_says_is_consistent():
    """The truth is at the limit of each claim, where no interval can confirm it."""
    judged = verdicts()
    for words in (
        "τ = 0", "falls as K^-1/2 or faster at τ = K^1/8", "falls as K^-1/2 or faster at τ = K^1/4",
        "no slower in K", "as τ^2 at most", "as 1/K or faster", "bounded at τ = K^1/8", "bounded at τ = K^1/4",
    ):  # fmt: skip
        assert outcomes(judged, words) == {CONSISTENT}, words
    assert judged["falls as K^-1/2 or faster at τ = K^1/4"].measured.value == pytest.approx(-0.5, abs=0.05)
    assert judged["falls as K^-1/2 or faster at τ = K^1/4"].noticed == ("slope ≤ -0.6",)
    assert judged["excess over zero delay grows as τ^2 at most"].measured.value == pytest.approx(2, abs=0.2)


def test_a_bound_far_above_the_measurement_is_not_tested():
    """Before, it was confirmed: also without the delay term, divided by 16, or 10^6 times too large."""
    judged = verdicts()
    for words in ("measured mean ≤ a-posteriori bound", "a-posteriori bound ≤ a-priori bound", "constant"):
        assert outcomes(judged, words) == {NOT_TESTED}, words
    assert judged["measured mean ≤ a-posteriori bound"].noticed == ()


def test_a_sharp_bound_notices_what_is_wrong_with_it():
    """0.95 of the bound; along K^1/2 its delay term is most of it, so subtracting it leaves no bound."""

    def bound(tau, k):
        return k**-0.5, 0.05 * tau**2 / k

    sharp = {"noise": 0.02, "shared": 0.01, "bound": bound, "rules": (0, "K**0.5"), "seeds": 90}
    judged = verdicts(lambda tau, k: 0.9 * sum(bound(tau, k)), **sharp)["measured mean ≤ a-posteriori bound"]
    assert judged.outcome == CONFIRMED
    assert judged.noticed == ("no delay term", "delay term halved", "bound halved")
    judged = verdicts(lambda tau, k: 0.9 * sum(bound(tau, k)), **{**sharp, "rules": (0,)})
    assert judged["measured mean ≤ a-posteriori bound"].noticed == ("bound halved",)


def test_few_seeds_confirm_no_mean():
    """All 89 seeds are below the bound, and one in twenty of others could be above it 20 times: 0.95^89 > 0.01."""
    for seeds, outcome in ((89, CONSISTENT), (90, CONFIRMED)):
        settings = {"seeds": seeds, "rules": (0,), "bound": lambda tau, k: (k**-0.5, 0.0), "prior": 1.0}
        judged = verdicts(lambda tau, k: 0.8 * k**-0.5, **settings)
        for words in ("measured mean ≤ a-posteriori bound", "constant"):
            assert outcomes(judged, words) == {outcome}, words
    assert judged["a-posteriori bound ≤ a-priori bound"].outcome == CONFIRMED


def test_bound_and_measurement_of_a_seed_stay_together():
    """Both vary by 40 %, in common: the ratio is 0.95 in every seed, and its interval is that narrow."""
    study = synthetic.study(lambda tau, k: k**-0.5, np.random.default_rng(0), rules=(0,), noise=0.4)
    bounds = {"leading": study.values / 0.95, "lower_order": 0 * study.values, "delay": 0 * study.values}
    judged = {v.claim: v for v in judge(Measures(dataclasses.replace(study, bounds=bounds)))}
    measured = judged["measured mean ≤ a-posteriori bound"].measured
    np.testing.assert_allclose(measured, 0.95, rtol=1e-6)
    assert judged["measured mean ≤ a-posteriori bound"].outcome == CONSISTENT


def test_where_the_theory_promises_nothing_nothing_is_confirmed():
    judged = verdicts()
    assert outcomes(judged, "falls as K^-1/2 or faster at τ = K^3/8") == {VIOLATED}
    assert "nothing is claimed beyond K^1/4" in judged["falls as K^-1/2 or faster at τ = K^3/8"].rule
    assert outcomes(judged, "τ = K^1/2") <= {INCONCLUSIVE, VIOLATED}


def test_a_fixed_delay_is_beyond_the_theory_if_it_is_so_at_every_length():
    """The longest run is of 100,000 updates, and K^1/4 is 17.8 there."""
    judged = verdicts(lambda tau, k: k**-0.55, rules=(0, 17, 18))
    assert judged["falls as K^-1/2 or faster at τ = 17"].outcome == CONFIRMED
    assert judged["falls as K^-1/2 or faster at τ = 18"].outcome == INCONCLUSIVE
    judged = verdicts(lambda tau, k: k**-0.5 if tau < 100 else k**0.0, rules=(0, 200))
    lost = judged["falls as K^-1/2 or faster at τ = 200"]
    assert lost.outcome == VIOLATED
    assert "nothing is claimed beyond K^1/4" in lost.rule


def test_delays_with_a_heavy_tail_are_beyond_the_theory_sooner():
    """The bound depends on the mean square delay, whatever the rule that the mean delay follows."""
    study = synthetic.study(lambda tau, k: k**-0.55, np.random.default_rng(0), noise=0.01)
    heavy = study.cells.assign(delay=study.cells["delay"] * study.cells["num_updates"] ** 0.2)
    for cells, expected in ((study.cells, CONFIRMED), (heavy, INCONCLUSIVE)):
        judged = {v.claim: v for v in judge(Measures(dataclasses.replace(study, cells=cells)))}
        assert judged["falls as K^-1/2 or faster at τ = 0"].outcome == CONFIRMED
        assert judged["falls as K^-1/2 or faster at τ = K^1/4"].outcome == expected


def test_the_measured_threshold():
    """Inflation (1 + 0.01 τ²/√K)² is 1.1 at τ = 2.2 K^1/4."""
    rules = (0, 1, 2, 4, 8, 16, 32, 64, 128)
    claim = "largest delay with at most 1.1 times the updates grows as K^1/4 or faster"
    judged = verdicts(rules=rules, noise=0.005)[claim]
    assert judged.outcome in (CONSISTENT, INCONCLUSIVE)
    assert judged.measured.value == pytest.approx(0.25, abs=0.03)


def test_delays_tried_far_apart_tell_no_threshold():
    judged = verdicts(rules=(0, 1, 4, 16, 64), noise=0.005)
    claim = judged["largest delay with at most 1.1 times the updates grows as K^1/4 or faster"]
    assert claim.outcome == INCONCLUSIVE
    assert "differ by a factor of 4" in claim.rule


def test_faster_is_said():
    """As fast as 1/K, no run tells K^-1/2 from K^-0.6."""
    judged = verdicts(lambda tau, k: 1 / k)["falls as K^-1/2 or faster at τ = 0"]
    assert judged.outcome == NOT_TESTED
    assert "faster than K^-1/2" in judged.rule


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (lambda tau, k: k**-0.2, "falls as K^-1/2 or faster"),
        (lambda tau, k: k**-0.5 * (1 + 0.5 * tau), "no slower in K"),
        (lambda tau, k: k**-0.5 + 0.002 * tau**2.5 / k, "as τ^2 at most"),
        (lambda tau, k: k**-0.5 * (1 + 0.05 * tau**0.9), "as 1/K or faster"),
        (lambda tau, k: k**-0.5 * (1 + 0.1 * tau), "stay bounded at τ = K^1/4"),
        (lambda tau, k: k**-0.5 * (1 + 0.2 * tau), "tend to 1 at τ = K^1/8"),
    ],
)
def test_each_claim_can_be_violated(truth, words):
    assert VIOLATED in outcomes(verdicts(truth), words)


def test_a_threshold_that_does_not_grow_violates():
    judged = verdicts(lambda tau, k: k**-0.5 * (1 + 0.01 * tau), rules=(0, 1, 2, 4, 8, 16, 32))
    assert outcomes(judged, "largest delay") == {VIOLATED}


def test_a_broken_bound_violates():
    study = synthetic.study(half_power, np.random.default_rng(0), noise=0.02)
    broken = study.bounds["leading"].copy()
    broken[:, 7] = 0.5 * study.values[:, 7].mean()
    bounds = {**study.bounds, "leading": broken}
    judged = {v.claim: v for v in judge(Measures(dataclasses.replace(study, bounds=bounds)))}
    assert judged["measured mean ≤ a-posteriori bound"].outcome == VIOLATED
    broken[3, 7] = 1e6
    judged = {v.claim: v for v in judge(Measures(dataclasses.replace(study, bounds=bounds)))}
    assert judged["a-posteriori bound ≤ a-priori bound"].outcome == VIOLATED


def test_runs_that_do_not_converge_show_no_harm_of_delay():
    judged = verdicts(lambda tau, k: 0.0 * tau + k**0.0)
    assert outcomes(judged, "measured mean ≤ a-posteriori bound") == {NOT_TESTED}
    assert outcomes(judged, "no slower in K") == {INCONCLUSIVE}
    assert "not clear that these runs converge" in judged["no slower in K at τ = K^1/4 than without delay"].rule


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"seeds": 8}, "8 seeds"),
        ({"lengths": (1000, 2000, 5000, 10_000)}, "less than two decades"),
        ({"lengths": (1000, 100_000)}, "2 values of K"),
    ],
)
@pytest.mark.parametrize("truth", [half_power, lambda tau, k: k**0.5 * (1 + tau)])
def test_too_little_settles_nothing(settings, reason, truth):
    judged = verdicts(truth, **settings)
    assert {v.outcome for v in judged.values()} == {INCONCLUSIVE}
    assert any(reason in v.rule for v in judged.values())


def test_outside_of_the_theorem_nothing_is_confirmed():
    judged = verdicts(outside="the step size is constant, not α/√K")
    assert CONFIRMED not in {v.outcome for v in judged.values()}
    assert "the step size is constant" in judged["falls as K^-1/2 or faster at τ = 0"].rule


def test_diverged_runs_count_as_limits_not_as_missing():
    """One seed of the longest cell along K^1/4 diverges: the slope must rise, and no claim on it be confirmed."""
    study = synthetic.study(lambda tau, k: k**-0.55, np.random.default_rng(0), noise=0.02)
    cell = study.where("K^1/4")[-1]
    values = study.values.copy()
    values[3, cell] = np.inf
    study = dataclasses.replace(study, values=values)
    before, after = (
        Measures(s).slopes("K^1/4")[0]
        for s in (synthetic.study(lambda tau, k: k**-0.55, np.random.default_rng(0), noise=0.02), study)
    )
    assert after > before
    judged = {v.claim: v for v in judge(Measures(study))}
    assert judged["measured mean ≤ a-posteriori bound"].outcome == VIOLATED
    assert judged["falls as K^-1/2 or faster at τ = K^1/4"].outcome not in (CONFIRMED, CONSISTENT)
    assert judged["falls as K^-1/2 or faster at τ = 0"].outcome == CONFIRMED
    assert np.isfinite(judged["falls as K^-1/2 or faster at τ = K^1/4"].measured.value)


def test_an_accuracy_never_reached_is_not_bounded():
    judged = verdicts(lambda tau, k: np.where(tau > 20, 10.0, k**-0.5))
    claim = judged["updates to accuracy, over those without delay, stay bounded at τ = K^1/2"]
    assert claim.outcome == VIOLATED
    assert "200 at least" in claim.rule


def test_where_delay_helps_no_power_law_is_claimed():
    judged = verdicts(lambda tau, k: k**-0.5 * (1 - 0.1 * (tau == 2)) + 0.01 * tau**2 / k)
    assert outcomes(judged, "as τ^2 at most") == {INCONCLUSIVE}


def test_the_hard_instance_must_attain_the_rate():
    claim = "K^-1/2 is attained without delay"
    assert verdicts(attains_rate=True)[claim].outcome == CONSISTENT
    assert verdicts(lambda tau, k: k**-0.9, attains_rate=True)[claim].outcome == VIOLATED
    assert claim not in verdicts()


def test_the_rate_is_attained_by_the_gap_alone():
    """The slope of a linear function is the same everywhere: its ‖∇F‖² says nothing about the rate."""
    words = "K^-1/2 is attained without delay"
    assert words in verdicts(attains_rate=True)
    assert words not in verdicts(attains_rate=True, quantity="mean_grad_norm_sq")


def test_limits_are_those_of_the_theorems_claims():
    wanted = (
        claims.Rate(exponent=-1.0, up_to=0.375), claims.SameRate(up_to=0.375), claims.Attained(exponent=-1.0),
        claims.DelayTerm(delay=2.5, num_updates=-2.0), claims.Inflation(critical=0.375), claims.Threshold(exponent=0.5),
    )  # fmt: skip
    theorem = dataclasses.replace(theory.THEOREMS["convex"], claims=wanted)
    result = verdicts(lambda tau, k: 1 / k + 0.1 * tau**2 / k**2, theorem=theorem, attains_rate=True, noise=0.005)
    assert [(v.claim, v.predicted) for v in result.values() if "τ = K" not in v.claim] == [
        ("falls as 1/K or faster at τ = 0", "slope ≤ -1"),
        ("1/K is attained without delay", "slope = -1"),
        ("excess over zero delay grows as τ^2.5 at most", "p ≤ 2.5"),
        ("excess over zero delay falls as K^-2 or faster", "q ≤ -2"),
        ("largest delay with at most 1.1 times the updates grows as K^1/2 or faster", "exponent ≥ 0.5"),
    ]
    assert outcomes(result, "falls as 1/K or faster at τ = K^3/8") == {CONSISTENT}
    assert result["falls as 1/K or faster at τ = K^1/2"].rule.endswith("nothing is claimed beyond K^3/8")
    assert outcomes(result, "no slower in K at τ = K^3/8") == {CONSISTENT}
    assert outcomes(result, "tend to 1 at τ = K^1/4") <= {CONFIRMED, CONSISTENT}
    assert outcomes(result, "as τ^2.5 at most") == {NOT_TESTED}
    assert VIOLATED in outcomes(verdicts(theorem=theorem), "falls as 1/K or faster")


def test_without_a_theorem_the_claims_of_the_others_can_be_contradicted():
    unproved = {"theorem": None, "outside": "no theorem is about the gap here"}
    # Without bounds, there is no constant to compare with.
    assert list(verdicts(**unproved)) == [claim for claim in verdicts() if "constant" not in claim]
    assert CONFIRMED not in outcomes(verdicts(**unproved), "")
    assert VIOLATED in outcomes(verdicts(lambda tau, k: k**-0.2, **unproved), "falls as K^-1/2 or faster")


def test_without_runs_without_delay():
    judged = verdicts(lambda tau, k: k**-0.55, rules=("K**0.25",))
    assert outcomes(judged, "falls as K^-1/2") == {CONFIRMED}
    assert not [claim for claim in judged if "over those without delay" in claim or "largest delay" in claim]


def test_an_exponent_is_known_to_the_resolution_of_a_fit():
    """Seeds that hardly differ make intervals that know nothing of what the fit leaves out."""
    claim = "K^-1/2 is attained without delay"
    assert verdicts(lambda tau, k: k**-0.503, attains_rate=True, noise=1e-5)[claim].outcome == CONSISTENT
    assert verdicts(lambda tau, k: k**-0.52, attains_rate=True, noise=1e-5)[claim].outcome == VIOLATED


def test_what_rounding_adds_is_no_growth():
    judged = verdicts(lambda tau, k: k**-0.6 * (1 + 1e-14 * tau * k), noise=1e-3)
    assert outcomes(judged, "tend to 1 at τ = K^1/8") == {CONFIRMED}
    tends = next(v for claim, v in judged.items() if "tend to 1 at τ = K^1/8" in claim)
    assert tends.predicted == "→ 1 (at K = 100,000)"
    assert tends.tolerance == "0.02; 0.1 for consistent"  # as docs/theory.md has it: 2 %, and below 1.1
