"""The claims of the theorems, each held against a study: `judge` returns a verdict for every one.

Too few seeds, or less than two decades of K, settle nothing either way. A claim is confirmed only by runs that the
theorem is about; others can contradict it. The claims and their limits are derived in ``docs/theory.md``.
"""

import dataclasses
import fractions
import math

import numpy as np

from asyncopt.analysis import fits, verdict
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.studies import Study, at
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED, Verdict

# The intervals are tested at this many seeds; over less than two decades of K a slope still depends on the start.
MIN_SEEDS = 16
MIN_RANGE = 100.0
MIN_LENGTHS = 4
# Exponents are the limit of large K; at the K of a study they are reached to about this much.
SLOPE_TOLERANCE = 0.1
THRESHOLD_TOLERANCE = 0.05
# A delay that costs more than so many times the updates after two decades of K is not bounded in any useful sense.
HOPELESS_INFLATION = 10.0
# The staleness up to which the theorems claim a nearly linear speed-up, as an exponent of K.
CRITICAL_EXPONENT = 0.25
# How much a delay rounded to whole updates can seem to grow faster than its rule.
ROUNDING = 0.05

_NOTHING = Estimate(math.nan, math.nan, math.nan)


def judge(measures: Measures) -> list[Verdict]:
    """Returns a verdict for each claim that a study has runs for, in the order of ``docs/theory.md``."""
    values, rates = _values(measures), _rates(measures)
    others = [
        *_same_rate(measures),
        *_attained(measures),
        *_delay_term(measures),
        *_inflations(measures),
        *_threshold(measures),
    ]
    # Against runs that do not converge even with the least delay, a loose bound holds and no delay does harm.
    if rates[0].outcome != CONFIRMED:
        reason = f"but it is not confirmed that these runs converge at {at(measures.study.rules[0])}"
        values, others = ([_doubted(found, reason) for found in group] for group in (values, others))
    return [*values, *rates, *others]


def _doubted(found: Verdict, reason: str) -> Verdict:
    if found.outcome != CONFIRMED:
        return found
    return dataclasses.replace(found, outcome=INCONCLUSIVE, rule=f"{found.rule}, {reason}")


def _values(measures: Measures) -> list[Verdict]:
    """Measured at most the a-posteriori bound, and that at most the a-priori one, in every cell."""
    study = measures.study
    claims = ["measured mean ≤ a-posteriori bound", "a-posteriori bound ≤ a-priori bound"]
    if study.outside:
        rule = f"no bound to compare: {study.outside}"
        return [Verdict(claim, "ratio ≤ 1", _NOTHING, study.values.size, INCONCLUSIVE, rule) for claim in claims]
    bounds = study.cells["a_posteriori"].to_numpy()
    with np.errstate(invalid="ignore"):
        ratios = np.where(study.censored, np.inf, measures.means / bounds)
        chained = bounds / study.cells["a_priori"].to_numpy()
    worst = int(np.argmax(ratios[0]))
    closest = measures.estimate(ratios[:, worst])
    # Of all cells, since the one with the largest mean need not have the highest upper end.
    high = max(measures.estimate(ratios[:, cell]).high for cell in range(ratios.shape[1]))
    measured = Estimate(closest.value, closest.low, high)
    outcome, rule = verdict.at_most(measured, 1.0, 0.0)
    rule += f" in all {ratios.shape[1]} cells" if outcome == CONFIRMED else ""
    first = _verdict(measures, claims[0], "ratio ≤ 1", measured, np.arange(ratios.shape[1]), outcome, rule)
    largest = float(chained.max())
    # A sum of inequalities that hold in every single run, so there is no interval; rounding is allowed for.
    outcome, rule = (CONFIRMED, "in all cells") if largest <= 1 + 1e-9 else (VIOLATED, "in some cell it is larger")
    measured = Estimate(largest, math.nan, math.nan)
    return [first, _verdict(measures, claims[1], "ratio ≤ 1", measured, np.arange(len(chained)), outcome, rule)]


