"""Verdicts, tables, sections and pages in Markdown, HTML and JSON."""

import base64
import html
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from asyncopt.analysis.verdict import NOT_CLAIMED, NOT_COMPARABLE, OUTCOMES, Verdict

# The colours of outcomes are those of Okabe and Ito, darkened for text. Each outcome has its own sign, too.
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-size: 0.9rem; } td, th { padding: 0.3rem 0.6rem; text-align: left;
border-bottom: 1px solid #ddd; }
.confirmed { color: #00604a; font-weight: 600; } .confirmed::before { content: "✓ "; }
.consistent { color: #005a8c; font-weight: 600; } .consistent::before { content: "≈ "; }
.violated { color: #a33c00; font-weight: 700; } .violated::before { content: "✗ "; }
.inconclusive { color: #555; font-style: italic; } .inconclusive::before { content: "? "; }
.not-tested { color: #7a4a6b; font-style: italic; } .not-tested::before { content: "○ "; }
.not-comparable { color: #7a4a6b; font-style: italic; } .not-comparable::before { content: "⊘ "; }
.not-claimed { color: #555; } .not-claimed::before { content: "– "; }
figure { margin: 2rem 0; } img { max-width: 100%; background: #fff; } figcaption { color: #555; font-size: 0.9rem; }
.wide { overflow-x: auto; } .wide table { min-width: 60rem; } td[class] { white-space: nowrap; }
/* On a phone, each verdict is a card: the outcome first, then the claim, then the rest with its column's name. */
@media (max-width: 40rem) {
.verdicts table { display: block; min-width: 0; } .verdicts thead { display: none; } .verdicts tbody { display: block; }
.verdicts tr { display: flex; flex-direction: column; padding: 0.6rem 0; border-bottom: 1px solid #ddd; }
.verdicts td { padding: 0.1rem 0; border: 0; overflow-wrap: anywhere; } .verdicts td[class] { order: -1; }
.verdicts td:first-child { font-weight: 600; }
.verdicts td[data-column]::before { content: attr(data-column) ": "; color: #666; } }
dt { font-weight: 600; } dd { margin: 0 0 0.5rem 1rem; }
@media (prefers-color-scheme: dark) {
body { background: #181818; color: #ddd; } td, th, .verdicts tr { border-color: #444; }
img { filter: brightness(0.82); } figcaption, .verdicts td[data-column]::before { color: #aaa; } a { color: #8bf; }
.confirmed { color: #4fd1ac; } .consistent { color: #6fc3ff; } .violated { color: #ff9a5c; }
.inconclusive, .not-claimed { color: #aaa; } .not-tested, .not-comparable { color: #d9a3c8; } }
"""
# What the words of a report mean; docs/theory.md has the exact rules.
_GLOSSARY = {
    "confirmed": "The whole interval is on the right side of the limit, and a wrong claim would not have passed.",
    "consistent": "The limit is inside the interval, and what is a little on the wrong side of the limit is outside.",
    "violated": "The whole interval is on the wrong side of the limit.",
    "not tested": "It would be confirmed, but so would every wrong claim that was tried.",
    "inconclusive": "Anything else, and too few data.",
    "not comparable": "The methods had other step sizes, or the best step size is the largest or smallest tried.",
    "not claimed": "Theory says nothing of these runs; the reason stands beside it. They could only contradict it.",
    "tolerance": "How far beyond the limit the interval may reach. For a confirmed claim it is 0, unless the row says "
    "otherwise.",
    "would have noticed": "Wrong claims that do not pass on these runs: the power of the verdict.",
    "K": "The number of updates of a run.",
    "τ": "The staleness: the root mean square of the delays. A delay is the number of updates that a gradient is old.",
    "gap": "F(x) - F*, how far the objective is above its minimum.",
    "a-priori bound": "It is known before the run, from constants of the problem and from the delays.",
    "a-posteriori bound": "It is computed from what each run measured, and is smaller.",
}
_HEADER = (
    "claim", "predicted", "measured", "95 % interval", "runs", "verdict", "tolerance", "decided by",
    "would have noticed",
)  # fmt: skip
_CLASSES = {outcome: outcome.replace(" ", "-") for outcome in (*OUTCOMES, NOT_COMPARABLE, NOT_CLAIMED)}


class Table(NamedTuple):
    """A table of text, with a title or without one ("")."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """Returns one row for each verdict."""
    rows = []
    for verdict in verdicts:
        value, low, high = map(number, verdict.measured)
        measured = (value, "-" if low == "-" else f"[{low}, {high}]")
        rule = verdict.rule if verdict.unclaimed in verdict.rule else f"{verdict.unclaimed}; {verdict.rule}"
        decided = (verdict.shown, verdict.tolerance, rule, "; ".join(verdict.noticed) or "-")
        rows.append((verdict.claim, verdict.predicted, *measured, str(verdict.runs), *decided))
    return Table("", _HEADER, rows)


def number(value: float) -> str:
    """Returns a number with three significant digits. One that rounding alone keeps from zero is shown as zero."""
    return "-" if math.isnan(value) else f"{0.0 if abs(value) < 1e-12 else value:.3g}"


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Returns a verdict for JSON: NaN becomes null, infinity a string."""

    def plain(value: float) -> float | str | None:
        return None if math.isnan(value) else str(value) if math.isinf(value) else value

    measured = dict(zip(("measured", "low", "high"), map(plain, verdict.measured), strict=True))
    decided = {"runs": verdict.runs, "outcome": verdict.outcome, "tolerance": verdict.tolerance, "rule": verdict.rule}
    decided |= {"not_claimed_because": verdict.unclaimed or None}
    power = {"noticed": list(verdict.noticed), "p_value": plain(verdict.p_value)}
    return {"claim": verdict.claim, "predicted": verdict.predicted, **measured, **decided, **power}


def markdown_section(title: str, facts: str, tables: Sequence[Table]) -> str:
    """Returns a heading, a line of facts and tables with aligned columns."""
    return "\n\n".join(filter(None, [f"## {_plain(title)}", _plain(facts), *map(markdown, tables)])) + "\n"


def markdown(table: Table) -> str:
    """Returns a table with aligned columns below its title, if it has one."""
    rows = [[_plain(cell).replace("|", r"\|") for cell in row] for row in (table.header, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return (f"{table.title}\n\n" if table.title else "") + "\n".join(lines)


def _plain(text: str) -> str:
    """Returns a text in one line, in which a viewer of Markdown finds no HTML."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", " ".join(text.split()))


def html_section(title: str, facts: str, tables: Sequence[Table], captions: Mapping[pathlib.Path, str]) -> str:
    """Returns a heading, a line of facts, the tables, and the pictures at the paths with their captions."""
    parts = [f"<h2>{html.escape(title)}</h2>\n<p>{html.escape(facts)}</p>\n"]
    for table in tables:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in table.header)
        body = "".join(f"<tr>{''.join(map(_cell, table.header, row))}</tr>\n" for row in table.rows)
        kind = "wide verdicts" if table.header == _HEADER else "wide"
        parts.append(f"<p>{html.escape(table.title)}</p>" if table.title else "")
        parts.append(f'<div class="{kind}"><table><thead><tr>{head}</tr></thead>\n')
        parts.append(f"<tbody>{body}</tbody></table></div>\n")
    for path, caption in captions.items():
        data = base64.b64encode(path.read_bytes()).decode()
        parts.append(f'<figure><img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">')
        parts.append(f"<figcaption>{html.escape(caption)}</figcaption></figure>\n")
    return "".join(parts)


def _cell(column: str, text: str) -> str:
    """Returns a cell of a table; one with an outcome has its colour and sign, others the name of their column."""
    kind = f' class="{_CLASSES[text]}"' if text in _CLASSES else ""
    if not kind and column != _HEADER[0]:
        kind = f' data-column="{html.escape(column)}"'
    return f"<td{kind}>{html.escape(text)}</td>"


def html_page(title: str, sections: Sequence[str], left_out: Sequence[str]) -> str:
    """Returns a whole page; at its end it lists the runs that were left out."""
    notes = "".join(f"<li>{html.escape(line)}</li>" for line in left_out)
    notes = f"<h2>Left out</h2><ul>{notes}</ul>" if notes else ""
    words = "".join(f"<dt>{name}</dt><dd>{html.escape(meaning)}</dd>\n" for name, meaning in _GLOSSARY.items())
    words = f"<details><summary>What the words mean</summary><dl>{words}</dl></details>\n"
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>asyncopt: verdicts</title><style>{_STYLE}</style>"
    body = f"<h1>{html.escape(title)}</h1>\n{words}{''.join(sections)}{notes}"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'
