"""The training curve of a run: what it shows, and what it leaves out."""

import io

import numpy as np
import pandas as pd
import pytest

import asyncopt
from asyncopt import traces
from asyncopt.drawing import training


def test_a_curve_has_the_medians_of_a_result():
    problem = asyncopt.problems.quadratic(6, 4.0, noise=0.5)
    result = asyncopt.replay(problem, asyncopt.apam(0.1), traces.uniform(80, 3), seeds=3, eval_every=10)
    axes = result.plot("a quadratic").axes[0]
    assert axes.get_title() == "a quadratic\n3 seeds, bands from smallest to largest"
    x, y = axes.lines[0].get_data()
    assert list(x) == list(range(10, 81, 10))
    np.testing.assert_allclose(y, np.median(result.gap[:, 1:], axis=0))


def curve_of(objective):
    """The axes of the training curve of values of F at the steps 0, 10, 20, ..., of one seed."""
    steps = 10 * np.arange(len(objective))
    table = pd.DataFrame({"seed": 0, "step": steps, "objective": objective})
    return training.curve(table, "title").axes[0]


def test_values_below_zero_are_drawn_on_a_plain_axis():
    axes = curve_of([1.0, -2.0, -3.0])
    assert axes.get_yscale() == "linear"
    assert axes.lines[0].get_ydata().tolist() == [-2.0, -3.0]
    assert not axes.texts
    assert curve_of([1.0, 0.5, 0.2]).get_yscale() == "log"


def test_a_curve_that_begins_at_zero_is_drawn():
    assert curve_of([0.0, 2.0, 3.0]).lines[0].get_ydata().tolist() == [2.0, 3.0]


def test_a_curve_that_diverges_is_cut():
    assert curve_of([1.0, 0.5, 2e6, np.inf]).lines[0].get_ydata().tolist() == [0.5]
    axes = curve_of([1.0, np.nan, np.inf])
    assert axes.texts[0].get_text() == "diverged before the first evaluation"
    axes.figure.savefig(io.BytesIO())


def test_a_gap_lost_in_rounding_is_not_drawn_on_a_logarithmic_axis():
    gaps = [1.0, 0.5, 0.0, 1e-17]
    table = pd.DataFrame({"seed": 0, "step": [0, 10, 20, 30], "gap": gaps, "average_gap": [1.0, 0.8, 0.7, 0.6]})
    axes = training.curve(table, "title").axes[0]
    assert axes.lines[0].get_ydata().tolist() == [0.5, 1e-17]
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(
    ("title", "shown"), [("$\\tau$ updates late", "$\\tau$ updates late"), ("$\\bad$, 5 $", r"\$\bad\$, 5 \$")]
)
def test_a_formula_that_cannot_be_read_is_shown_as_typed(title, shown):
    problem = asyncopt.problems.quadratic(6, 4.0)
    figure = asyncopt.replay(problem, asyncopt.apam(0.1), traces.uniform(20, 3)).plot(title)
    assert figure.axes[0].get_title().split("\n")[0] == shown
    figure.savefig(io.BytesIO())
