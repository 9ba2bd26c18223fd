"""Compares the claims of theorems with a study: `judge` returns the verdicts.

Too few seeds, or less than two decades of K, are inconclusive. Only runs to which the theorem applies can confirm a
claim; others can contradict it. The claims and their limits are derived in ``docs/theory.md``.
"""

import dataclasses
import functools
import math

import numpy as np

from asyncopt.analysis import bounds, fits, jackknife, rates, verdict
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.conclusions import beyond, conclude, of_an_expectation, power
from asyncopt.analysis.criteria import EXPONENT_MARGIN, ROUNDING, Criterion, Decision, tolerance
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.studies import at
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, VIOLATED, Verdict
from asyncopt.theory import claims

# An interval over seeds says nothing of what a fit over some decades of K leaves out: an exponent is known to this.
RESOLUTION = 0.005
# An inflation of this size after two decades of K counts as unbounded.
HOPELESS_INFLATION = 10.0
# A growth of the inflation as K to this power is excluded where "stays bounded" is consistent: 10 % in two decades.
GROWTH_MARGIN = 0.02
# An inflation that is surely this close to 1 at the longest K, and does not grow, tends to 1.
CLOSE_TO_ONE = 0.02
# Delays further apart than this determine the threshold between them too roughly to tell exponents apart.
MAX_SPACING = 2.5

_NOTHING = Estimate(math.nan, math.nan, math.nan)
_UPDATES = "updates to accuracy, over those without delay,"


def judge(measures: Measures) -> list[Verdict]:
    """Returns a verdict for each claim that a study has runs for, in the order of the theorem's claims.

    Holm's correction is over all of them, see `asyncopt.analysis.verdict.corrected`.
    """
    study = measures.study
    groups = [(claim, verdicts(claim, measures)) for claim in study.claims]
    # If runs do not converge even with the least delay, no delay does harm to them.
    converge = measures.estimate(rates.asymptotic(measures, study.rules[0]).rows).high < 0
    doubt = f"but it is not clear that these runs converge at {at(study.rules[0])}"

    def doubted(claim: claims.Claim, judged: Verdict) -> Verdict:
        certain = converge or isinstance(claim, claims.Rate | claims.BoundsHold | claims.Constant | claims.Certified)
        if certain or judged.outcome not in (CONFIRMED, CONSISTENT):
            return judged
        rule = f"{judged.rule}, {doubt}"
        return dataclasses.replace(judged, outcome=INCONCLUSIVE, rule=rule, noticed=(), p_value=math.nan)

    return verdict.corrected([doubted(claim, judged) for claim, group in groups for judged in group])


@functools.singledispatch
def verdicts(claim: claims.Claim, measures: Measures) -> list[Verdict]:
    """Returns the verdicts on one claim; a new type of claim adds a function with ``@verdicts.register``.

    A verdict that says "confirmed" must say what was noticed: else `judge` calls it not tested.
    """
    raise NotImplementedError(f"no function judges {claim}")


@verdicts.register
def _bounds(claim: claims.BoundsHold, measures: Measures) -> list[Verdict]:
    """In every cell, the measured mean is at most the a-posteriori bound, and that at most the a-priori bound."""
    study, predicted = measures.study, "ratio ≤ 1"
    words = ["measured mean ≤ a-posteriori bound", "a-posteriori bound ≤ a-priori bound"]
    if study.outside or not study.bounds:
        rule = f"no bound to compare: {study.outside}"
        nothing = Verdict("", predicted, _NOTHING, study.values.size, INCONCLUSIVE, rule, unclaimed=study.outside)
        return [dataclasses.replace(nothing, claim=each) for each in words]
    cells, total = np.arange(len(study.cells)), np.sum(list(study.bounds.values()), axis=0)
    delay = study.bounds["delay"]
    decision = bounds.holds(study.finite, total, study.censored)
    noticed = bounds.noticed(study.finite, total, delay, study.censored)
    first = conclude(measures, words[0], predicted, decision, cells, noticed)
    first = of_an_expectation(first, len(study.seeds))
    prior, prior_delay = (study.cells[name].to_numpy(float) for name in ("a_priori", "a_priori_delay"))
    noticed = bounds.always_noticed(total, prior, prior_delay)
    return [first, conclude(measures, words[1], predicted, bounds.holds_always(total, prior), cells, noticed)]


