"""The claims of the theorems, each held against a study: `judge` returns the verdicts.

Too few seeds, or less than two decades of K, settle nothing either way. A claim is confirmed only by runs that the
theorem is about; others can contradict it. The claims and their limits are derived in ``docs/theory.md``.
"""

import dataclasses
import fractions
import functools
import math

import numpy as np

from asyncopt.analysis import fits, verdict
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.studies import Study, at
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED, Verdict
from asyncopt.theory import claims

# The intervals are tested at this many seeds; over less than two decades of K a slope still depends on the start.
MIN_SEEDS = 16
MIN_RANGE = 100.0
MIN_LENGTHS = 4
# Exponents are the limit of large K; at the K of a study they are reached to about this much.
SLOPE_TOLERANCE = 0.1
THRESHOLD_TOLERANCE = 0.05
# A delay that costs more than so many times the updates after two decades of K is not bounded in any useful sense.
HOPELESS_INFLATION = 10.0
# How much a delay rounded to whole updates can seem to grow faster than its rule.
ROUNDING = 0.05

_NOTHING = Estimate(math.nan, math.nan, math.nan)


def judge(measures: Measures) -> list[Verdict]:
    """Returns a verdict for each claim that a study has runs for, in the order of the theorem's claims."""
    study = measures.study
    groups = [(isinstance(claim, claims.Rate), verdicts(claim, measures)) for claim in study.claims]
    rates = [rate for is_rate, group in groups if is_rate for rate in group]
    # Against runs that do not converge even with the least delay, a loose bound holds and no delay does harm.
    converges = not rates or rates[0].outcome == CONFIRMED
    reason = f"but it is not confirmed that these runs converge at {at(study.rules[0])}"
    return [
        judged if converges or is_rate or judged.outcome != CONFIRMED else _doubted(judged, reason)
        for is_rate, group in groups
        for judged in group
    ]


def _doubted(judged: Verdict, reason: str) -> Verdict:
    return dataclasses.replace(judged, outcome=INCONCLUSIVE, rule=f"{judged.rule}, {reason}")


@functools.singledispatch
def verdicts(claim: claims.Claim, measures: Measures) -> list[Verdict]:
    """Returns the verdicts on one claim. A new type of claim brings a function with ``@verdicts.register``."""
    raise NotImplementedError(f"no function judges {claim}")


@verdicts.register
def _bounds(claim: claims.BoundsHold, measures: Measures) -> list[Verdict]:
    """Measured at most the a-posteriori bound, and that at most the a-priori one, in every cell."""
    study, predicted = measures.study, "ratio ≤ 1"
    words = ["measured mean ≤ a-posteriori bound", "a-posteriori bound ≤ a-priori bound"]
    if study.outside:
        rule = f"no bound to compare: {study.outside}"
        return [Verdict(each, predicted, _NOTHING, study.values.size, INCONCLUSIVE, rule) for each in words]
    bounds, cells = study.cells["a_posteriori"].to_numpy(), np.arange(len(study.cells))
    with np.errstate(invalid="ignore"):
        ratios = np.where(study.censored, np.inf, measures.means / bounds)
        chained = bounds / study.cells["a_priori"].to_numpy()
    closest = measures.estimate(ratios[:, int(np.argmax(ratios[0]))])
    # The highest upper end of all cells: the one with the largest mean need not have it.
    high = max(measures.estimate(ratios[:, cell]).high for cell in cells)
    measured = Estimate(closest.value, closest.low, high)
    outcome, rule = verdict.at_most(measured, 1.0, 0.0)
    rule += f" in all {len(cells)} cells" if outcome == CONFIRMED else ""
    first = _verdict(measures, words[0], predicted, measured, cells, (outcome, rule))
    largest = float(chained.max())
    # A sum of inequalities that hold in every single run, so there is no interval; rounding is allowed for.
    decision = (CONFIRMED, "in all cells") if largest <= 1 + 1e-9 else (VIOLATED, "in some cell it is larger")
    measured = Estimate(largest, math.nan, math.nan)
    return [first, _verdict(measures, words[1], predicted, measured, cells, decision)]


