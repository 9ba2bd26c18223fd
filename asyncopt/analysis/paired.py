"""Paired differences: what a setting does to the end of a run, seed by seed, each arm with its own tuned step size.

Runs of one seed have the same start and the same mini-batches under every trace, so that their difference has less
noise than either. The step size for a seed is the best for all other seeds: none is chosen by the run it is used for.
A step size with which any seed diverged is not chosen.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from jaxtyping import Float

from asyncopt.analysis.bootstrap import LEVEL, Estimate
from asyncopt.analysis.curves import Curves, interval
from asyncopt.analysis.verdict import NOT_COMPARABLE, largest_significant
from asyncopt.checks import InputError

WORSE, BETTER, NOT_SEEN = "worse", "better", "not seen"
DIVERGED = "diverged"
# The chance to see a difference of the size that a table calls noticeable.
_POWER = 0.8
_FEWEST_SEEDS = 3

# For each step size, the last value of the quantity of each seed.
Arm = Mapping[Any, Float[np.ndarray, " S"]]


@dataclasses.dataclass(frozen=True)
class Difference:
    """What one value of a setting does, against the baseline of the same group."""

    group: tuple[Any, ...]  #: what is told apart besides, such as the optimizer
    value: Any  #: the value of the setting
    end: Estimate  #: the mean at the end
    difference: Estimate  #: the mean of the end less the baseline's, seed by seed
    noticeable: float  #: the smallest difference that this number of seeds with this noise shows in 80 of 100 studies
    step_size: Any  #: the step size that most seeds chose
    baseline_step_size: Any  #: the step size that most seeds of the baseline chose
    p_value: float  #: two-sided, of no difference; NaN if there is none
    outcome: str  #: one of the words above, after Holm's correction for all differences of the study
    each: tuple[float, ...] = ()  #: the difference of each seed


def differences(curves: Curves, baseline: Any = None) -> list[Difference]:
    """Returns what each value of a setting does to the end of the runs, group by group.

    Args:
      curves: the last of their settings is the step size, and the one before it the setting in question; runs are
        told apart by those before.
      baseline: the value that others are compared with; default: the first.

    Raises:
      InputError: if there are fewer than two settings, two values or three seeds, or a group has no run with the
        baseline.
    """
    if len(curves.by) < 2:
        raise InputError(f"the runs differ in {list(curves.by)}, expected a setting and a step size")
    if curves.num_seeds < _FEWEST_SEEDS:
        raise InputError(f"the runs have {curves.num_seeds} seeds in common, expected {_FEWEST_SEEDS} at least")
    arms: dict[Any, dict[Any, Arm]] = {}
    for combination, values in zip(curves.combinations, curves.ends, strict=True):
        *group, value, step_size = combination
        arm: Any = arms.setdefault(tuple(group), {}).setdefault(value, {})
        arm[step_size] = values
    results = []
    first = _first(curves.by[-2], arms) if baseline is None else baseline
    for group, by_value in arms.items():
        if first not in by_value:
            raise InputError(
                f"{curves.by[-2]} is {', '.join(map(str, by_value))} of {_named(group)}, "
                f"expected the baseline {first} among them"
            )
        others = [value for value in by_value if value != first]
        results += [_difference(curves.quantity, group, value, by_value[value], by_value[first]) for value in others]
    if not results:
        raise InputError(f"{curves.by[-2]} is {first} in all runs, expected two values at least")
    return _corrected(results)


def _first(setting: str, arms: Mapping[tuple[Any, ...], Mapping[Any, Any]]) -> Any:
    """Returns the first value of the setting; with another first one in a group, rows would have several baselines."""
    (group, first), *others = [(group, next(iter(by_value))) for group, by_value in arms.items()]
    for other, value in others:
        if value != first:
            raise InputError(
                f"the first {setting} is {first} of {_named(group)} and {value} of {_named(other)}, expected one for "
                "all, or a baseline"
            )
    return first


def _named(group: tuple[Any, ...]) -> str:
    return ", ".join(map(str, group)) or "all runs"


def contrasts(results: Sequence[Difference], quantity: str) -> list[Difference]:
    """Returns, for the first value and each two groups, how much more the first group loses than the second.

    The end and the step sizes are those of the first group; its name comes before that of the second.
    """
    first = [one for one in results if one.value == results[0].value and one.each]
    pairs = []
    for one, other in itertools.combinations(first, 2):
        apart = np.subtract(one.each, other.each)
        noticeable, p_value = _noticeable(apart)
        outcome = WORSE if (apart.mean() > 0) == _is_loss(quantity) else BETTER
        if NOT_COMPARABLE in (one.outcome, other.outcome):
            outcome = NOT_COMPARABLE
        group = (*one.group, *other.group)
        kept = {"difference": interval(apart), "noticeable": noticeable, "p_value": p_value, "outcome": outcome}
        pairs.append(dataclasses.replace(one, group=group, each=tuple(apart), **kept))
    return _corrected(pairs)


def to_frame(results: Sequence[Difference], curves: Curves) -> pd.DataFrame:
    """Returns a row for each difference, with plain numbers."""
    rows = []
    for one in results:
        row = dict(zip(curves.by, (*one.group, one.value), strict=False))
        row |= {"end": one.end.value, "end_low": one.end.low, "end_high": one.end.high}
        row |= {"difference": one.difference.value, "low": one.difference.low, "high": one.difference.high}
        row |= {"noticeable": one.noticeable, "step_size": one.step_size, "baseline_step_size": one.baseline_step_size}
        rows.append({**row, "p_value": one.p_value, "outcome": one.outcome})
    return pd.DataFrame(rows)


def _is_loss(quantity: str) -> bool:
    return not quantity.endswith("accuracy")


def _difference(quantity: str, group: tuple[Any, ...], value: Any, arm: Arm, baseline: Arm) -> Difference:
    (ends, size, at_edge), (before, size_before, edge_before) = _tuned(arm, quantity), _tuned(baseline, quantity)
    if not np.isfinite([ends, before]).all():
        nothing = Estimate(math.nan, math.nan, math.nan)
        return Difference(group, value, nothing, nothing, math.nan, size, size_before, math.nan, DIVERGED)
    apart = ends - before
    noticeable, p_value = _noticeable(apart)
    outcome = WORSE if (apart.mean() > 0) == _is_loss(quantity) else BETTER
    if at_edge or edge_before:
        outcome = NOT_COMPARABLE
    return Difference(
        group,
        value,
        interval(ends),
        interval(apart),
        noticeable,
        size,
        size_before,
        p_value,
        outcome,
        tuple(apart.tolist()),
    )


def _noticeable(apart: Float[np.ndarray, " S"]) -> tuple[float, float]:
    """Returns the smallest noticeable difference, and the p-value of no difference by Student's paired test."""
    error, freedom = float(apart.std(ddof=1)) / math.sqrt(len(apart)), len(apart) - 1
    tail, reach = (float(scipy.stats.t.ppf(level, freedom)) for level in ((1 + LEVEL) / 2, _POWER))
    p_value = 2 * float(scipy.stats.t.sf(abs(apart.mean()) / error, freedom)) if error > 0 else float(not apart.any())
    return (tail + reach) * error, p_value


