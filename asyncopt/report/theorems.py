"""``asyncopt report FOLDER``: verdicts on the theorems and figures, from run folders alone."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from asyncopt.analysis import Measures, Study, judge, studies
from asyncopt.analysis.studies import QUANTITIES
from asyncopt.drawing import words
from asyncopt.files import records
from asyncopt.report import commands, proof_figures, study_figures
from asyncopt.report.commands import Arguments, Printed

_TITLE = "What theory says of staleness, and what was measured"
_FILES = commands.Files("verdicts.md", "cells.csv", "report.html", "verdicts.json", "studies", _TITLE)


def report(folder: pathlib.Path, output: pathlib.Path, quantity: str | None = None, min_updates: int = 0) -> Printed:
    """Judges all runs below a folder, and writes tables, figures and a page with both.

    Args:
      folder: the folder with the runs.
      output: folder for ``verdicts.md``, ``verdicts.json``, ``report.html``, and for each study ``cells.csv`` (the data
        behind the figures) and the figures, numbered if there are several studies.
      quantity: what to measure, a key of `asyncopt.analysis.studies.QUANTITIES`; default: what the theorem bounds.
      min_updates: runs with fewer updates are left out.

    Returns what `commands.report` returns, and raises the same errors.
    """
    return commands.report(_FILES, output, lambda: studies(records.load_runs(folder), quantity, min_updates), _section)


def _section(study: Study) -> commands.Section:
    measures = Measures(study)
    lengths, diverged = sorted(map(int, study.cells["num_updates"].unique())), int(study.cells["diverged"].sum())
    number = len(study.cells)
    line = f"{_plain(QUANTITIES[study.quantity])}; {number} {'cell' if number == 1 else 'cells'} of "
    line += f"{words.seeds(len(study.seeds))}; {_lengths(lengths)}; staleness {', '.join(study.rules)}"
    line += f"; {diverged} runs diverged." if diverged else "."
    if study.has_larger_steps:
        line += " Theory claims nothing of these runs: several gradients make a step, and K counts gradients."
    elif len(lengths) == 1:
        line += " One K says nothing of how anything grows or falls with K."
    judged = judge(measures)
    corrected = sum(not math.isnan(verdict.p_value) for verdict in judged)
    line += f" Holm's correction is for {corrected} claims." if corrected > 1 else ""
    theorem = None if study.theorem is None else study.theorem.name
    facts = {"quantity": study.quantity, "theorem": theorem, "outside_the_theorem_because": study.outside or None}
    facts |= {"seeds": len(study.seeds), "num_updates": lengths, "rules": study.rules, "corrected_for": corrected}
    figures = study_figures.all_figures(measures)
    if (proof := proof_figures.proof(measures)) is not None:
        figures["proof"] = proof, proof_figures.CAPTION
    return commands.Section(study.name, line, [], cells_table(measures), figures, judged, json=facts)


def cells_table(measures: Measures) -> pd.DataFrame:
    """Returns a row for each cell: its settings, its mean with an interval, its bounds, excess and inflation."""
    study, (inflation, side) = measures.study, measures.inflation
    columns: dict[str, Any] = {}
    for name, values in (("mean", measures.means), ("inflation", inflation)):
        estimates = [measures.estimate(values[:, cell]) for cell in range(len(study.cells))]
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), zip(*estimates, strict=True), strict=True))
    columns |= {"inflation_is_lower_limit": side[0] != 0, "mean_is_lower_limit": study.censored}
    columns |= {"excess": measures.excess[0], "excess_standard_error": measures.excess[1]}
    return study.cells.drop(columns="run").assign(**columns)


def _lengths(lengths: Sequence[int]) -> str:
    return f"K = {lengths[0]:,}" if len(lengths) == 1 else f"K from {lengths[0]:,} to {lengths[-1]:,}"


def _plain(text: str) -> str:
    """Returns a label's mathematics as plain text."""
    for tex, plain in ((r"\bar x", "x̄"), (r"\|", "‖"), (r"\nabla", "∇"), ("^2", "²"), ("F^*", "F*"), ("$", "")):
        text = text.replace(tex, plain)
    return text


def main(arguments: Arguments = None) -> int:
    """Parses the command line, reports, and returns the exit status."""
    options = {
        "--quantity": {"choices": QUANTITIES, "help": "what to measure (default: what the theorem bounds)"},
        "--min-updates": {"type": int, "default": 0, "metavar": "K", "help": "leave out shorter runs"},
    }
    return commands.main("asyncopt report", report, __doc__, options, arguments)
