"""The theorems' rates: the measured means against K along staleness rules, and the bounds beside them."""

import pathlib

import pandas as pd

import asyncopt
from asyncopt.analysis import Measures, studies
from asyncopt.analysis.rates import last_decade
from asyncopt.drawing import words
from asyncopt.report import study_figures
from figures.drawn import WIDTH, Drawn

_CAPTION = """\
**The {theorem} theorem.** {name}; {seeds} seeds, means and 95 % intervals; K from {shortest} to {longest}.
Slopes over the last decade of K: {slopes}. The
bounds fall as K^-1/2 where τ is at most K^1/4, and promise nothing beyond. The mean is at most {tight} times
the a-posteriori bound, made from the gradients and steps of the runs. It is at most {loose} times the
a-priori bound, made from constants alone.

*The paper* ({source}) proves the rate and reports no measurement of it. The constants are those of docs/theory.md.
`python -m asyncopt.report` returns every claim with its verdict from the same runs.
"""
_RULES, _KINDS = ("0", "K^1/4", "K^1/2"), ("a_posteriori", "a_priori")


def draw(folder: pathlib.Path) -> Drawn:
    """Returns the report's means beside both bounds, for three rules and at this gallery's size."""
    study = studies(asyncopt.load_runs(folder))[0]
    measures = Measures(study)
    assert study.theorem is not None, "the sweeps are about theorems"
    rules = [rule for rule in study.rules if rule in _RULES] or study.rules
    rows = []
    for rule in rules:
        for cell in study.where(rule):
            facts, estimate = study.cells.iloc[cell], measures.estimate(measures.means[:, cell])
            rows.append({"rule": rule, **facts[["num_updates"]], **estimate._asdict(), **facts[list(_KINDS)]})
    data = pd.DataFrame(rows)
    figure = study_figures.rate(measures, rules, (WIDTH, 4.2))
    last = {rule: study.where(rule)[last_decade(measures.num_updates(study.where(rule)))] for rule in rules}
    slopes = {rule: measures.estimate(measures.slopes(rule, cells)) for rule, cells in last.items()}
    tight, loose = ((data["value"] / data[kind]).max() for kind in _KINDS)
    theorem, k = study.theorem.name.replace("nonconvex", "non-convex"), data["num_updates"]
    texts = {"theorem": theorem, "name": study.name, "seeds": len(study.seeds), "tight": f"{tight:.2g}"}
    texts |= {"loose": f"{loose:.1e}", "shortest": f"{k.min():,}", "longest": f"{k.max():,}"}
    stated = (f"{words.with_interval(slope, '.3f')} at τ = {rule}" for rule, slope in slopes.items())
    texts |= {"slopes": "; ".join(stated)}
    return Drawn(figure, _CAPTION, data, texts)