def _tuned(arm: Arm, quantity: str) -> tuple[Float[np.ndarray, " S"], Any, bool]:
    """Returns the end of each seed with the step size that is best for all others, and the one that most seeds chose.

    The third value says whether that is the largest or the smallest of several: a better one may lie beyond.
    """
    sizes, ends = list(arm), np.stack(list(arm.values()))
    worth = ends if _is_loss(quantity) else -ends
    others = np.stack([np.delete(worth, seed, axis=1).mean(axis=1) for seed in range(worth.shape[1])], axis=1)
    others[~np.isfinite(worth).all(axis=1)] = np.inf  # also where only the seed left out diverged
    chosen = np.argmin(others, axis=0)
    most = int(np.bincount(chosen).argmax())
    ordered = all(isinstance(size, int | float) and not isinstance(size, bool) for size in sizes)
    at_edge = ordered and len(sizes) > 1 and sizes[most] in (min(sizes), max(sizes))
    return ends[chosen, np.arange(ends.shape[1])], sizes[most], at_edge


def _corrected(results: Sequence[Difference]) -> list[Difference]:
    """Returns the differences, with "not seen" for those that are not significant after Holm's correction."""
    claimed = [one.outcome in (WORSE, BETTER) for one in results]
    largest = largest_significant([one.p_value for one in itertools.compress(results, claimed)], 1 - LEVEL)
    return [
        dataclasses.replace(one, outcome=NOT_SEEN) if claims and one.p_value > largest else one
        for one, claims in zip(results, claimed, strict=True)
    ]
