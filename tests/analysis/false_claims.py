"""How often a false claim is confirmed, and a true one: ``python -m tests.analysis.false_claims`` prints two tables.

Each truth makes synthetic studies, and names the claim that is false or true of them. A false claim is judged alone,
without the help of Holm's correction, and a true one together with all other claims.
"""

import argparse
import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from asyncopt import theory
from asyncopt.analysis import CONFIRMED, CONSISTENT, INCONCLUSIVE, NOT_TESTED, VIOLATED, Study, judge
from asyncopt.analysis.measures import Measures
from asyncopt.theory import claims
from tests.analysis import synthetic

CONVEX = theory.THEOREMS["convex"]
OUTCOMES = (CONFIRMED, CONSISTENT, VIOLATED, INCONCLUSIVE, NOT_TESTED)
FIXED = (0, 1, 2, 4, 8, 16, 32, 64, 128)
RATE, BOUND = "falls as K^-1/2 or faster at τ = 0", "measured mean ≤ a-posteriori bound"
BOUNDED, TENDS = "stay bounded at τ = K^1/4", "tend to 1 at τ = K^1/8"
THRESHOLD = "largest delay with at most 1.1 times the updates"


class Truth(NamedTuple):
    """What is so, and the claim about it that is judged."""

    name: str
    claim: str  # words that only this claim has
    study: Callable[[np.random.Generator], Study]


def of(truth, **settings):
    """Returns a maker of studies with means truth(τ, K), by default without delay."""
    settings = {"rules": (0,), **settings}
    return lambda rng: synthetic.study(truth, rng, **settings)


def bent(before, after, where):
    """Returns a power law that changes its exponent at K = where."""
    return lambda tau, k: (min(k, where) / where) ** before * (max(k, where) / where) ** after


def inflated(inflation, noise=0.02, **settings):
    """Returns a maker of studies in which delays multiply the updates needed by inflation(τ, K)."""
    truth = lambda tau, k: (k / (inflation(tau, k) if tau else 1.0)) ** -0.5  # noqa: E731
    return of(truth, **{"rules": (0, "K**0.125", "K**0.25"), "noise": noise, **settings})


def one_cell(mean, errors, others=0.3, seeds=90):
    """Returns a maker of studies whose mean is above a bound of 1/√K at the longest K alone."""
    truth = lambda tau, k: k**-0.5 * (mean if k == synthetic.LENGTHS[-1] else others)  # noqa: E731
    return of(truth, errors=errors, shared=0.0, seeds=seeds, bound=lambda tau, k: (k**-0.5, 0.0))


def delay_bound(factor):
    """Returns a maker of studies whose bound has its delay's part times a factor; the mean is 0.95 of the right one."""
    parts = lambda tau, k: (k**-0.5, 0.05 * tau**2 / k)  # noqa: E731
    wrong = lambda tau, k: (parts(tau, k)[0], factor * parts(tau, k)[1])  # noqa: E731
    return of(lambda tau, k: 0.95 * sum(parts(tau, k)), rules=(0, "K**0.25", "K**0.5"), noise=0.1, bound=wrong)


def changed(make, change):
    """Returns a maker of studies whose values are changed: change(values, rng)."""

    def maker(rng):
        study = make(rng)
        return dataclasses.replace(study, values=change(study.values.copy(), rng))

    return maker