@verdicts.register
def _rates(claim: claims.Rate, measures: Measures) -> list[Verdict]:
    """The exponent of K along each rule of staleness."""
    study, law, judged = measures.study, power(claim.exponent), []
    for rule in study.rules:
        criterion, source = rate_criterion(claim, measures, rule)
        decision = criterion.decide()
        faster = f"; faster than {law}" if decision.measured.high < claim.exponent else ""
        decision = decision._replace(rule=f"exponent {source}: {decision.rule}{faster}")
        words, predicted = f"falls as {law} or faster at {at(rule)}", f"slope ≤ {claim.exponent:g}"
        outside = beyond(study, rule, claim.up_to)
        cells, noticed = study.where(rule), _noticed(criterion, _stricter(claim.exponent - EXPONENT_MARGIN))
        judged.append(conclude(measures, words, predicted, decision, cells, noticed, outside))
    return judged


def rate_criterion(claim: claims.Rate, measures: Measures, rule: str) -> tuple[Criterion, str]:
    """Returns the criterion that a mean falls as a power of K or faster, and what its exponent was fitted to."""
    cells = measures.study.where(rule)
    measured, source = rates.asymptotic(measures, rule)
    if measures.study.censored[cells].any():
        return Criterion(measured, claim.exponent), source
    k = measures.num_updates(cells)
    parts = {words: measures.slopes(rule, cells[pair]) for words, pair in rates.neighbours(k).items()}
    parts["over the last decade"] = measures.slopes(rule, cells[rates.last_decade(k)])
    return Criterion(measured, claim.exponent, parts, decisive=("over the last decade",)), source


@verdicts.register
def _constant(claim: claims.Constant, measures: Measures) -> list[Verdict]:
    """The largest K^-exponent times the mean is at most the same of the a-priori bound."""
    study, judged = measures.study, []
    if study.outside or "a_priori" not in study.cells:
        return []
    within = [rule for rule in study.rules if not beyond(study, rule, claim.up_to)]
    if within:
        cells = np.concatenate([study.where(rule) for rule in within])
        scale = measures.num_updates(cells) ** -claim.exponent
        largest = np.max(scale * study.cells["a_priori"].to_numpy(float)[cells])
        values, diverged = scale * study.finite[:, cells], study.censored[cells]
        constant = np.full(values.shape, largest)
        decision = bounds.holds(values, constant, diverged)
        halved = bounds.largest_p_value(values, constant / 2, diverged)
        noticed = ("constant halved",) if halved > jackknife.ONE_SIDED else ()
        words = f"{power(-claim.exponent)} times the mean is at most the a-priori bound's constant"
        concluded = conclude(measures, words, f"ratio ≤ 1 (constant {largest:.3g})", decision, cells, noticed)
        judged.append(of_an_expectation(concluded, len(study.seeds)))
    return judged


@verdicts.register
def _same_rate(claim: claims.SameRate, measures: Measures) -> list[Verdict]:
    """The largest delays that the theorem allows leave the rate unchanged."""
    study, judged = measures.study, []
    for rule in study.rules:
        if study.reference not in (None, rule) and study.exponent(rule) == claim.up_to:
            cells, reference = study.where(rule), study.where(study.reference)
            difference = measures.slopes(rule) - measures.slopes(study.reference)
            k, k_without = measures.num_updates(cells), measures.num_updates(reference)
            # Slopes between neighbours can be compared only where both rules have runs of the same lengths.
            pairs = rates.neighbours(k) if np.array_equal(k, k_without) else {}
            parts = {
                words: measures.slopes(rule, cells[pair]) - measures.slopes(study.reference, reference[pair])
                for words, pair in pairs.items()
            }
            last = cells[rates.last_decade(k)], reference[rates.last_decade(k_without)]
            parts["over the last decade"] = measures.slopes(rule, last[0]) - measures.slopes(study.reference, last[1])
            criterion = Criterion(difference, 0.0, parts, ("over the last decade",))
            words = f"no slower in K at {at(rule)} than without delay"
            noticed, outside = _noticed(criterion, _stricter(-EXPONENT_MARGIN)), beyond(study, rule, claim.up_to)
            judged.append(conclude(measures, words, "change ≤ 0", criterion.decide(), cells, noticed, outside))
    return judged


