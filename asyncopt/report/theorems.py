"""``python -m asyncopt.report FOLDER``: verdicts on the theorems and figures, from run folders alone."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

from asyncopt.analysis import Measures, Study, Verdict, judge, studies
from asyncopt.analysis.studies import QUANTITIES
from asyncopt.files import atomic, records
from asyncopt.report import commands, page, run_figures, study_figures

_CAPTIONS = {
    "rate": "Left: what was measured against the number of updates, for each rule of staleness; points are "
    "set apart a little in K, lines are the fitted power laws. Right: the same beside the bounds.",
    "phase": "How many times the updates a delay costs. Below the pink line it costs at most a tenth more. ≥: not "
    "even half of the shortest run without delay was so bad.",
    "delay_term": "What a delay adds, seed by seed on the same mini-batches.",
    "bounds": "How far the bounds are above what was measured, in every cell.",
    "speedup": "Throughput of the trace's clock divided by the inflation in updates.",
}


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

    Returns:
      The table in Markdown, and what was left out, a line each.

    Raises:
      InputError: if there is nothing to report on.
      OSError: if a file cannot be written.
    """
    found, left_out = commands.with_left_out(lambda: studies(records.load_runs(folder), quantity, min_updates))
    output.mkdir(parents=True, exist_ok=True)
    sections, facts, html_sections = [], [], []
    for number, study in enumerate(found, start=1):
        measures = Measures(study)
        verdicts = judge(measures)
        prefix = f"{number}_" if len(found) > 1 else ""
        table = cells_table(measures)
        atomic.write(output / f"{prefix}cells.csv", lambda path, table=table: table.to_csv(path, index=False))
        pictures = {}
        for name, figure in study_figures.all_figures(measures).items():
            pictures[name] = output / f"{prefix}{name}.png"
            run_figures.save(figure, pictures[name])
        sections.append(f"## {study.name}\n\n{_facts_line(study)}\n\n{page.markdown(verdicts)}\n")
        facts.append(_as_json(study, verdicts))
        table = page.html_table(page.HEADER, [page.row(verdict) for verdict in verdicts])
        captions = {path: _CAPTIONS[name] for name, path in pictures.items()}
        html_sections.append(page.html_section(study.name, _facts_line(study), [table], captions))
    text = "\n".join(sections)
    content = json.dumps({"studies": facts}, indent=2, allow_nan=False) + "\n"
    atomic.write(output / "verdicts.md", lambda path: path.write_text(text))
    atomic.write(output / "verdicts.json", lambda path: path.write_text(content))
    whole = page.html_page("What theory says of staleness, and what was measured", html_sections, left_out)
    atomic.write(output / "report.html", lambda path: path.write_text(whole))
    return text, left_out


def cells_table(measures: Measures) -> pd.DataFrame:
    """Returns one row a cell: what it was, what was measured with its interval, its bounds, excess and inflation."""
    study = measures.study
    columns: dict[str, Any] = {}
    inflation, side = measures.inflation
    for name, values in (("mean", measures.means), ("inflation", inflation)):
        found = [measures.estimate(values[:, cell]) for cell in range(len(study.cells))]
        columns |= {name: [f.value for f in found], f"{name}_low": [f.low for f in found]}
        columns |= {f"{name}_high": [f.high for f in found]}
    columns |= {"inflation_is_lower_limit": side[0] != 0, "mean_is_lower_limit": study.censored}
    columns |= {"excess": measures.excess[0], "excess_standard_error": measures.excess[1]}
    return study.cells.drop(columns="run").assign(**columns)


def _facts_line(study: Study) -> str:
    lengths = sorted(int(k) for k in study.cells["num_updates"].unique())
    cells, diverged = len(study.cells), int(study.cells["diverged"].sum())
    quantity = _plain(QUANTITIES[study.quantity])
    seeds = f"{len(study.seeds)} seeds" if len(study.seeds) > 1 else "1 seed"
    line = f"{quantity}; {cells} cells of {seeds}; K from {lengths[0]:,} to {lengths[-1]:,}; staleness "
    line += ", ".join(study.rules)
    return line + (f"; {diverged} runs diverged" if diverged else "") + "."


def _plain(text: str) -> str:
    """Returns matplotlib's mathematics as plain text."""
    for tex, plain in ((r"\bar x", "x̄"), (r"\|", "‖"), (r"\nabla", "∇"), ("^2", "²"), ("F^*", "F*"), ("$", "")):
        text = text.replace(tex, plain)
    return text


def _as_json(study: Study, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {
        "name": study.name,
        "quantity": study.quantity,
        "theorem": study.theorem,
        "outside_the_theorem_because": study.outside or None,
        "seeds": len(study.seeds),
        "num_updates": sorted(int(k) for k in study.cells["num_updates"].unique()),
        "rules": study.rules,
        "verdicts": [page.as_json(verdict) for verdict in verdicts],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, reports, and returns the exit status."""
    parser = commands.parser("asyncopt.report", __doc__)
    parser.add_argument("--quantity", choices=QUANTITIES, help="what to measure (default: what the theorem bounds)")
    parser.add_argument("--min-updates", type=int, default=0, metavar="K", help="leave out shorter runs")
    options = parser.parse_args(arguments)
    return commands.finish(
        "asyncopt.report", options, lambda output: report(options.folder, output, options.quantity, options.min_updates)
    )
