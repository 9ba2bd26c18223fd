"""Compares the claims of theorems with a study: `judge` returns the verdicts.

Too few seeds, or less than two decades of K, are inconclusive. Only runs to which the theorem applies can confirm a
claim; others can contradict it. The claims and their limits are derived in ``docs/theory.md``.
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
MIN_SEEDS, MIN_RANGE, MIN_LENGTHS = 16, 100.0, 4
# Exponents hold in the limit of large K; at the K of a study they are reached about this closely.
SLOPE_TOLERANCE, THRESHOLD_TOLERANCE = 0.1, 0.05
# An inflation of this size after two decades of K counts as unbounded.
HOPELESS_INFLATION = 10.0
# The exponent of a delay that is rounded to whole updates can exceed its rule's by this much.
ROUNDING = 0.05

_NOTHING = Estimate(math.nan, math.nan, math.nan)


def judge(measures: Measures) -> list[Verdict]:
    """Returns a verdict for each claim that a study has runs for, in the order of the theorem's claims."""
    study = measures.study
    groups = [(isinstance(claim, claims.Rate), verdicts(claim, measures)) for claim in study.claims]
    rates = [rate for is_rate, group in groups if is_rate for rate in group]
    # If runs do not converge even with the least delay, a loose bound holds and no delay does harm.
    converges = not rates or rates[0].outcome == CONFIRMED
    doubt = f"but it is not confirmed that these runs converge at {at(study.rules[0])}"

    def doubted(judged: Verdict) -> Verdict:
        if converges or judged.outcome != CONFIRMED:
            return judged
        return dataclasses.replace(judged, outcome=INCONCLUSIVE, rule=f"{judged.rule}, {doubt}")

    return [judged if is_rate else doubted(judged) for is_rate, group in groups for judged in group]


@functools.singledispatch
def verdicts(claim: claims.Claim, measures: Measures) -> list[Verdict]:
    """Returns the verdicts on one claim; a new type of claim adds a function with ``@verdicts.register``."""
    raise NotImplementedError(f"no function judges {claim}")


@verdicts.register
def _bounds(claim: claims.BoundsHold, measures: Measures) -> list[Verdict]:
    """In every cell, the measured mean is at most the a-posteriori bound, and that at most the a-priori bound."""
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
    # The highest upper end of all cells; the cell with the largest mean need not have it.
    high = max(measures.estimate(ratios[:, cell]).high for cell in cells)
    measured = Estimate(closest.value, closest.low, high)
    outcome, rule = verdict.at_most(measured, 1.0, 0.0)
    rule += f" in all {len(cells)} cells" if outcome == CONFIRMED else ""
    first = _verdict(measures, words[0], predicted, measured, cells, (outcome, rule))
    # This inequality holds in every single run, so it needs no interval, only room for rounding.
    largest = Estimate(float(chained.max()), math.nan, math.nan)
    decision = (CONFIRMED, "in all cells") if largest.value <= 1 + 1e-9 else (VIOLATED, "in some cell it is larger")
    return [first, _verdict(measures, words[1], predicted, largest, cells, decision)]


@verdicts.register
def _rates(claim: claims.Rate, measures: Measures) -> list[Verdict]:
    """The exponent of K along each rule of staleness."""
    study, power, judged = measures.study, _power(claim.exponent), []
    for rule in study.rules:
        measured = measures.estimate(measures.slopes(rule))
        outcome, decided = verdict.at_most(measured, claim.exponent, SLOPE_TOLERANCE)
        decided += f"; faster than {power}" if measured.high < claim.exponent else ""
        words, predicted = f"falls as {power} or faster at {at(rule)}", f"slope ≤ {claim.exponent:g}"
        beyond = _beyond(study, rule, claim.up_to)
        judged.append(_verdict(measures, words, predicted, measured, study.where(rule), (outcome, decided), beyond))
    return judged