@verdicts.register
def _attained(claim: claims.Attained, measures: Measures) -> list[Verdict]:
    """On a problem that attains the rate, no method is faster."""
    study = measures.study
    if not study.attains_rate or study.quantity != claim.quantity or study.reference is None:
        return []
    rows, source = rates.asymptotic(measures, study.reference)
    measured = measures.estimate(rows)

    def compared(exponent: float) -> tuple[str, str]:
        return verdict.equal(measured, exponent, EXPONENT_MARGIN, RESOLUTION)

    outcome, rule = compared(claim.exponent)
    mutants = {f"exponent {e:g}": e for e in (claim.exponent - EXPONENT_MARGIN, claim.exponent + EXPONENT_MARGIN)}
    noticed = tuple(name for name, exponent in mutants.items() if compared(exponent)[0] != CONSISTENT)
    words, predicted = f"{power(claim.exponent)} is attained without delay", f"slope = {claim.exponent:g}"
    decision = Decision(measured, outcome, f"exponent {source}: {rule}", tolerance=tolerance(EXPONENT_MARGIN))
    cells = study.where(study.reference)
    return [conclude(measures, words, predicted, decision, cells, noticed)]


@verdicts.register
def _delay_term(claim: claims.DelayTerm, measures: Measures) -> list[Verdict]:
    """The excess over zero delay grows at most as a power of τ, and falls at least as fast as a power of K."""
    exponents, cells = measures.excess_exponents(), np.flatnonzero(measures.in_delay_term)
    longest = measures.num_updates(np.arange(len(measures.study.cells))).max()
    of_last = measures.excess_exponents(longest / 10 * (1 - rates.ROUNDING_OF_K))
    judged = []
    for words, symbol, column, limit in (
        (f"grows as τ^{claim.delay:g} at most", "p", 1, claim.delay),
        (f"falls as {power(claim.num_updates)} or faster", "q", 2, claim.num_updates),
    ):
        noticed: tuple[str, ...] = ()
        if exponents is None:
            number = int(np.sum(measures.in_delay_term & measures.significant))
            reason = f"{number} cells whose excess is significant, and a correction (4 needed)"
            decision = Decision(_NOTHING, INCONCLUSIVE, reason, tolerance=tolerance(EXPONENT_MARGIN))
        else:
            last = {} if of_last is None else {"over the last decade": of_last[:, column]}
            criterion = Criterion(exponents[:, column], limit, last, tuple(last))
            decision, noticed = criterion.decide(), _noticed(criterion, f"{symbol} ≤ {limit - EXPONENT_MARGIN:g}")
            if measures.helped.any():
                # The sum of a gain and a loss is no power law, so its exponents describe neither.
                reason = f"no power law: in {measures.helped.sum()} cells the delay does good"
                decision = Decision(decision.measured, INCONCLUSIVE, reason, tolerance=decision.tolerance)
                noticed = ()
        words, predicted = f"excess over zero delay {words}", f"{symbol} ≤ {limit:g}"
        judged.append(conclude(measures, words, predicted, decision, cells, noticed))
    return judged


@verdicts.register
def _inflations(claim: claims.Inflation, measures: Measures) -> list[Verdict]:
    """The inflation tends to 1 below the critical staleness, and stays bounded at it."""
    study, judged = measures.study, []
    for rule in study.rules:
        cells, exponent = study.where(rule), study.exponent(rule)
        if study.reference in (None, rule) or exponent == 0:
            continue
        outside = beyond(study, rule, claim.critical)
        decision, noticed = _bounded(measures, rule)
        words = f"{_UPDATES} stay bounded at {at(rule)}"
        judged.append(conclude(measures, words, "slope ≤ 0", decision, cells, noticed, outside))
        if exponent < claim.critical:
            decision, noticed = _tends_to_one(measures, rule)
            allowed = f"{CLOSE_TO_ONE:g}; {ACCEPTED_INFLATION - 1:.1g} for consistent"
            decision = decision._replace(tolerance=allowed)
            longest = f"K = {study.cells['num_updates'].iloc[cells[-1]]:,}"
            words, predicted = f"{_UPDATES} tend to 1 at {at(rule)}", f"→ 1 (at {longest})"
            judged.append(conclude(measures, words, predicted, decision, cells, noticed, outside))
    return judged


