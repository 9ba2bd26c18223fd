"""Figures say what they show, and are left out where there is nothing to show."""

import dataclasses

import numpy as np
import pytest

from asyncopt.analysis.measures import Measures
from asyncopt.report import study_figures
from tests.analysis import synthetic


def truth(tau, k):
    return k**-0.5 + 0.01 * tau**2 / k


def study(**settings):
    return synthetic.study(truth, np.random.default_rng(0), noise=0.02, **settings)


def texts(figure):
    shown = []
    for axes in figure.axes:
        legend = axes.get_legend()
        shown += [axes.get_xlabel(), axes.get_ylabel(), axes.get_title(), *(t.get_text() for t in axes.texts)]
        shown += [] if legend is None else [t.get_text() for t in legend.get_texts()]
    return shown + [t.get_text() for legend in figure.legends for t in legend.get_texts()]


@pytest.fixture(scope="module")
def drawn():
    return study_figures.all_figures(Measures(study()))


def test_which_figures(drawn):
    assert set(drawn) == {"rate", "phase", "delay_term", "bounds"}  # no clock, no speed-up


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "rate",
            ["updates $K$", "gap of the average", "slope -0.5", "a-posteriori bound", "a-priori bound", "K^{-1/2}"],
        ),
        ("phase", ["updates $K$", "staleness $\\tau$", "K^{1/4}", "K^{1/2}", "exponent", "over those without delay"]),
        ("delay_term", ["staleness $\\tau$", "excess over zero delay", "p = 2.0", "q = -1.0", "$K$ = 100,000"]),
        ("bounds", ["bound / measured mean", "bound broken", "a-posteriori bound"]),
    ],
)
def test_figures_explain_themselves(drawn, name, expected):
    figure, caption = drawn[name]
    shown = texts(figure)
    for words in expected:
        assert any(words in text for text in shown), (words, shown)
    assert "16 seeds" in figure.get_suptitle()
    assert caption.endswith(".")


def test_lower_limits_and_divergence_are_marked():
    some = study(rules=(0, "K**0.5"))
    values = some.values.copy()
    values[0, -1] = np.inf
    values[:, -2] = 10.0  # worse than anything without delay
    figure = study_figures.phase(Measures(dataclasses.replace(some, values=values)))
    shown = texts(figure)
    assert "diverged" in shown
    assert any(text.startswith("≥") for text in shown)


@pytest.mark.parametrize(
    "settings",
    [
        {"rules": (0,)},
        {"rules": ("K**0.25",)},
        {"lengths": (100,)},
        {"seeds": 1},
        {"lengths": (100,), "seeds": 1, "rules": (0,)},
    ],
)
def test_studies_with_little_in_them(settings):
    drawn = study_figures.all_figures(Measures(study(**settings)))
    assert "rate" in drawn
    for figure, _ in drawn.values():
        figure.canvas.draw()


def test_speedup_needs_a_clock_and_shows_the_ideal():
    some = study()
    clock = dataclasses.replace(some, cells=some.cells.assign(throughput=some.cells["num_workers"] * 0.9))
    shown = texts(study_figures.speedup(Measures(clock)))
    for words in ("workers $p$", "speed-up in simulated time to the same accuracy", "ideal"):
        assert words in shown
