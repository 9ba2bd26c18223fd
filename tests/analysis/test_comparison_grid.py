"""What to try beyond the step sizes and the gradients a round that were tried."""

import math

import pytest

from asyncopt.analysis import comparison_grid
from asyncopt.analysis.comparison import SYNCHRONOUS
from tests.analysis.made_runs import comparison, trial


def test_values_beyond_the_end_of_a_grid():
    """Two more, spaced as the grid is, with few digits; of a single value, half a decade apart."""
    assert comparison_grid._beyond(trial(rate=0.1), [0.1, 1.0, 10.0]) == {0.01, 0.001}
    assert comparison_grid._beyond(trial(rate=10.0), [0.1, 1.0, 10.0]) == {100.0, 1000.0}
    assert comparison_grid._beyond(trial(rate=1.0), [0.1, 1.0, 10.0]) == set()
    assert comparison_grid._beyond(trial(rate=1.0), [1.0]) == {0.316, 0.1, 3.16, 10.0}
    assert comparison_grid._beyond(trial(rate=0.1), [0.1, 0.4]) == {0.025, 0.0063}


@pytest.mark.parametrize(
    ("best", "tried", "outside"),
    [
        (4, (4, 6), {2, 1}),
        (3, (3, 6), {1}),
        (2, (2, 4), {1}),
        (1, (1, 4), set()),
        (4, (2, 4), {8}),
        (3, (2, 3), {6, 8}),
        (8, (4, 8), set()),
        (4, (2, 4, 8), set()),
        (4, (4,), set()),
        (None, (4, 8), set()),
    ],
)
def test_gradients_a_round_beyond_those_tried(best, tried, outside):
    chosen, *others = (trial(SYNCHRONOUS, taken=taken, num_workers=8) for taken in (best, *tried))
    assert comparison_grid._takes_outside(chosen, others) == outside


def graded(method, rates, best, **settings):
    """Trials of which the best step size has the lowest end; none reaches the target of the others."""
    return [
        trial(
            method, rate, values=(8, 8, 1 + abs(math.log10(rate / best))), time=(0, 9, 9 + (rate != best)), **settings
        )
        for rate in rates
    ]


def test_a_method_without_runs_has_no_fault_and_hides_none():
    found = comparison(*graded("SGD", (0.1, 1.0), 1.0))
    assert comparison_grid.faults(found, ["APAM", "SGD"], "a clock", 2, "loss") == [
        "SGD's best step size, 1, is the largest of its grid"
    ]


def test_an_override_adds_step_sizes_and_gradients_a_round():
    rates, tried = (0.1, 1.0, 10.0), {"num_workers": 8}
    found = comparison(
        *graded("APAM", rates, 1.0, **tried),
        *graded(SYNCHRONOUS, rates, 10.0, taken=4, **tried),
        *graded(SYNCHRONOUS, rates[:2], 300.0, taken=6, **tried),
        *graded("SGD", (0.1, 1.0, 3.0, 10.0), 1.0, **tried),
    )
    # Of all grids; beyond the largest; and beyond 4, the fewest gradients a round.
    assert comparison_grid.override(found) == "optimizer.learning_rate=3,10,100,1000 trace.take=1,2"


def test_a_step_size_is_written_with_as_few_digits_as_come_within_one_percent():
    assert [comparison_grid._rounded(rate) for rate in (9.92, 9.85, 0.0316228)] == [10.0, 9.8, 0.0316]
