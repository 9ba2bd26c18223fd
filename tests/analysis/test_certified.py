"""Certificates: judged run by run, without statistics, and drawn with the lines of the proof."""

import dataclasses

import numpy as np
import pytest

from asyncopt.analysis import CONFIRMED, INCONCLUSIVE, NOT_TESTED, VIOLATED, judge
from asyncopt.analysis.measures import Measures
from asyncopt.report import proof_figures
from asyncopt.theory import Certificate, Step
from tests.analysis import synthetic

RULES, LENGTHS = (0, "K**0.25"), (1000, 10_000)


def study(left=0.9, right=1.0, broken=(), diverged=()):
    """A study of 3 seeds whose runs all have one certificate; ``broken`` has (cell, seed, update)."""
    made = synthetic.study(lambda tau, k: k**-0.5, np.random.default_rng(0), rules=RULES, lengths=LENGTHS, seeds=3)
    cells = []
    for cell in range(len(made.cells)):
        broken_at = np.full(3, -1.0)
        for where, seed, update in broken:
            if where == cell:
                broken_at[seed] = update
        for where, seed in diverged:
            if where == cell:
                broken_at[seed] = np.inf
        certificate = Certificate(
            "regret", "the regret is at most (1a)", np.full(3, left), np.full(3, right), broken_at
        )
        cells.append((certificate,))
    lines = (Step("measured", "", np.array([1.0, 2.0, 3.0])), Step("a priori", "G", np.array([10.0, 20.0, 30.0])))
    return dataclasses.replace(made, certificates=tuple(cells), proofs=(lines,) * len(cells))


def judged(made):
    return next(v for v in judge(Measures(made)) if v.claim.startswith("certificate"))


def test_it_is_confirmed_if_half_of_the_bound_would_have_been_broken():
    verdict = judged(study())
    assert (verdict.outcome, verdict.noticed) == (CONFIRMED, ("bound halved",))
    assert verdict.measured.value == pytest.approx(0.9)
    assert verdict.runs == 12


def test_a_loose_certificate_is_not_tested():
    assert judged(study(left=0.4)).outcome == NOT_TESTED


def test_a_broken_one_names_the_cell_and_the_first_update():
    verdict = judged(study(broken=[(3, 1, 70), (3, 2, 17)]))
    assert verdict.outcome == VIOLATED
    assert verdict.rule == "broken in 2 runs; at τ = K^1/4, K = 10,000 first at update 17"


def test_a_run_that_diverged_is_not_judged():
    assert judged(study(diverged=[(0, 0)])).runs == 11
    everything = [(cell, seed) for cell in range(4) for seed in range(3)]
    assert judged(study(diverged=everything)).outcome == INCONCLUSIVE


def test_without_certificates_nothing_is_claimed():
    made = dataclasses.replace(study(), certificates=())
    assert not [v for v in judge(Measures(made)) if v.claim.startswith("certificate")]
    assert proof_figures.proof(Measures(dataclasses.replace(made, proofs=((),) * 4))) is None


def test_the_lines_of_the_proof_are_drawn_in_order_with_their_factors():
    figure = proof_figures.proof(Measures(study()))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["measured", "a priori"]
    assert [text.get_text() for text in axes.texts] == ["×10  G"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["τ = 0", "$\\tau = K^{1/4}$"]


def test_seeds_with_equal_values_can_be_drawn():
    """The mean of seven times 1.1 is rounded to below 1.1."""
    equal = (Step("measured", "", np.full(7, 1.1)), Step("a priori", "G", np.full(7, 2.0)))
    assert proof_figures.proof(Measures(dataclasses.replace(study(), proofs=(equal,) * 4))) is not None


def test_without_a_seed_that_did_not_diverge_there_is_nothing_to_draw():
    diverged = (Step("measured", "", np.full(3, np.inf)), Step("a priori", "G", np.full(3, np.inf)))
    assert proof_figures.proof(Measures(dataclasses.replace(study(), proofs=(diverged,) * 4))) is None


def test_a_break_before_a_divergence_counts():
    made = study()
    (broken, *_), *rest = made.certificates
    after = dataclasses.replace(broken, broken_at=np.array([7.0, -1.0, -1.0]), right=np.array([np.inf, 2.0, 2.0]))
    verdict = judged(dataclasses.replace(made, certificates=((after,), *rest)))
    assert verdict.outcome == VIOLATED
    assert "first at update 7" in verdict.rule


def with_certificates(*of_cells):
    return dataclasses.replace(study(), certificates=of_cells)


def certificate(name="regret", left=(0.9, 0.9, 0.9), right=(1.0, 1.0, 1.0), broken_at=(-1.0, -1.0, -1.0)):
    return Certificate(name, f"words of {name}", np.array(left), np.array(right), np.array(broken_at))


def test_a_break_at_the_very_first_update_counts():
    first, last = (certificate(broken_at=(-1.0, update, -1.0)) for update in (0.0, 5.0))
    made = with_certificates((first,), (certificate(),), (certificate(),), (last,))
    assert judged(made).rule == "broken in 2 runs; at τ = 0, K = 1,000 first at update 0"


def test_how_many_runs_met_it_is_said():
    assert judged(study()).rule == "after every update of all runs"
    infinite = (certificate(left=(np.inf, 0.9, 0.9)),), (certificate(right=(1.0, np.inf, 1.0)),)
    made = judged(with_certificates(*infinite, *[(certificate(),)] * 2))
    assert (made.runs, made.rule) == (10, "after every update of the 10 of 12 runs that did not diverge")
    assert made.measured.value == pytest.approx(0.9)
    everything = judged(with_certificates(*[(certificate(broken_at=(np.inf,) * 3),)] * 4))
    assert (everything.outcome, everything.rule) == (INCONCLUSIVE, "all runs diverged")
    assert everything.measured.value == 0


@pytest.mark.parametrize(("largest", "outcome"), [(0.5, NOT_TESTED), (0.51, CONFIRMED)])
def test_half_of_the_larger_side_is_noticed_from_its_half_on(largest, outcome):
    """In one run of one cell; a side of 0 has no ratio."""
    cells = [
        (certificate(left=(0.1, 0.0, 2 * largest), right=(1.0, 0.0, 2.0)),),
        *[(certificate(left=(0.2,) * 3),)] * 3,
    ]
    made = judged(with_certificates(*cells))
    assert (made.outcome, made.measured.value) == (outcome, largest)


def test_only_certificates_of_all_cells_are_judged():
    both = certificate("b"), certificate("a")
    made = with_certificates(both, both[::-1], (certificate("a"), certificate("b"), certificate("c")), (both[1],))
    found = [v.claim for v in judge(Measures(made)) if v.claim.startswith("certificate")]
    assert found == ["certificate of every run (a): words of a"]
    in_the_first_order = Measures(with_certificates(both, both[::-1], both, both))
    found = [v.claim for v in judge(in_the_first_order) if v.claim.startswith("certificate")]
    assert found == [f"certificate of every run ({name}): words of {name}" for name in "ba"]