def doubled(spread):
    """Returns a change that makes the second half of the seeds copies of the first, up to a factor near 1."""
    return lambda values, rng: np.concatenate(
        [half := values[: len(values) // 2], half * near(rng, spread, half.shape)]
    )


def near(rng, spread, shape):
    return 1 + spread * rng.normal(size=shape)


def outlier(values, rng):
    values[0, 0] *= 10
    return values


def diverged(values, rng):
    """The last cell's worst seeds diverge."""
    values[np.argsort(values[:, -1])[-2:], -1] = np.inf
    return values


def exponential(rng, shape):
    return rng.exponential(1.0, shape)


def lognormal(sigma):
    return lambda rng, shape: rng.lognormal(-(sigma**2) / 2, sigma, shape)


def carried(rest):
    """Returns errors of mean 1, of which runs in 5 % of the draws have the share 1 - rest."""
    return lambda rng, shape: (
        np.where(rng.random(shape) < 0.05, 20 * (1 - rest), rest / 0.95) * synthetic.gamma(rng, 0.1, shape)
    )


def two_decades(k):
    """The harmless delay grows over one decade, and is constant over the next."""
    return 4 * (min(k, 10_000) / 1000) ** 0.6


def harmless(threshold):
    return lambda tau, k: 1 + 0.1 * (tau / threshold(k)) ** 2


def oscillating(tau, k):
    return k**-0.47 * (1.15 if round(2 * np.log10(k)) % 2 else 0.87)


def odd(k):
    """Whether K is the second or the fourth of five lengths."""
    return round(2 * np.log10(k)) % 2


ZIGZAG = dict(zip(synthetic.LENGTHS, (1.5, 1.3, 1.15, 0.95, 1.05), strict=True))
DUPLICATED = of(lambda tau, k: k**-0.49, noise=0.05)
SLOW = "falls as K^-1/2 or faster at τ = K^1/4"
LOST = of(lambda tau, k: k**-0.5 * (1 + 0.05 * tau), rules=(0, "K**0.25"), noise=0.05)
FALSE = (
    Truth("K^-0.42", RATE, of(lambda tau, k: k**-0.42)),
    Truth("K^-0.42, with little noise", RATE, of(lambda tau, k: k**-0.42, noise=0.02)),
    Truth("K^-0.49, with little noise", RATE, of(lambda tau, k: k**-0.49, noise=0.02)),
    Truth("K^-1/2, then flat over the last decade", RATE, of(bent(-0.5, 0.0, 10_000))),
    Truth("K^-1, then rising as K^0.15 over the last decade", RATE, of(bent(-1.0, 0.15, 10_000))),
    Truth("30/K + 0.02 K^-1/4", RATE, of(lambda tau, k: 30 / k + 0.02 * k**-0.25, noise=0.05)),
    Truth("K^-0.6, then K^-0.3 at the last K", RATE, of(bent(-0.6, -0.3, 31_623), noise=0.05)),
    Truth("oscillating around K^-0.47", RATE, of(oscillating, noise=0.05)),
    Truth("K^-0.42, one outlying seed at the shortest K", RATE, changed(of(lambda t, k: k**-0.42), outlier)),
    Truth("K^-0.45, diverged seeds at the longest K", RATE, changed(of(lambda t, k: k**-0.45), diverged)),
    Truth("K^-0.49, seeds in equal pairs", RATE, changed(DUPLICATED, doubled(0.0))),
    Truth("K^-0.49, seeds in nearly equal pairs", RATE, changed(DUPLICATED, doubled(0.01))),
    Truth("K^-0.49, lognormal(1) errors", RATE, of(lambda tau, k: k**-0.49, errors=lognormal(1.0))),
    Truth("the rate is lost at K^1/4", SLOW, LOST),
    Truth("slower at K^1/4 than without delay", "no slower in K", LOST),
    Truth("mean 1.05 bounds in one cell, exponential errors, 90 seeds", BOUND, one_cell(1.05, exponential)),
    Truth("mean 1.05 bounds in one cell, lognormal(1) errors, 90 seeds", BOUND, one_cell(1.05, lognormal(1.0))),
    Truth("mean 1.05 bounds in one cell, lognormal(1.5) errors, 90 seeds", BOUND, one_cell(1.05, lognormal(1.5))),
    Truth("mean 1.5 bounds, carried by 5 % of the runs, 90 seeds", BOUND, one_cell(1.5, carried(0.4), 1.5)),
    Truth("mean 1.5 bounds in one cell, carried by 5 % of the runs, 90 seeds", BOUND, one_cell(1.5, carried(0.4), 0.8)),
    Truth("mean 1.5 bounds, carried by 5 % of the seeds, 16 seeds", BOUND, changed(
        one_cell(1.5, None, 1.5, 16), lambda values, rng: values * carried(0.4)(rng, (len(values), 1)))),
    Truth("mean 1.5 bounds, carried by 5 % of the seeds, 90 seeds", BOUND, changed(
        one_cell(1.5, None, 1.5), lambda values, rng: values * carried(0.4)(rng, (len(values), 1)))),
    Truth("the bound's delay term is deleted", BOUND, delay_bound(0.0)),
    Truth("the bound's delay term is subtracted", BOUND, delay_bound(-1.0)),
    Truth("the bound's delay term is halved", BOUND, delay_bound(0.5)),
    Truth("a bound of 10 means, divided by 16", BOUND, of(
        lambda tau, k: k**-0.5, bound=lambda tau, k: (0.625 * k**-0.5, 0.0))),
    Truth("a bound of 10^6 means, divided by 16", BOUND, of(
        lambda tau, k: k**-0.5, bound=lambda tau, k: (62_500 * k**-0.5, 0.0))),
    Truth("inflation 1 + 0.08 √(K/10^5)", BOUNDED, inflated(lambda tau, k: 1 + 0.08 * (k / 1e5) ** 0.5)),
    Truth("the same", TENDS, inflated(lambda tau, k: 1 + 0.08 * (k / 1e5) ** 0.5)),
    Truth("inflation K^0.09", BOUNDED, inflated(lambda tau, k: k**0.09)),
    Truth("the same", TENDS, inflated(lambda tau, k: k**0.09)),
    Truth("inflation 1.05 at every K", TENDS, inflated(lambda tau, k: 1.05, noise=0.005)),
    Truth("the delay's part grows as τ^2.3", "as τ^2 at most", of(
        lambda tau, k: k**-0.5 + 0.005 * tau**2.3 / k, rules=synthetic.RULES, noise=0.02)),
    Truth("the delay's part falls as K^-0.8", "as 1/K or faster", of(
        lambda tau, k: k**-0.5 + 0.001 * tau**2 * k**-0.8, rules=synthetic.RULES, noise=0.02)),
    Truth("threshold growing over one decade, then flat", THRESHOLD,
          inflated(harmless(two_decades), 0.005, rules=FIXED, seeds=32)),
    Truth("threshold growing as K^0.2", THRESHOLD,
          inflated(harmless(lambda k: k**0.2), 0.005, rules=FIXED, seeds=32)),
    Truth("at K^1/4 1.5, 1.3, 1.15, 0.95 and then 1.05 times the mean without delay", "no slower in K", of(
        lambda tau, k: k**-0.5 * (ZIGZAG[k] if tau else 1.0), rules=(0, "K**0.25"), noise=0.02)),
    Truth("inflation 1.1 at every second K", TENDS, inflated(lambda tau, k: 1 + 0.1 * odd(k), 0.005)),
    Truth("inflation (K/10^5)^-0.1, which passes 1 at the longest K", TENDS,
          inflated(lambda tau, k: (k / 1e5) ** -0.1, 0.005)),
    Truth("the delay's part falls as K^-1.25, and as K^-0.85 over the last decade", "as 1/K or faster", of(
        lambda tau, k: k**-0.5 + 1e-6 * tau**2 * bent(-1.25, -0.85, 10_000)(tau, k),
        rules=(0, "K**0.25", "K**0.375", "K**0.5"), noise=0.0005)),
    Truth("1.05 times the bound's constant at the longest K", "K^1/2 times the mean", of(
        lambda tau, k: k**-0.5 * (1.05 if k == synthetic.LENGTHS[-1] else 0.7), noise=0.1, prior=1.0,
        bound=lambda tau, k: (k**-0.5, 0.0))),
)  # fmt: skip

QUIET = {"rules": (0, "K**0.125", "K**0.25"), "noise": 0.015}
TRUE = (
    Truth("K^-0.55", RATE, of(lambda tau, k: k**-0.55, **QUIET)),
    Truth("K^-0.55 at K^1/4", SLOW, of(lambda tau, k: k**-0.55, **QUIET)),
    Truth("mean 0.9 bounds, 90 seeds", BOUND, of(lambda t, k: 0.9 * k**-0.5, noise=0.05, shared=0.03, seeds=90,
                                       bound=lambda t, k: (k**-0.5, 0.0))),
    Truth("mean 0.95 bounds, most of it the delay's part, 90 seeds", BOUND, of(
        lambda tau, k: 0.95 * (k**-0.5 + 0.05 * tau**2 / k), rules=synthetic.RULES, noise=0.02, shared=0.01, seeds=90,
        bound=lambda tau, k: (k**-0.5, 0.05 * tau**2 / k))),
    Truth("mean 0.45 bounds, exponential errors, 90 seeds", BOUND, of(
        lambda tau, k: 0.45 * k**-0.5, errors=exponential, shared=0.0, seeds=90, bound=lambda t, k: (k**-0.5, 0.0))),
    Truth("0.75 times the bound's constant, 90 seeds", "K^1/2 times the mean", of(
        lambda tau, k: 0.75 * k**-0.5, noise=0.1, shared=0.05, seeds=90, prior=1.0, bound=lambda t, k: (k**-0.5, 0.0))),
    Truth("at K^1/4 faster by K^-0.05", "no slower in K", of(
        lambda tau, k: k**-0.5 * (k / 1000) ** (-0.05 * (tau > 0)), **QUIET)),
    Truth("the delay's part grows as τ^1.95", "as τ^2 at most", of(
        lambda tau, k: k**-0.5 + 0.01 * tau**1.95 / k, rules=(0, "K**0.25", "K**0.375", "K**0.5"), noise=0.0005)),
    Truth("the delay's part falls as K^-1.05", "as 1/K or faster", of(
        lambda tau, k: k**-0.5 + 0.02 * tau**2 * k**-1.05, rules=synthetic.RULES, noise=0.0005)),
    Truth("inflation 1.5 (K/1000)^-0.05", BOUNDED, inflated(lambda tau, k: 1.5 * (k / 1000) ** -0.05, 0.005)),
    Truth("inflation (1 + 0.01 τ²/√K)²", TENDS, inflated(lambda tau, k: (1 + 0.01 * tau**2 * k**-0.5) ** 2, 0.003)),
    Truth("threshold growing as K^0.3", THRESHOLD, inflated(harmless(lambda k: k**0.3), 0.003, rules=FIXED, seeds=32)),
)  # fmt: skip
# True as well, but consistent at most: no interval is wholly on one side of the limit, or it is a mean of few seeds.
AT_THE_LIMIT = (
    Truth("K^-1/2", RATE, of(lambda tau, k: k**-0.5, **{**QUIET, "noise": 0.1})),
    Truth("the delay's part grows as τ²", "as τ^2 at most", of(
        lambda tau, k: k**-0.5 + 0.01 * tau**2 / k, rules=synthetic.RULES, noise=0.02)),
    Truth("mean 0.9 bounds, 16 seeds", BOUND, of(
        lambda tau, k: 0.9 * k**-0.5, noise=0.05, shared=0.03, bound=lambda tau, k: (k**-0.5, 0.0))),
    Truth("0.75 times the bound's constant, 16 seeds", "K^1/2 times the mean", of(
        lambda tau, k: 0.75 * k**-0.5, noise=0.1, shared=0.05, prior=1.0, bound=lambda tau, k: (k**-0.5, 0.0))),
    Truth("inflation 1.2 at every K", BOUNDED, inflated(lambda tau, k: 1.2, 0.02)),
    Truth("threshold growing as K^1/4", THRESHOLD, inflated(harmless(lambda k: k**0.25), 0.005, rules=FIXED, seeds=32)),
)  # fmt: skip


def count(truth: Truth, number: int, alone: bool) -> collections.Counter[str]:
    """Returns how often each outcome comes out in a number of studies; ``alone`` judges no other type of claim."""
    rng, outcomes = np.random.default_rng(17), collections.Counter()
    for _ in range(number):
        study = truth.study(rng)
        if alone:
            kinds = tuple(claim for claim in CONVEX.claims if type(claim) in KINDS[truth.claim])
            study = dataclasses.replace(study, theorem=dataclasses.replace(CONVEX, claims=kinds))
        (outcome,) = {v.outcome for v in judge(Measures(study)) if truth.claim in v.claim}
        outcomes[outcome] += 1
    return outcomes


KINDS = {
    RATE: (claims.Rate,), SLOW: (claims.Rate,), "no slower in K": (claims.SameRate,), BOUND: (claims.BoundsHold,),
    BOUNDED: (claims.Inflation,), TENDS: (claims.Inflation,), THRESHOLD: (claims.Threshold,),
    "as τ^2 at most": (claims.DelayTerm,), "as 1/K or faster": (claims.DelayTerm,),
    "K^1/2 times the mean": (claims.Constant,),
}  # fmt: skip


def table(truths: Sequence[Truth], number: int, alone: bool) -> str:
    """Returns a table in Markdown: a row for each truth, with the share of studies of each outcome."""
    lines = ["| what is so | claim | " + " | ".join(OUTCOMES) + " |", "|---|---|" + "---|" * len(OUTCOMES)]
    for truth in truths:
        counts = count(truth, number, alone)
        shares = " | ".join(f"{100 * counts[outcome] / number:g}" for outcome in OUTCOMES)
        lines.append(f"| {truth.name} | {truth.claim} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the tables, in percent of the studies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200, help="synthetic studies for each truth (default: 200)")
    number = parser.parse_args().studies
    for title, truths, alone in (
        ("False claims", FALSE, True), ("True claims", TRUE, False), ("At the limit", AT_THE_LIMIT, False)
    ):  # fmt: skip
        print(f"{title}, percent of {number} studies:\n\n{table(truths, number, alone)}\n", flush=True)


if __name__ == "__main__":
    main()
