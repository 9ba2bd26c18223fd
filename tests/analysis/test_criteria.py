"""What a criterion decides from an exponent and its parts, each given by itself and without each seed."""

import numpy as np
import pytest

from asyncopt.analysis.criteria import Criterion
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED


def rows(value, seeds=16, spread=0.01):
    """An exponent of all seeds, and without each; its standard error is about ``spread``."""
    offsets = spread * np.random.default_rng(0).normal(size=seeds) / np.sqrt(seeds)
    return np.append(value, value + offsets - offsets.mean())


@pytest.mark.parametrize(
    ("measured", "last", "outcome"),
    [
        (-0.3, -0.4, VIOLATED),
        (-0.3, -0.7, INCONCLUSIVE),  # the tail of a fit that no run has reached
        (-0.7, -0.7, CONFIRMED),
        (-0.7, -0.3, VIOLATED),
    ],
)
def test_a_fitted_tail_alone_does_not_violate_what_the_longest_runs_meet(measured, last, outcome):
    parts = {"over the last decade": rows(last)}
    criterion = Criterion(rows(measured), -0.5, parts, decisive=("over the last decade",))
    assert criterion.decide().outcome == outcome


def test_a_slope_that_is_too_slow_at_the_last_k_supports_no_rate():
    """The first of two neighbours is fast enough, the second is not: the fitted tail counts."""
    parts = {"from K = 1,000 to 3,162": rows(-0.7), "from K = 3,162 to 10,000": rows(-0.45)}
    assert Criterion(rows(-0.3), -0.5, parts).decide().outcome == VIOLATED