@verdicts.register
def _rates(claim: claims.Rate, measures: Measures) -> list[Verdict]:
    """The exponent of K along each rule of staleness."""
    study, power, judged = measures.study, _power(claim.exponent), []
    for rule in study.rules:
        measured = measures.estimate(measures.slopes(rule))
        outcome, decided = verdict.at_most(measured, claim.exponent, SLOPE_TOLERANCE)
        if measured.high < claim.exponent:
            decided += f"; faster than {power}"
        words, predicted = f"falls as {power} or faster at {at(rule)}", f"slope ≤ {claim.exponent:g}"
        beyond = _beyond(study, rule, claim.up_to)
        judged.append(_verdict(measures, words, predicted, measured, study.where(rule), (outcome, decided), beyond))
    return judged


@verdicts.register
def _same_rate(claim: claims.SameRate, measures: Measures) -> list[Verdict]:
    """The largest delays that the theorem allows do not change the rate."""
    study, judged = measures.study, []
    if study.reference is None:
        return judged
    for rule in study.rules:
        if rule != study.reference and study.exponent(rule) == claim.up_to:
            difference = measures.estimate(measures.slopes(rule) - measures.slopes(study.reference))
            decision = verdict.at_most(difference, 0.0, SLOPE_TOLERANCE)
            words = f"no slower in K at {at(rule)} than without delay"
            beyond = _beyond(study, rule, claim.up_to)
            judged.append(_verdict(measures, words, "change ≤ 0", difference, study.where(rule), decision, beyond))
    return judged


@verdicts.register
def _attained(claim: claims.Attained, measures: Measures) -> list[Verdict]:
    """On a problem that attains the rate no method is faster."""
    study = measures.study
    if not study.attains_rate or study.reference is None:
        return []
    measured = measures.estimate(measures.slopes(study.reference))
    decision = verdict.equal(measured, claim.exponent, SLOPE_TOLERANCE)
    words, predicted = f"{_power(claim.exponent)} is attained without delay", f"slope = {claim.exponent:g}"
    return [_verdict(measures, words, predicted, measured, study.where(study.reference), decision)]


@verdicts.register
def _delay_term(claim: claims.DelayTerm, measures: Measures) -> list[Verdict]:
    """The excess over zero delay grows at most as a power of τ, and falls at least as one of K."""
    exponents, cells = measures.excess_exponents, np.flatnonzero(measures.in_delay_term)
    judged = []
    for words, symbol, column, limit in (
        (f"grows as τ^{claim.delay:g} at most", "p", 1, claim.delay),
        (f"falls as {_power(claim.num_updates)} or faster", "q", 2, claim.num_updates),
    ):
        if exponents is None:
            number = int(np.sum(measures.in_delay_term & measures.significant))
            measured, outcome = _NOTHING, INCONCLUSIVE
            decided = f"{number} cells whose excess is significant, and a correction (4 needed)"
        else:
            measured = measures.estimate(exponents[:, column])
            outcome, decided = verdict.at_most(measured, limit, SLOPE_TOLERANCE)
            if measures.helped.any():
                # The sum of a gain and a loss is no power law, and its exponents say nothing of either.
                outcome, decided = INCONCLUSIVE, f"no power law: in {measures.helped.sum()} cells the delay does good"
        words, predicted = f"excess over zero delay {words}", f"{symbol} ≤ {limit:g}"
        judged.append(_verdict(measures, words, predicted, measured, cells, (outcome, decided)))
    return judged


@verdicts.register
def _inflations(claim: claims.Inflation, measures: Measures) -> list[Verdict]:
    """Updates to accuracy: below the critical staleness they tend to those without delay, at it they stay bounded."""
    study, judged, words = measures.study, [], "updates to accuracy, over those without delay,"
    if study.reference is None:
        return judged
    for rule in study.rules:
        cells, exponent = study.where(rule), study.exponent(rule)
        if rule == study.reference or exponent == 0:
            continue
        beyond = _beyond(study, rule, claim.critical)
        longest = f"K = {study.cells['num_updates'].iloc[cells[-1]]:,}"
        growth = measures.estimate(measures.inflation_slopes(rule))
        decision = verdict.at_most(growth, 0.0, SLOPE_TOLERANCE)
        at_longest = measures.estimate(measures.inflation[0][:, cells[-1]])
        if measures.inflation[1][0, cells[-1]] == fits.AT_LEAST and at_longest.value >= HOPELESS_INFLATION:
            # Only limits are known, through which any line could be drawn; the last of them says enough.
            growth, decision = _NOTHING, (VIOLATED, f"at {longest} it is {at_longest.value:.3g} at least")
        bounded = f"{words} stay bounded at {at(rule)}"
        judged.append(_verdict(measures, bounded, "slope ≤ 0", growth, cells, decision, beyond))
        if exponent < claim.critical:
            decision = verdict.at_most(at_longest, 1.0, ACCEPTED_INFLATION - 1)
            tends, predicted = f"{words} tend to 1 at {at(rule)}", f"→ 1 (at {longest})"
            judged.append(_verdict(measures, tends, predicted, at_longest, cells, decision, beyond))
    return judged


