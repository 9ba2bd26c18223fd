"""Runs as cells of studies: what is refused, what is measured, and how cells are sorted, from tables made by hand."""

import types

import numpy as np
import pandas as pd
import pytest

import asyncopt
from asyncopt import InputError, theory
from asyncopt.analysis import cells, studies
from asyncopt.analysis.studies import _without_repetitions, at
from asyncopt.theory import Bound, Evidence
from tests.analysis import synthetic


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Of 16 and 256 updates: runs 0 and 1 without delay, 2 and 3 with delays of K^1/2, 4 and 5 of 2 K^1/4."""
    folder = tmp_path_factory.mktemp("table")
    rules = (0, "K**0.5", "2*K**0.25")
    synthetic.write(folder, lambda tau, k: k**-0.5, rules=rules, lengths=(16, 256), seeds=3)
    return asyncopt.load_runs(folder)


def of(table, *names):
    return table[table["run"].isin(names)]


def test_a_run_that_is_not_whole_is_refused_with_the_reason(table):
    one = of(table, "1")
    assert cells.refusal(one) == ""
    odd = "metrics.parquet does not have the same steps for every seed"
    assert cells.refusal(one.iloc[:-1]) == odd
    assert cells.refusal(one.assign(step=[0, 256, 0, 256, 0, 255])) == odd
    for steps, said in (((0, 255), "0 to 255"), ((1, 256), "1 to 256")):
        covers = f"metrics.parquet covers updates {said}, expected 0 to 256"
        assert cells.refusal(one.assign(step=list(steps) * 3)) == covers
    thrice = pd.concat([one, one.iloc[:3]]).assign(seed=np.repeat([0, 1, 2], 3), step=[0, 100, 255] * 3)
    assert cells.refusal(thrice) == "metrics.parquet covers updates 0 to 255, expected 0 to 256"
    assert cells.refusal(one.drop(columns="drift")) == "metrics.parquet has no drift"
    assert cells.refusal(one.drop(columns="summary.labels.trace")) == "summary.json has no labels.trace"


def test_evidence_has_the_numbers_of_every_seed_and_all_facts(table):
    found = cells.evidence(of(table, "1").assign(words="a", flag=True))
    assert found.columns["step"].tolist() == [[0, 256]] * 3
    assert {"average_gap", "objective", "seed"} < set(found.columns)
    assert not {"words", "flag", "run", "trace.delay"} & set(found.columns)
    assert (found.facts["trace.delay"], found.facts["words"]) == (0, "a")


FACTS = {
    "run": "a run", "summary.staleness.label": "K^1/2", "summary.staleness.exponent": "0.5",
    "summary.staleness.factor": 1, "summary.trace.mean_square_delay": 9.0, "summary.trace.max_delay": 4,
    "summary.trace.mean_delay": 2.5,
}  # fmt: skip


def one_run(**columns):
    """Two seeds, evaluated at the start, after 2 of 10 updates and at the end."""
    known = {"seed": [[7] * 3, [8] * 3], "step": [[0, 2, 10]] * 2, "gap": [[8, 4, 2], [9, 5, 3]]}
    return Evidence(FACTS, {name: np.array(values, float) for name, values in (known | columns).items()})


def test_the_row_of_a_cell():
    row = cells.cell(one_run(time=[[0.0, 1.0, 4.0], [0.0, 1.0, 4.0]]), "gap", None)
    measured, bounds = row.pop("measured"), row.pop("bounds")
    assert measured.to_dict() == {7: 2, 8: 3}
    assert (list(bounds.index), bounds.shape) == ([7, 8], (2, 0))
    assert row == {
        "rule": "K^1/2", "exponent": 0.5, "factor": 1.0, "num_updates": 10, "delay": 3.0, "max_delay": 4,
        "mean_delay": 2.5, "num_workers": None, "throughput": 2.5, "run": "a run", "start": 9.0, "proof": (),
        "certificates": (),
    }  # fmt: skip
    # The sum over 0 to 9 along straight lines, over 10: 8 + 6, then 4 less 1/4 each time.
    mean = cells.cell(one_run(), "mean_gap", None)
    assert mean["measured"][7] == pytest.approx((8 + 6 + sum(4 - n / 4 for n in range(8))) / 10)
    assert np.isnan(mean["throughput"])


def test_the_bounds_of_a_cell_are_means_over_its_seeds():
    parts = [Bound(np.array([1.0, 3.0]), np.array([2.0, 2.0]), np.array(4.0)), Bound(*map(np.array, (10.0, 20.0, 3.0)))]
    theorem = types.SimpleNamespace(
        bound_a_priori=lambda run: parts[1], a_posteriori=lambda run: parts[0],
        steps=lambda run: ("a line",), certificates=lambda run: ("a certificate",),
    )  # fmt: skip
    row = cells.cell(one_run(), "gap", theorem)
    assert [row[f"a_priori{part}"] for part in ("", "_leading", "_lower_order", "_delay")] == [33, 10, 20, 3]
    assert [row[f"a_posteriori{part}"] for part in ("", "_leading", "_lower_order", "_delay")] == [8, 2, 2, 4]
    assert row["bounds"].loc[8].to_dict() == {"leading": 3, "lower_order": 2, "delay": 4}
    assert (row["proof"], row["certificates"]) == (("a line",), ("a certificate",))


def test_cells_are_sorted_by_exponent_factor_and_length(table):
    more = of(table, "4", "5").assign(
        run="more", **{"summary.staleness.factor": 1.0, "summary.staleness.label": "K^1/4"}
    )
    more["run"] += more["trace.num_updates"].astype(str)
    (study,) = studies(pd.concat([more, table]))
    assert study.rules == ["0", "K^1/4", "2 K^1/4", "K^1/2"]
    assert list(study.cells["num_updates"]) == [16, 256] * 4
    assert [study.exponent(rule) for rule in study.rules] == [0, 0.25, 0.25, 0.5]
    assert [study.where(rule).tolist() for rule in ("0", "K^1/2", None)] == [[0, 1], [6, 7], []]
    assert (study.attains_rate, study.has_larger_steps) == (False, False)


def test_a_problem_that_does_not_say_so_attains_no_rate(table):
    name = "summary.problem.attains_rate"
    for changed, attains in ((table.drop(columns=name), False), (table.assign(**{name: True}), True)):
        (study,) = studies(changed)
        assert study.attains_rate is attains


def test_the_rule_without_delay_is_the_one_whose_largest_delay_is_0_at_every_length(table):
    (study,) = studies(table)
    assert study.reference == "0"
    rounded = table.assign(**{"summary.trace.max_delay": np.where(table["run"].isin(["0", "2", "4"]), 0, 1)})
    assert studies(rounded)[0].reference is None


def test_runs_are_long_enough_from_the_least_number_of_updates_on(table):
    (study,) = studies(table, min_updates=256)
    assert list(study.cells["num_updates"]) == [256] * 3
    assert [study.exponent(rule) for rule in study.rules] == [0, 0.25, 0.5]
    with pytest.raises(InputError, match=r"no run that a study can be made of from 257 updates$"):
        studies(table, min_updates=257)
    with (
        pytest.warns(UserWarning, match="left out: 1: metrics.parquet has no drift"),
        pytest.raises(InputError, match=r"no run that a study can be made of$"),
    ):
        studies(of(table, "1").drop(columns="drift"))


def test_seeds_that_not_all_cells_have_are_counted(table):
    """Cells of 2, 2 and 3 seeds share one: 1 + 1 + 2 runs are left out."""
    lacking = {"0": (0, 1), "1": (1, 2), "2": (0, 1, 2)}
    some = pd.concat([of(table, run)[lambda rows, kept=kept: rows["seed"].isin(kept)] for run, kept in lacking.items()])
    with pytest.warns(UserWarning, match="constant delays: 4 runs left out, of seeds that not all cells have"):
        (study,) = studies(some)
    assert study.seeds == (1,)
    assert study.values.shape == (1, 3)


def test_diverged_seeds_are_counted_and_the_limit_is_the_largest_finite_value(table):
    """At the start each gap is 1; where it starts at 7, that is the largest."""
    last = (table["run"] == "3") & (table["step"] == 256)
    gaps = np.where(last & (table["seed"] > 0), np.inf, table["average_gap"])
    (study,) = studies(table.assign(average_gap=gaps))
    assert study.cells["diverged"].tolist() == [0, 0, 0, 0, 0, 2]
    assert study.censored.tolist() == [False] * 5 + [True]
    assert study.limit == 1.0
    assert study.finite[:, 5].tolist() == [study.values[0, 5], 1.0, 1.0]
    (study,) = studies(table.assign(average_gap=np.where(table["step"] == 0, 7.0, gaps)))
    assert study.limit == 7.0
    (study,) = studies(table.assign(average_gap=np.where(last, 9.0, gaps)))
    assert study.limit == 9.0


def test_a_cell_that_is_there_twice_counts_once(table):
    """With the same results without a word."""
    copy = of(table, "3").assign(run="copy")
    (study,) = studies(pd.concat([table, copy]))
    assert len(study.cells) == 6
    changed = copy.assign(average_gap=2 * copy["average_gap"])
    said = "left out: copy: another run of τ = K\\^1/2 at K = 256 than 3, and with other results"
    with pytest.warns(UserWarning, match=said):
        (study,) = studies(pd.concat([table, changed]))
    assert set(study.cells["run"]) == set(table["run"])


def test_the_same_run_twice_is_no_contradiction():
    row = {"rule": "0", "num_updates": 100, "run": "1", "measured": pd.Series([1.0, 2.0])}
    again, other = row | {"run": "2"}, row | {"run": "3", "measured": pd.Series([1.0, 2.5])}
    assert _without_repetitions([row, again]) == [row]
    with pytest.warns(UserWarning, match="left out: 3: another run of τ = 0 at K = 100 than 1, and with other results"):
        assert _without_repetitions([row, again, other]) == [row]


def test_labels_of_rules_in_sentences():
    labels = ["0", "K^1/4", "2 K^1/4", "max_delay = 8"]
    assert [at(label) for label in labels] == ["τ = 0", "τ = K^1/4", "τ = 2 K^1/4", "max_delay = 8"]


def test_of_several_theorems_the_one_that_applies_is_taken(table, monkeypatch):
    def theorem(outside):
        about = {
            "is_about": lambda quantity, run: quantity == "gap",
            "outside": lambda runs: outside,
            "claims": outside,
        }
        nothing = dict.fromkeys(("bound_a_priori", "a_posteriori"), lambda run: Bound(*map(np.array, (1.0, 0.0, 0.0))))
        return types.SimpleNamespace(**about, **nothing, steps=lambda run: (), certificates=lambda run: ())

    for reasons, chosen in ((("not met", ""), 1), (("", ""), 0), (("not met", "neither"), 0)):
        theorems = [theorem(reason) for reason in reasons]
        monkeypatch.setattr(theory, "THEOREMS", dict(enumerate(theorems)))
        (study,) = studies(of(table, "0", "1"), "gap")
        assert (study.theorem, study.outside, study.claims) == (theorems[chosen], reasons[chosen], reasons[chosen])
    (study,) = studies(of(table, "0", "1"), "average_gap")
    assert (study.theorem, study.claims) == (None, theory.apam.CLAIMS)
