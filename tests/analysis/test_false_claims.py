"""The tables of `tests.analysis.false_claims`, for fewer studies: what must never be confirmed, and what must be."""

import pytest

from asyncopt.analysis import CONFIRMED, CONSISTENT, INCONCLUSIVE, NOT_TESTED, VIOLATED
from tests.analysis import false_claims

STUDIES = 20


def counts(truths, name, alone):
    (truth,) = (truth for truth in truths if truth.name == name)
    return false_claims.count(truth, STUDIES, alone)


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("K^-1/2, then flat over the last decade", {VIOLATED}),
        ("K^-1, then rising as K^0.15 over the last decade", {VIOLATED}),
        ("30/K + 0.02 K^-1/4", {VIOLATED, INCONCLUSIVE}),
        ("K^-0.42, with little noise", {VIOLATED}),
        ("K^-0.49, seeds in equal pairs", {INCONCLUSIVE}),
        ("mean 1.05 bounds in one cell, lognormal(1.5) errors, 90 seeds", {INCONCLUSIVE}),
        ("mean 1.5 bounds in one cell, carried by 5 % of the runs, 90 seeds", {INCONCLUSIVE, VIOLATED}),
        ("mean 1.5 bounds, carried by 5 % of the seeds, 16 seeds", {CONSISTENT, INCONCLUSIVE}),
        ("the bound's delay term is deleted", {VIOLATED}),
        ("the bound's delay term is subtracted", {VIOLATED}),
        ("a bound of 10^6 means, divided by 16", {NOT_TESTED}),
        ("inflation K^0.09", {VIOLATED}),
        ("threshold growing over one decade, then flat", {VIOLATED}),
        ("at K^1/4 1.5, 1.3, 1.15, 0.95 and then 1.05 times the mean without delay", {INCONCLUSIVE}),
        ("inflation (K/10^5)^-0.1, which passes 1 at the longest K", {CONSISTENT, INCONCLUSIVE}),
        ("the delay's part falls as K^-1.25, and as K^-0.85 over the last decade", {VIOLATED}),
    ],
)
def test_a_false_claim_is_never_confirmed(name, outcomes):
    """Before, each was confirmed in most studies, but for the heavy tails (8 % to 43 %) and the seeds in pairs."""
    assert set(counts(false_claims.FALSE, name, alone=True)) <= outcomes


@pytest.mark.parametrize("name", ["K^-0.55", "mean 0.95 bounds, most of it the delay's part, 90 seeds"])
def test_a_true_claim_is_confirmed(name):
    assert counts(false_claims.TRUE, name, alone=False)[CONFIRMED] >= 16


def test_a_rate_at_the_limit_is_consistent():
    found = counts(false_claims.AT_THE_LIMIT, "K^-1/2", alone=False)
    assert found[CONFIRMED] == 0
    assert found[CONSISTENT] >= 16
