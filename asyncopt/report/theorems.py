"""``python -m asyncopt.report FOLDER``: verdicts on the theorems and figures, from run folders alone."""

import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from asyncopt.analysis import Measures, Study, judge, studies
from asyncopt.analysis.studies import QUANTITIES
from asyncopt.files import records
from asyncopt.report import commands, study_figures, style

_TITLE = "What theory says of staleness, and what was measured"
_FILES = commands.Files("verdicts.md", "cells.csv", "report.html", "verdicts.json", "studies", _TITLE)


def report(
    folder: pathlib.Path, output: pathlib.Path, quantity: str | None = None, min_updates: int = 0
) -> tuple[str, list[str]]:
    """Judges all runs below a folder, and writes tables, figures and a page with both.

    Args:
      folder: with runs below it.
      output: made if need be. Gets ``verdicts.md``, ``verdicts.json`` and ``report.html``, and for each study
        ``cells.csv`` (the data behind the figures) and the figures, numbered if there are several studies.
      quantity: what to measure, a key of `asyncopt.analysis.studies.QUANTITIES`; default: what the theorem bounds.
      min_updates: leave out shorter runs.

    Returns what `commands.report` returns, and raises the same errors.
    """
    return commands.report(_FILES, output, lambda: studies(records.load_runs(folder), quantity, min_updates), _section)


def _section(study: Study) -> commands.Section:
    measures = Measures(study)
    facts = {
        "quantity": study.quantity,
        "theorem": None if study.theorem is None else study.theorem.name,
        "outside_the_theorem_because": study.outside or None,
        "seeds": len(study.seeds),
        "num_updates": _lengths(study),
        "rules": study.rules,
    }
    return commands.Section(
        title=study.name,
        facts=_facts_line(study),
        tables=[],
        data=cells_table(measures),
        figures=study_figures.all_figures(measures),
        verdicts=judge(measures),
        json=facts,
    )


def cells_table(measures: Measures) -> pd.DataFrame:
    """Returns one row a cell: what it was, what was measured with its interval, its bounds, excess and inflation."""
    study = measures.study
    columns: dict[str, Any] = {}
    inflation, side = measures.inflation
    for name, values in (("mean", measures.means), ("inflation", inflation)):
        estimates = [measures.estimate(values[:, cell]) for cell in range(len(study.cells))]
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), zip(*estimates, strict=True), strict=True))
    columns |= {"inflation_is_lower_limit": side[0] != 0, "mean_is_lower_limit": study.censored}
    columns |= {"excess": measures.excess[0], "excess_standard_error": measures.excess[1]}
    return study.cells.drop(columns="run").assign(**columns)


def _facts_line(study: Study) -> str:
    lengths, diverged = _lengths(study), int(study.cells["diverged"].sum())
    line = f"{_plain(QUANTITIES[study.quantity])}; {len(study.cells)} cells of {style.seeds(len(study.seeds))}; "
    line += f"K from {lengths[0]:,} to {lengths[-1]:,}; staleness {', '.join(study.rules)}"
    return line + (f"; {diverged} runs diverged" if diverged else "") + "."


def _lengths(study: Study) -> list[int]:
    return sorted(int(k) for k in study.cells["num_updates"].unique())


def _plain(text: str) -> str:
    """Returns matplotlib's mathematics as plain text."""
    for tex, plain in ((r"\bar x", "x̄"), (r"\|", "‖"), (r"\nabla", "∇"), ("^2", "²"), ("F^*", "F*"), ("$", "")):
        text = text.replace(tex, plain)
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, reports, and returns the exit status."""
    options = {
        "--quantity": {"choices": QUANTITIES, "help": "what to measure (default: what the theorem bounds)"},
        "--min-updates": {"type": int, "default": 0, "metavar": "K", "help": "leave out shorter runs"},
    }
    return commands.main("asyncopt.report", report, __doc__, options, arguments)
