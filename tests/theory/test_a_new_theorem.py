"""A theorem that only this file knows, once registered, is in studies, verdicts, figures and the report."""

import dataclasses
import json

import numpy as np
import pytest

import asyncopt
from asyncopt import InputError, analysis, theory
from asyncopt.analysis.claims import verdicts
from asyncopt.analysis.verdict import at_most
from asyncopt.report import theorems
from asyncopt.theory import Bound, Theorem
from asyncopt.theory.claims import BoundsHold, Claim, Rate
from asyncopt.theory.theorem import known
from tests.analysis import synthetic


@dataclasses.dataclass(frozen=True)
class Improves(Claim):
    """The longest runs are better than the shortest by this factor."""

    factor: float


@verdicts.register
def _improves(claim: Improves, measures):
    first, last = (measures.study.where("0")[i] for i in (0, -1))
    measured = measures.estimate(measures.means[:, last] / measures.means[:, first])
    outcome, rule = at_most(measured, 1 / claim.factor)
    stricter = f"better by {4 * claim.factor:g}"
    noticed = (stricter,) if at_most(measured, 1 / (4 * claim.factor))[0] != outcome else ()
    return [analysis.Verdict("longer runs are better", f"< 1/{claim.factor:g}", measured, 2, outcome, rule, noticed)]


def steepness(square_norm, run):
    """Bounds F(x_K) - F* ≤ ⟨∇F(x_K), x_K - x*⟩ ≤ ‖∇F(x_K)‖ √n D, for any method: by convexity and Cauchy-Schwarz."""
    facts = run.take("summary.problem", "dimension", "diameter")
    leading = np.sqrt(square_norm * facts["dimension"]) * facts["diameter"]
    return Bound(leading, np.zeros_like(leading), np.zeros_like(leading))


LAST_GAP = Theorem(
    name="steepness",
    title="the last gap of any method on a convex problem in a box",
    quantity="gap",
    concerns=lambda run: bool(run.facts["summary.problem.convex"]),
    hypotheses=(known("summary.problem.diameter", "X is not a bounded box"),),
    columns=("grad_norm_sq",),
    a_priori=lambda run: steepness(
        np.prod([*run.take("summary.problem", "dimension", "gradient_bound").values()]), run
    ),
    a_posteriori=lambda run: steepness(run.columns["grad_norm_sq"][:, -1], run),
    claims=(BoundsHold(), Rate(exponent=-1.0, up_to=0.125), Improves(factor=50.0)),
)


@pytest.fixture
def registered():
    theory.register(LAST_GAP)
    yield
    theory.unregister(LAST_GAP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    synthetic.write(path, lambda tau, k: 1 / k, rules=(0, "K**0.25"), optimizer="anything")
    return path


def test_without_it_no_theorem_is_about_the_last_gap(folder):
    (study,) = analysis.studies(asyncopt.load_runs(folder), "gap")
    assert study.theorem is None
    assert study.outside == "no theorem is about the gap here"


def test_a_registered_theorem_is_in_studies_verdicts_figures_and_report(folder, tmp_path, registered):
    (study,) = analysis.studies(asyncopt.load_runs(folder), "gap")
    assert (study.theorem, study.outside) == (LAST_GAP, "")
    np.testing.assert_allclose(study.cells["a_posteriori"], np.sqrt(2 * study.values * 3).mean(axis=0) * 2)
    theorems.report(folder, tmp_path, quantity="gap")
    (facts,) = json.loads((tmp_path / "verdicts.json").read_text())["studies"]
    assert facts["theorem"] == "steepness"
    outcomes = {verdict["claim"]: verdict["outcome"] for verdict in facts["verdicts"]}
    assert outcomes == {
        "measured mean ≤ a-posteriori bound": "not tested",  # some 100 times as large
        "a-posteriori bound ≤ a-priori bound": "not tested",
        "falls as 1/K or faster at τ = 0": "consistent",
        "falls as 1/K or faster at τ = K^1/4": "inconclusive",  # beyond K^1/8
        "longer runs are better": "confirmed",
    }
    assert all(claim in (tmp_path / "verdicts.md").read_text() for claim in outcomes)
    assert {"rate.png", "bounds.png"} <= {path.name for path in tmp_path.iterdir()}


def test_the_default_quantity_is_still_that_of_the_first_theorem(folder, registered):
    (study,) = analysis.studies(asyncopt.load_runs(folder))
    assert (study.quantity, study.theorem.name) == ("average_gap", "convex")
    assert study.outside == "the method is anything"


def test_of_several_theorems_the_first_that_holds_is_taken(folder):
    rival = dataclasses.replace(LAST_GAP, quantity="average_gap")
    theory.register(rival)
    try:
        (study,) = analysis.studies(asyncopt.load_runs(folder))
        assert (study.theorem, study.outside) == (rival, "")
        with pytest.raises(InputError, match="there is a theorem named 'steepness', expected another name"):
            theory.register(LAST_GAP)
    finally:
        theory.unregister(rival)


def test_only_theorems_are_registered():
    for wrong in ("steepness", Theorem, None):
        with pytest.raises(TypeError, match=r"expected an asyncopt\.theory\.Theorem"):
            theory.register(wrong)
    assert list(theory.THEOREMS) == ["convex", "nonconvex"]


def test_only_the_theorem_that_is_registered_is_removed(registered):
    namesake = dataclasses.replace(LAST_GAP, title="another")
    with pytest.raises(InputError, match="the theorem 'steepness' is not registered"):
        theory.unregister(namesake)
    assert theory.THEOREMS["steepness"] is LAST_GAP
    with pytest.raises(InputError, match="the theorem 'unheard of' is not registered"):
        theory.unregister(dataclasses.replace(LAST_GAP, name="unheard of"))
