"""From what a criterion says of the numbers to a verdict: what these runs cannot settle is inconclusive."""

import dataclasses
import fractions
import math

import numpy as np

from asyncopt.analysis import fits, seeds
from asyncopt.analysis.criteria import Decision
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.rates import ROUNDING_OF_K
from asyncopt.analysis.studies import Study
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, VIOLATED, Verdict

# The intervals are tested at this many seeds; over less than two decades of K a slope still depends on the start.
MIN_SEEDS, MIN_RANGE, MIN_LENGTHS = 16, 100.0, 4
# The exponent of a delay that is rounded to whole updates can exceed its rule's by this much.
ROUNDING = 0.05

# With fewer seeds, more than 1 % of samples have none of the 5 % of seeds that may carry a mean: 0.95^90 = 0.01.
SEEDS_THAT_SHOW_FEW = 90


def conclude(
    measures: Measures, claim: str, predicted: str, decision: Decision, cells: np.ndarray,
    noticed: tuple[str, ...] = (), beyond: str = "",
) -> Verdict:  # fmt: skip
    """Returns a verdict that confirms only what these runs can confirm.

    Args:
      measures: the study.
      claim: the claim in words.
      predicted: what the theory says about the measured number.
      decision: what the number alone says.
      cells: int[n], the cells it was computed from.
      noticed: the wrong claims that would not have passed, in words.
      beyond: why nothing is claimed of these cells, or "".
    """
    study, outcome, rule, p_value = measures.study, decision.outcome, decision.rule, decision.p_value
    if thin := too_thin(study, cells):
        outcome, rule = (outcome, rule) if outcome == INCONCLUSIVE else (INCONCLUSIVE, thin)
        p_value = math.nan
    if study.outside or beyond:
        p_value = math.nan  # decided before the runs: no claim of the family that is corrected for
    reason = study.outside or beyond or doubt(study, cells)
    if outcome in (CONFIRMED, CONSISTENT) and reason:
        outcome, rule = INCONCLUSIVE, f"{rule}, but {reason}"
    elif outcome == VIOLATED and beyond:
        rule += f"; {beyond}"
    if outcome not in (CONFIRMED, CONSISTENT):
        noticed = ()
    runs, unclaimed = len(study.seeds) * len(cells), study.outside or beyond
    decided = (outcome, rule, noticed, p_value, decision.otherwise, decision.tolerance, unclaimed)
    return Verdict(claim, predicted, decision.measured, runs, *decided)


def of_an_expectation(judged: Verdict, num_seeds: int) -> Verdict:
    """Returns a verdict on the size of a mean, which is consistent at most with fewer than 90 seeds.

    A mean that one seed in twenty carries looks small in all samples without such a seed, and nothing in them shows it.
    """
    if num_seeds >= SEEDS_THAT_SHOW_FEW:
        return judged
    rule = f"{judged.rule}; {num_seeds} seeds, and to confirm the size of a mean takes {SEEDS_THAT_SHOW_FEW}"
    if judged.outcome == CONFIRMED and judged.noticed:
        judged = dataclasses.replace(judged, outcome=CONSISTENT, rule=rule)
    return dataclasses.replace(judged, p_value=math.nan)


def beyond(study: Study, rule: str, critical: float) -> str:
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
    return f"nothing is claimed beyond {power(critical)}" if is_beyond else ""


def too_thin(study: Study, cells: np.ndarray) -> str:
    """Returns why the data are insufficient for any verdict, or ""."""
    lengths = study.cells["num_updates"].iloc[cells].unique()
    if len(study.seeds) < MIN_SEEDS:
        return f"{len(study.seeds)} seeds, fewer than {MIN_SEEDS}"
    if len(lengths) and lengths.max() < MIN_RANGE * lengths.min() * (1 - ROUNDING_OF_K):
        return f"K from {lengths.min():,} to {lengths.max():,}, less than two decades"
    if len(lengths) < MIN_LENGTHS:
        return f"{len(lengths)} values of K, fewer than {MIN_LENGTHS}"
    return study.dependent_seeds


def doubt(study: Study, cells: np.ndarray) -> str:
    """Returns why these cells can contradict a claim but not support it, or ""."""
    if diverged := int(study.censored[cells].sum()):
        return f"in {diverged} of these cells a seed diverged"
    return seeds.heavy_tail(study.values[:, cells])


def power(exponent: float) -> str:
    """Returns a power of K as readers expect it: ``K^1/4``, ``K^-1/2``, ``1/K``."""
    return "1/K" if exponent == -1 else f"K^{fractions.Fraction(exponent).limit_denominator(64)}"
