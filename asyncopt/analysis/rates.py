"""Exponents of K at large K: between neighbours and over the last decade, and of the tail below a transient."""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from asyncopt.analysis import fits, jackknife
from asyncopt.analysis.criteria import Rows
from asyncopt.analysis.measures import Measures

# Values of K are rounded, so a decade may lack this share.
ROUNDING_OF_K = 1e-3
_CELLS_OF_A_TAIL = 4


class Asymptotic(NamedTuple):
    """The exponent of K in the limit, as far as the runs show it."""

    rows: Rows
    source: str  # what it was fitted to, in words


def last_decade(num_updates: Float[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """Returns which K are within the last factor of ten, or the last two K if there is only one; K increases."""
    within = np.flatnonzero(num_updates >= num_updates[-1] / 10 * (1 - ROUNDING_OF_K))
    return within if len(within) > 1 else np.arange(max(len(num_updates) - 2, 0), len(num_updates))


def decades(num_updates: Float[np.ndarray, " n"]) -> list[slice]:
    """Returns for each K the range of K that starts with it and covers a decade, where there is one; K increases."""
    longer = (num_updates / num_updates[:, None]) >= 10 * (1 - ROUNDING_OF_K)
    return [slice(first, int(np.argmax(row)) + 1) for first, row in enumerate(longer) if row.any()]


def neighbours(num_updates: Float[np.ndarray, " n"]) -> dict[str, Int[np.ndarray, " 2"]]:
    """Returns each two neighbouring K of the last decade, by a name for readers; K increases."""
    last = last_decade(num_updates)
    pairs = [np.array(pair) for pair in itertools.pairwise(last)]
    return {f"from K = {num_updates[i]:,.0f} to {num_updates[j]:,.0f}": np.array([i, j]) for i, j in pairs}


def asymptotic(measures: Measures, rule: str) -> Asymptotic:
    """Returns the exponent of K along a rule at large K.

    Where the power law loses steepness significantly, it is -q of A/K + B K^-q. A slope over all K would mix the
    transient A/K with the tail. Elsewhere it is the slope over the last decade. If a seed diverged it is the slope over
    all K, a lower limit.
    """
    cells = measures.study.where(rule)
    num_updates, means = measures.num_updates(cells), measures.means[:, cells]
    if measures.study.censored[cells].any():
        return Asymptotic(measures.slopes(rule), "over all K, as a seed diverged")
    positive = len(cells) >= _CELLS_OF_A_TAIL and (means > 0).all()
    if positive and jackknife.estimate(fits.curvature(num_updates, means)).low > 0:
        return Asymptotic(-fits.tail_exponent(num_updates, means), "of B K^-q beside A/K")
    last = last_decade(num_updates)
    return Asymptotic(measures.slopes(rule, cells[last]), "over the last decade")