def _rates(measures: Measures) -> list[Verdict]:
    """The exponent of K along each rule of staleness."""
    verdicts = []
    for rule in measures.study.rules:
        cells = measures.study.where(rule)
        measured = measures.estimate(measures.slopes(rule))
        outcome, decided = verdict.at_most(measured, -0.5, SLOPE_TOLERANCE)
        if measured.high < -0.5:
            decided += "; faster than K^-1/2"
        claim = f"falls as K^-1/2 or faster at {at(rule)}"
        verdicts.append(_verdict(measures, claim, "slope ≤ -0.5", measured, cells, outcome, decided, rule))
    return verdicts


def _same_rate(measures: Measures) -> list[Verdict]:
    """The delays that the theorems allow do not change the rate."""
    study, verdicts = measures.study, []
    if study.reference is None:
        return verdicts
    for rule in study.rules:
        cells = study.where(rule)
        if rule != study.reference and study.cells["exponent"].iloc[cells[0]] == CRITICAL_EXPONENT:
            difference = measures.estimate(measures.slopes(rule) - measures.slopes(study.reference))
            outcome, decided = verdict.at_most(difference, 0.0, SLOPE_TOLERANCE)
            claim = f"no slower in K at {at(rule)} than without delay"
            verdicts.append(_verdict(measures, claim, "change ≤ 0", difference, cells, outcome, decided, rule))
    return verdicts


def _attained(measures: Measures) -> list[Verdict]:
    """On the hard instance no method is faster than K^-1/2."""
    study = measures.study
    if not study.problem.endswith(".hard_instance") or study.reference is None:
        return []
    measured = measures.estimate(measures.slopes(study.reference))
    outcome, decided = verdict.equal(measured, -0.5, SLOPE_TOLERANCE)
    cells = study.where(study.reference)
    return [_verdict(measures, "K^-1/2 is attained without delay", "slope = -0.5", measured, cells, outcome, decided)]


def _delay_term(measures: Measures) -> list[Verdict]:
    """The excess over zero delay grows at most as τ² and falls at least as 1/K."""
    claims = {"excess over zero delay grows as τ^2 at most": ("p ≤ 2", 1, 2.0)}
    claims["excess over zero delay falls as 1/K or faster"] = ("q ≤ -1", 2, -1.0)
    exponents = measures.excess_exponents
    cells = np.flatnonzero(measures.in_delay_term)
    verdicts = []
    for claim, (predicted, column, limit) in claims.items():
        if exponents is None:
            number = int(np.sum(measures.in_delay_term & measures.significant))
            rule = f"{number} cells whose excess is significant, and a correction (4 needed)"
            verdicts.append(_verdict(measures, claim, predicted, _NOTHING, cells, INCONCLUSIVE, rule))
            continue
        measured = measures.estimate(exponents[:, column])
        outcome, decided = verdict.at_most(measured, limit, SLOPE_TOLERANCE)
        if measures.helped.any():
            # The sum of a gain and a loss is no power law, and its exponents say nothing of either.
            outcome, decided = INCONCLUSIVE, f"no power law: in {measures.helped.sum()} cells the delay does good"
        verdicts.append(_verdict(measures, claim, predicted, measured, cells, outcome, decided))
    return verdicts


def _inflations(measures: Measures) -> list[Verdict]:
    """Updates to accuracy: below the critical staleness they tend to those without delay, at it they stay bounded."""
    study, verdicts = measures.study, []
    if study.reference is None:
        return verdicts
    for rule in study.rules:
        cells = study.where(rule)
        exponent = study.cells["exponent"].iloc[cells[0]]
        if rule == study.reference or exponent == 0:
            continue
        growth = measures.estimate(measures.inflation_slopes(rule))
        outcome, decided = verdict.at_most(growth, 0.0, SLOPE_TOLERANCE)
        at_longest = measures.estimate(measures.inflation[0][:, cells[-1]])
        if measures.inflation[1][0, cells[-1]] == fits.AT_LEAST and at_longest.value >= HOPELESS_INFLATION:
            # Only limits are known, through which any line could be drawn; the last of them says enough.
            growth, outcome = _NOTHING, VIOLATED
            decided = f"at K = {study.cells['num_updates'].iloc[cells[-1]]:,} it is {at_longest.value:.3g} at least"
        claim = f"updates to accuracy, over those without delay, stay bounded at {at(rule)}"
        verdicts.append(_verdict(measures, claim, "slope ≤ 0", growth, cells, outcome, decided, rule))
        if exponent < CRITICAL_EXPONENT:
            outcome, decided = verdict.at_most(at_longest, 1.0, ACCEPTED_INFLATION - 1)
            claim = f"updates to accuracy, over those without delay, tend to 1 at {at(rule)}"
            longest = f"→ 1 (at K = {study.cells['num_updates'].iloc[cells[-1]]:,})"
            verdicts.append(_verdict(measures, claim, longest, at_longest, cells, outcome, decided, rule))
    return verdicts


