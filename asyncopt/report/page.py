"""Verdicts, tables and pages as Markdown, HTML and JSON, for reports."""

import base64
import html
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED, Verdict

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-size: 0.9rem; } td, th { padding: 0.3rem 0.6rem; text-align: left;
border-bottom: 1px solid #ddd; } .confirmed { color: #00604a; font-weight: 600; } .violated { color: #a33c00;
font-weight: 700; } .inconclusive { color: #555; font-style: italic; } figure { margin: 2rem 0; } img { max-width: 100%;
} figcaption { color: #555; font-size: 0.9rem; }
"""
_OUTCOMES = (CONFIRMED, VIOLATED, INCONCLUSIVE)
HEADER = ("claim", "predicted", "measured", "95 % interval", "runs", "verdict", "decided by")


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Returns the verdicts as a Markdown table with aligned columns."""
    return markdown_table(HEADER, [row(verdict) for verdict in verdicts])


def row(verdict: Verdict) -> tuple[str, ...]:
    """Returns the cells of a verdict, as `HEADER` names them."""
    value, low, high = (number(x) for x in verdict.measured)
    interval = f"[{low}, {high}]" if low != "-" else "-"
    return (verdict.claim, verdict.predicted, value, interval, str(verdict.runs), verdict.outcome, verdict.rule)


def number(value: float) -> str:
    """Returns three significant digits; rounding's own noise is zero."""
    if math.isnan(value):
        return "-"
    return f"{0.0 if abs(value) < 1e-12 else value:.3g}"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Returns a verdict as JSON can hold it: no number is null, an infinite one is text."""

    def plain(value: float) -> float | str | None:
        return None if math.isnan(value) else str(value) if math.isinf(value) else value

    return {
        "claim": verdict.claim,
        "predicted": verdict.predicted,
        "measured": plain(verdict.measured.value),
        "low": plain(verdict.measured.low),
        "high": plain(verdict.measured.high),
        "runs": verdict.runs,
        "outcome": verdict.outcome,
        "rule": verdict.rule,
    }


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table with aligned columns."""
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in table
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table; a cell that is an outcome has its colour."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = ""
    for row in rows:
        cells = (html.escape(cell) for cell in row)
        marked = (f'<td class="{c}">{c}</td>' if c in _OUTCOMES else f"<td>{c}</td>" for c in cells)
        body += f"<tr>{''.join(marked)}</tr>\n"
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>\n"


def html_section(title: str, facts: str, tables: Sequence[str], pictures: Mapping[pathlib.Path, str]) -> str:
    """Returns a heading, a line of facts, tables, and pictures with their captions."""
    shown = ""
    for path, caption in pictures.items():
        data = base64.b64encode(path.read_bytes()).decode()
        shown += f'<figure><img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'
        shown += f"<figcaption>{html.escape(caption)}</figcaption></figure>\n"
    return f"<h2>{html.escape(title)}</h2>\n<p>{html.escape(facts)}</p>\n{''.join(tables)}{shown}"


def html_page(title: str, sections: Sequence[str], left_out: Sequence[str]) -> str:
    """Returns a whole page, with what was left out at its end."""
    notes = "".join(f"<li>{html.escape(line)}</li>" for line in left_out)
    notes = f"<h2>Left out</h2><ul>{notes}</ul>" if notes else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>asyncopt: verdicts</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1>\n"
        f"{''.join(sections)}{notes}</body></html>\n"
    )
