"""How objects show themselves: a line as text, a short list in a notebook, with the same facts."""

import html
import re

import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import traces
from asyncopt.problems import data
from asyncopt.report import page
from asyncopt.shown import printable

QUADRATIC = asyncopt.problems.quadratic(6, 4.0, noise=0.5)


def test_a_result_says_how_far_it_came():
    result = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), traces.uniform(80, 3), seeds=3)
    first, last = result.gap[:, 0].mean(), result.gap[:, -1].mean()
    assert repr(result).startswith(f"Result(80 updates, 3 seeds, mean gap {first:.4g} → {last:.4g}, ")
    diverging = asyncopt.replay(QUADRATIC, optax.sgd(1e30), traces.uniform(80, 60), seeds=3)
    assert ", 3 diverged, " in repr(diverging)
    alone = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), traces.uniform(80, 3))
    assert repr(alone).startswith(f"Result(80 updates, gap {alone.gap[0]:.4g} → {alone.gap[-1]:.4g}, ")


IMAGES = data.ImageData(
    "tiles", np.zeros((4, 2, 2, 1), np.uint8), np.arange(4) % 2, 2, np.zeros((0, 2, 2, 1), np.uint8),
    np.zeros(0, int), np.zeros(1), np.ones(1),
)  # fmt: skip


@pytest.mark.parametrize(
    "shown",
    [
        asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), traces.uniform(80, 3), seeds=3),
        traces.uniform(80, 3),
        traces.Clock(4, compute="exponential"),
        data.digits(),
        data.diabetes(),
        data.text(),
        data.from_arrays(np.eye(4), list("abab"), name="rows <of> mine, & yours"),
        IMAGES,
        QUADRATIC,
        asyncopt.problems.logistic("digits"),
        asyncopt.problems.nonconvex_logistic("breast_cancer"),
        asyncopt.problems.robust_regression("diabetes"),
        asyncopt.problems.hard_instance(100),
        asyncopt.problems.least_squares("diabetes"),
        asyncopt.problems.tridiagonal(5),
        asyncopt.problems.char_lm(),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_a_notebook_has_the_facts_of_the_line_without_scrolling(shown):
    line, page = repr(shown), shown._repr_html_()
    facts = [html.unescape(fact) for fact in re.findall("<li>(.*?)</li>", page)]
    assert line == f"{type(shown).__name__}({', '.join(facts)})"
    assert html.unescape(re.sub("<.*?>", "", page)) == type(shown).__name__ + "".join(facts)
    assert len(line) < 200
    assert 2 <= len(facts) <= 6
    assert max(map(len, facts)) < 80


def test_a_problem_inside_a_compiled_function_shows_itself():
    import equinox as eqx

    seen = []
    eqx.filter_jit(lambda problem: seen.append(problem._repr_html_()))(QUADRATIC)
    assert "<b>Quadratic</b><ul><li>quadratic" in seen[0]


def test_what_a_terminal_would_obey_is_escaped():
    assert printable("a\nb \x1b[31m\u202e\udcff é τ") == "a\nb \\x1b[31m\\u202e\\udcff é τ"


def test_a_table_keeps_its_columns_and_has_no_html():
    text = page.markdown(page.Table("", ["a|b"], [["<script>\nx < 1"]]))
    assert text.splitlines()[0].count("|") - text.splitlines()[0].count("\\|") == 2
    assert len(text.splitlines()) == 3
    assert "&lt;script> x < 1" in text