def _bounded(measures: Measures, rule: str) -> tuple[Decision, tuple[str, ...]]:
    """Decides whether the inflation does not grow, over all K and between neighbours of the last decade."""
    cells = measures.study.where(rule)
    value, side = (part[:, cells] for part in measures.inflation)
    if side[0, -1] == fits.AT_LEAST and value[0, -1] >= HOPELESS_INFLATION:
        # Only limits are known, which many lines could meet; the last limit alone decides.
        longest = f"K = {measures.num_updates(cells)[-1]:,.0f}"
        return Decision(_NOTHING, VIOLATED, f"at {longest} it is {value[0, -1]:.3g} at least"), ()
    k = measures.num_updates(cells)
    parts = {words: measures.inflation_slopes(rule, cells[pair]) for words, pair in rates.neighbours(k).items()}
    last = measures.inflation_slopes(rule, cells[rates.last_decade(k)])
    parts["over the last decade"] = last
    slopes = measures.inflation_slopes(rule)
    criterion = Criterion(slopes, 0.0, parts, ("over the last decade",), margin=GROWTH_MARGIN)
    decision = criterion.decide()
    if (side[0] == fits.AT_LEAST).any() and decision.outcome in (CONFIRMED, CONSISTENT):
        return decision._replace(outcome=INCONCLUSIVE, rule=f"{decision.rule}, but of some cells only a limit"), ()
    return decision, _noticed(criterion, _stricter(-EXPONENT_MARGIN))


def _tends_to_one(measures: Measures, rule: str) -> tuple[Decision, tuple[str, ...]]:
    """Decides whether the inflation at the longest K is surely close to 1, and does not grow over the last decade."""
    cells = measures.study.where(rule)
    value, side = (part[:, cells] for part in measures.inflation)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_last = np.log(value[:, -1])
        growth = log_last - np.log(value[:, rates.last_decade(measures.num_updates(cells))[0]])
        log_before = np.log(value[:, -2])
    at_last, grows = measures.estimate(log_last), measures.estimate(growth)
    measured = Estimate(*map(math.exp, at_last))
    if math.isnan(at_last.low) or side[0, -1] == fits.AT_LEAST:
        return Decision(measured, INCONCLUSIVE, "no exact inflation at the longest K"), ()
    if grows.low > ROUNDING:
        outcome = VIOLATED if measured.low > 1 else INCONCLUSIVE
        return Decision(measured, outcome, "it grows over the last decade"), ()
    if measured.low > 1 + EXPONENT_MARGIN:
        return _falls_to_one(measures, value, measured, cells), ()
    # One K alone can be where an inflation passes 1 on its way.
    p_value = max(
        max(jackknife.p_at_most(at, math.log1p(CLOSE_TO_ONE)), jackknife.p_at_most(-at, -math.log1p(-CLOSE_TO_ONE)))
        for at in (log_before, log_last)
    )
    p_value = 1.0 if math.isnan(p_value) else p_value
    consistent = measured.low <= 1 <= measured.high < ACCEPTED_INFLATION
    otherwise = CONSISTENT if consistent else INCONCLUSIVE
    noticed = tuple(f"→ {limit}" for limit in (1 - EXPONENT_MARGIN, 1 + EXPONENT_MARGIN) if not _holds(measured, limit))
    if p_value <= jackknife.ONE_SIDED:
        rule_ = f"intervals at the last two K within {CLOSE_TO_ONE:.0%} of 1, and no growth over the last decade"
        return Decision(measured, CONFIRMED, rule_, p_value, otherwise), noticed
    words = "interval around 1" if measured.low <= 1 <= measured.high else "interval without 1"
    return Decision(measured, otherwise, f"{words}, not within {CLOSE_TO_ONE:.0%} of it", p_value), noticed