@verdicts.register
def _same_rate(claim: claims.SameRate, measures: Measures) -> list[Verdict]:
    """The largest delays that the theorem allows leave the rate unchanged."""
    study, judged = measures.study, []
    for rule in study.rules:
        if study.reference not in (None, rule) and study.exponent(rule) == claim.up_to:
            difference = measures.estimate(measures.slopes(rule) - measures.slopes(study.reference))
            decision, beyond = verdict.at_most(difference, 0.0, SLOPE_TOLERANCE), _beyond(study, rule, claim.up_to)
            words = f"no slower in K at {at(rule)} than without delay"
            judged.append(_verdict(measures, words, "change ≤ 0", difference, study.where(rule), decision, beyond))
    return judged


@verdicts.register
def _attained(claim: claims.Attained, measures: Measures) -> list[Verdict]:
    """On a problem that attains the rate, no method is faster."""
    study = measures.study
    if not study.attains_rate or study.reference is None:
        return []
    measured = measures.estimate(measures.slopes(study.reference))
    decision = verdict.equal(measured, claim.exponent, SLOPE_TOLERANCE)
    words, predicted = f"{_power(claim.exponent)} is attained without delay", f"slope = {claim.exponent:g}"
    return [_verdict(measures, words, predicted, measured, study.where(study.reference), decision)]


@verdicts.register
def _delay_term(claim: claims.DelayTerm, measures: Measures) -> list[Verdict]:
    """The excess over zero delay grows at most as a power of τ, and falls at least as fast as a power of K."""
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
                # The sum of a gain and a loss is no power law, so its exponents describe neither.
                outcome, decided = INCONCLUSIVE, f"no power law: in {measures.helped.sum()} cells the delay does good"
        words, predicted = f"excess over zero delay {words}", f"{symbol} ≤ {limit:g}"
        judged.append(_verdict(measures, words, predicted, measured, cells, (outcome, decided)))
    return judged


@verdicts.register
def _inflations(claim: claims.Inflation, measures: Measures) -> list[Verdict]:
    """The inflation tends to 1 below the critical staleness, and stays bounded at it."""
    study, judged, words = measures.study, [], "updates to accuracy, over those without delay,"
    for rule in study.rules:
        cells, exponent = study.where(rule), study.exponent(rule)
        if study.reference in (None, rule) or exponent == 0:
            continue
        beyond = _beyond(study, rule, claim.critical)
        longest = f"K = {study.cells['num_updates'].iloc[cells[-1]]:,}"
        growth = measures.estimate(measures.inflation_slopes(rule))
        decision = verdict.at_most(growth, 0.0, SLOPE_TOLERANCE)
        at_longest = measures.estimate(measures.inflation[0][:, cells[-1]])
        if measures.inflation[1][0, cells[-1]] == fits.AT_LEAST and at_longest.value >= HOPELESS_INFLATION:
            # Only limits are known, which many lines could meet; the last limit alone decides.
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
    harmless, power = f"largest delay with at most {ACCEPTED_INFLATION:g} times the updates", _power(claim.exponent)
    words, predicted = f"{harmless} grows as {power} or faster", f"exponent ≥ {claim.exponent:g}"
    return [_verdict(measures, words, predicted, measured, cells, (outcome, decided))]


def _verdict(
    measures: Measures, claim: str, predicted: str, measured: Estimate, cells: np.ndarray,
    decision: tuple[str, str], beyond: str = "",
) -> Verdict:  # fmt: skip
    """Returns a verdict that confirms only what these runs can confirm.

    ``decision`` is outcome and rule by the number alone; ``beyond`` says why nothing is claimed of these cells, or "".
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
    """Returns that nothing is claimed beyond K^critical, or "" for staleness that is within it.

    Fixed staleness is beyond it if it exceeds K^critical at every K. The theorems limit the mean square delay, which
    grows faster than its rule if the trace has a heavy tail.
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
    """Returns a power of K as readers expect it: ``K^1/4``, ``K^-1/2``, ``1/K``."""
    return "1/K" if exponent == -1 else f"K^{fractions.Fraction(exponent).limit_denominator(64)}"