def _threshold(measures: Measures) -> list[Verdict]:
    """The largest harmless delay grows at least as K^1/4."""
    num_updates, _, side = measures.thresholds
    if measures.study.reference is None or not len(num_updates):
        return []
    claim = f"largest delay with at most {ACCEPTED_INFLATION:g} times the updates grows as K^1/4 or faster"
    measured = measures.estimate(measures.threshold_fit[:, 1])
    exact = int((side[0] == fits.EXACT).sum())
    outcome, decided = verdict.at_least(measured, CRITICAL_EXPONENT, THRESHOLD_TOLERANCE)
    if exact < 3:
        outcome, decided = INCONCLUSIVE, f"among the delays tried at {exact} of {len(num_updates)} K only (3 needed)"
    elif exact < len(num_updates):
        decided += f"; a limit only at {len(num_updates) - exact} of {len(num_updates)} K"
    cells = np.flatnonzero(np.isin(measures.study.cells["num_updates"], num_updates))
    return [_verdict(measures, claim, "exponent ≥ 0.25", measured, cells, outcome, decided)]


def _verdict(
    measures: Measures,
    claim: str,
    predicted: str,
    measured: Estimate,
    cells: np.ndarray,
    outcome: str,
    decided: str,
    rule: str | None = None,
) -> Verdict:
    """Returns a verdict, after making sure that nothing is confirmed which these runs cannot confirm."""
    study = measures.study
    if outcome != INCONCLUSIVE and (thin := _too_thin(study, cells)):
        outcome, decided = INCONCLUSIVE, thin
    if outcome == CONFIRMED and study.outside:
        outcome, decided = INCONCLUSIVE, f"{decided}, but {study.outside}"
    if outcome != INCONCLUSIVE and rule is not None and _beyond(study, rule):
        promised = f"nothing is claimed beyond K^{fractions.Fraction(CRITICAL_EXPONENT)}"
        decided += f", but {promised}" if outcome == CONFIRMED else f"; {promised}"
        outcome = INCONCLUSIVE if outcome == CONFIRMED else outcome
    return Verdict(claim, predicted, measured, len(study.seeds) * len(cells), outcome, decided)


def _beyond(study: Study, rule: str) -> bool:
    """Whether a rule of staleness is more than the theorems allow, or a fixed delay that is so at every K tried.

    What they limit is the mean square delay of the trace. With a heavy tail that grows faster than the rule says.
    """
    cells = study.cells.iloc[study.where(rule)]
    delay, num_updates = cells["delay"].to_numpy(), cells["num_updates"].to_numpy(float)
    if cells["exponent"].iloc[0] == 0:
        return bool((delay > num_updates**CRITICAL_EXPONENT).all())
    growth = fits.power_law_slope(num_updates, np.maximum(delay, 1.0), np.full(len(delay), fits.EXACT))[1]
    return bool(cells["exponent"].iloc[0] > CRITICAL_EXPONENT or growth > CRITICAL_EXPONENT + ROUNDING)


def _too_thin(study: Study, cells: np.ndarray) -> str:
    """Says why these cells settle nothing either way, or nothing."""
    lengths = study.cells["num_updates"].iloc[cells].unique()
    if len(study.seeds) < MIN_SEEDS:
        return f"{len(study.seeds)} seeds, fewer than {MIN_SEEDS}"
    if lengths.max() < MIN_RANGE * lengths.min() * (1 - 1e-3):
        return f"K from {lengths.min():,} to {lengths.max():,}, less than two decades"
    if len(lengths) < MIN_LENGTHS:
        return f"{len(lengths)} values of K, fewer than {MIN_LENGTHS}"
    return ""


__all__ = ["CONFIRMED", "INCONCLUSIVE", "VIOLATED", "judge"]