def _falls_to_one(measures: Measures, value: np.ndarray, measured: Estimate, cells: np.ndarray) -> Decision:
    """Decides on an inflation that is surely above 1: it is violated unless its excess still falls."""
    last = rates.last_decade(measures.num_updates(cells))
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.log(value[:, last[-1]] - 1) - np.log(value[:, last[0]] - 1)
    if measures.estimate(excess).high < 0:
        return Decision(measured, INCONCLUSIVE, "above 1 at the longest K, but its excess still falls")
    return Decision(measured, VIOLATED, "above 1 at the longest K, and its excess does not fall")


def _holds(measured: Estimate, value: float) -> bool:
    return measured.low <= value <= measured.high


@verdicts.register
def _threshold(claim: claims.Threshold, measures: Measures) -> list[Verdict]:
    """The largest harmless delay grows at least as a power of K, over all K and over each decade."""
    num_updates, _, side = measures.thresholds
    if measures.study.reference is None or not len(num_updates):
        return []
    # The truth is between the two interpolations, so the claim must hold of both, or of neither.
    by_logs, by_squares = (_threshold_criterion(claim, measures, squares) for squares in (False, True))
    decision = _common(by_logs.decide(), by_squares.decide())
    name = f"exponent ≥ {claim.exponent + EXPONENT_MARGIN:g}"
    noticed = _noticed(by_logs, name) if by_logs.notices() else _noticed(by_squares, name)
    exact = int((side[0] == fits.EXACT).sum())
    if (spacing := measures.threshold_spacing) > MAX_SPACING:
        reason = f"neighbouring delays differ by a factor of {spacing:.3g}, more than {MAX_SPACING:g}"
        decision, noticed = Decision(decision.measured, INCONCLUSIVE, reason), ()
    if exact < 3:
        reason = f"among the delays tried at {exact} of {len(num_updates)} K only (3 needed)"
        decision, noticed = Decision(decision.measured, INCONCLUSIVE, reason), ()
    elif exact < len(num_updates):
        limits = f"; a limit only at {len(num_updates) - exact} of {len(num_updates)} K"
        decision = decision._replace(rule=decision.rule + limits)
    decision = decision._replace(tolerance=tolerance(EXPONENT_MARGIN))
    cells = np.flatnonzero(np.isin(measures.study.cells["num_updates"], num_updates))
    harmless, law = f"largest delay with at most {ACCEPTED_INFLATION:g} times the updates", power(claim.exponent)
    words, predicted = f"{harmless} grows as {law} or faster", f"exponent ≥ {claim.exponent:g}"
    return [conclude(measures, words, predicted, decision, cells, noticed)]


def _threshold_criterion(claim: claims.Threshold, measures: Measures, squares: bool) -> Criterion:
    """Returns the criterion that thresholds grow over all K, and over each decade."""
    num_updates = measures.thresholds[0]
    decades = {
        f"over the decade from K = {num_updates[part.start]:,}": measures.threshold_power(part, squares)[:, 1]
        for part in rates.decades(num_updates.astype(float))
    }
    fit = measures.threshold_power(slice(None), squares)[:, 1]
    return Criterion(fit, claim.exponent, decades, tuple(decades), at_least=True)


def _common(first: Decision, second: Decision) -> Decision:
    """Returns the first decision if the second has its outcome; the weaker of two that do not contradict a claim."""
    p_value = max(first.p_value, second.p_value)
    if first.outcome == second.outcome:
        return first._replace(p_value=p_value)
    outcomes = {first.outcome, second.outcome}
    outcome = CONSISTENT if outcomes == {CONFIRMED, CONSISTENT} else INCONCLUSIVE
    rule = f"{first.rule}; if interpolated in τ², {second.outcome}"
    return first._replace(outcome=outcome, rule=rule, p_value=p_value)


def _noticed(criterion: Criterion, name: str) -> tuple[str, ...]:
    return (name,) if criterion.notices() else ()


def _stricter(exponent: float) -> str:
    return f"slope ≤ {exponent:g}"