@verdicts.register
def _threshold(claim: claims.Threshold, measures: Measures) -> list[Verdict]:
    """The largest harmless delay grows at least as a power of K."""
    num_updates, _, side = measures.thresholds
    if measures.study.reference is None or not len(num_updates):
        return []
    measured = measures.estimate(measures.threshold_fit[:, 1])
    exact = int((side[0] == fits.EXACT).sum())
    outcome, decided = verdict.at_least(measured, claim.exponent, THRESHOLD_TOLERANCE)
    if exact < 3:
        outcome, decided = INCONCLUSIVE, f"among the delays tried at {exact} of {len(num_updates)} K only (3 needed)"
    elif exact < len(num_updates):
        decided += f"; a limit only at {len(num_updates) - exact} of {len(num_updates)} K"
    cells = np.flatnonzero(np.isin(measures.study.cells["num_updates"], num_updates))
    words = f"largest delay with at most {ACCEPTED_INFLATION:g} times the updates grows"
    words += f" as {_power(claim.exponent)} or faster"
    return [_verdict(measures, words, f"exponent ≥ {claim.exponent:g}", measured, cells, (outcome, decided))]


def _verdict(
    measures: Measures,
    claim: str,
    predicted: str,
    measured: Estimate,
    cells: np.ndarray,
    decision: tuple[str, str],
    beyond: str = "",
) -> Verdict:
    """Returns a verdict, after making sure that nothing is confirmed which these runs cannot confirm.

    ``decision`` is outcome and rule as far as the number alone says; ``beyond``, why nothing is claimed of these cells.
    """
    study, (outcome, decided) = measures.study, decision
    if outcome != INCONCLUSIVE and (thin := _too_thin(study, cells)):
        outcome, decided = INCONCLUSIVE, thin
    if outcome == CONFIRMED and study.outside:
        outcome, decided = INCONCLUSIVE, f"{decided}, but {study.outside}"
    if outcome == CONFIRMED and beyond:
        outcome, decided = INCONCLUSIVE, f"{decided}, but {beyond}"
    elif outcome == VIOLATED and beyond:
        decided += f"; {beyond}"
    return Verdict(claim, predicted, measured, len(study.seeds) * len(cells), outcome, decided)


def _beyond(study: Study, rule: str, critical: float) -> str:
    """Returns that nothing is claimed, if staleness grows faster than K^critical or is fixed above it at every K tried.

    What the theorems limit is the mean square delay of the trace. With a heavy tail it grows faster than the rule says.
    """
    cells, exponent = study.cells.iloc[study.where(rule)], study.exponent(rule)
    delay, num_updates = cells["delay"].to_numpy(), cells["num_updates"].to_numpy(float)
    if exponent == 0:
        is_beyond = (delay > num_updates**critical).all()
    else:
        growth = fits.power_law_slope(num_updates, np.maximum(delay, 1.0), np.full(len(delay), fits.EXACT))[1]
        is_beyond = exponent > critical or growth > critical + ROUNDING
    return f"nothing is claimed beyond {_power(critical)}" if is_beyond else ""


def _too_thin(study: Study, cells: np.ndarray) -> str:
    """Returns why the data are insufficient, or ""."""
    lengths = study.cells["num_updates"].iloc[cells].unique()
    if len(study.seeds) < MIN_SEEDS:
        return f"{len(study.seeds)} seeds, fewer than {MIN_SEEDS}"
    if lengths.max() < MIN_RANGE * lengths.min() * (1 - 1e-3):
        return f"K from {lengths.min():,} to {lengths.max():,}, less than two decades"
    if len(lengths) < MIN_LENGTHS:
        return f"{len(lengths)} values of K, fewer than {MIN_LENGTHS}"
    return ""


def _power(exponent: float) -> str:
    """Returns a power of K as a reader expects it: ``K^1/4``, ``K^-1/2``, ``1/K``."""
    return "1/K" if exponent == -1 else f"K^{fractions.Fraction(exponent).limit_denominator(64)}"


__all__ = ["CONFIRMED", "INCONCLUSIVE", "VIOLATED", "judge", "verdicts"]
