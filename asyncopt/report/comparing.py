"""``python -m asyncopt.compare FOLDER``: which method is sooner at a common target, from run folders alone."""

import itertools
import json
import math
import pathlib
from collections.abc import Sequence

from asyncopt.analysis.advantages import above_one, advantages, shrinking, throughputs
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.comparison import OURS, PROGRESS, Comparison, comparisons, table
from asyncopt.files import atomic, records
from asyncopt.report import commands, comparison_figures, page, run_figures

_CAPTIONS = {
    "to": "When the mean over seeds first reaches the target, on the simulated clock (top) and in gradients (bottom); "
    "a point is missing where a method does not get there. Each method has the step size that suits it there.",
    "step_sizes": "Where training ends, for every step size; crosses are runs that diverged.",
}
_MARKS = {"confirmed": "✓", "violated": "✗", "inconclusive": "–"}


def compare(folder: pathlib.Path, output: pathlib.Path, progress: float = PROGRESS) -> tuple[str, list[str]]:
    """Compares all methods run below a folder, and writes tables, figures and a page with both.

    Args:
      folder: with runs of ``+sweep=comparison`` or the like below it.
      output: made if need be. Gets ``comparison.md``, ``comparison.json`` and ``comparison.html``, and for each problem
        ``runs.csv`` (the data behind the figures) and the figures, numbered if there are several problems.
      progress: the target lies on this part of the way from the start to the best end of any run, in (0, 1).

    Returns:
      The short tables in Markdown, and what was left out, a line each.

    Raises:
      InputError: if there is nothing to compare, or ``progress`` is out of range.
      OSError: if a file cannot be written.
    """
    found, left_out = commands.with_left_out(lambda: comparisons(records.load_records(folder), progress))
    output.mkdir(parents=True, exist_ok=True)
    short, long, facts, html_sections = [], [], [], []
    for number, comparison in enumerate(found, start=1):
        prefix = f"{number}_" if len(found) > 1 else ""
        verdicts = [*advantages(comparison), *shrinking(comparison), *throughputs(comparison)]
        runs = table(comparison)
        atomic.write(output / f"{prefix}runs.csv", lambda path, runs=runs: runs.to_csv(path, index=False))
        captions = {}
        for name, figure in comparison_figures.all_figures(comparison).items():
            path = output / f"{prefix}{name}.png"
            run_figures.save(figure, path)
            captions[path] = _CAPTIONS[name.rpartition("_")[0]]
        heading = f"## {comparison.name}\n\n{_facts_line(comparison)}\n"
        tables = _tables(comparison)
        shown = "\n\n".join(f"{title}\n\n{page.markdown_table(header, rows)}" for title, header, rows in tables)
        short.append(f"{heading}\n{shown}\n")
        long.append(f"{heading}\n{shown}\n\n{page.markdown(verdicts)}\n")
        facts.append(_as_json(comparison, [page.as_json(verdict) for verdict in verdicts]))
        html_tables = [f"<p>{title}</p>{page.html_table(header, rows)}" for title, header, rows in tables]
        html_tables.append(page.html_table(page.HEADER, [page.row(verdict) for verdict in verdicts]))
        html_sections.append(page.html_section(comparison.name, _facts_line(comparison), html_tables, captions))
    text = "\n".join(long)
    content = json.dumps({"comparisons": facts}, indent=2, allow_nan=False) + "\n"
    atomic.write(output / "comparison.md", lambda path: path.write_text(text))
    atomic.write(output / "comparison.json", lambda path: path.write_text(content))
    whole = page.html_page("Methods on one clock", html_sections, left_out)
    atomic.write(output / "comparison.html", lambda path: path.write_text(whole))
    return "\n".join(short), left_out


def _tables(comparison: Comparison) -> list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Returns title, header and rows of a table for each quantity: how many times as long the rivals take."""
    rivals = [method for method in comparison.methods if method != OURS]
    header = ("gradients take", "workers", f"{OURS}, seconds", *(f"{rival}, times as long" for rival in rivals))
    tables = []
    for quantity in comparison.quantities:
        rows = []
        for clock, p in itertools.product(comparison.clocks, comparison.num_workers):
            ours = comparison.estimate(comparison.reach(OURS, clock, p, quantity, "time"))
            ratios = [comparison.estimate(comparison.advantage(rival, clock, p, quantity)) for rival in rivals]
            rows.append((clock, str(p), _interval(ours), *map(_marked, ratios)))
        title = f"Simulated time to a {_names(quantity)} of {comparison.target(quantity):.3g}:"
        tables.append((title, header, rows))
    return tables


def _names(quantity: str) -> str:
    return {"loss": "training loss", "error": "held-out error"}.get(quantity, quantity)


def _interval(found: Estimate) -> str:
    if math.isnan(found.value):
        return "-"
    if math.isinf(found.value):
        return "never"
    value, low, high = (page.number(x) for x in found)
    return value if low == "-" else f"{value} [{low}, {high}]"


def _marked(ratio: Estimate) -> str:
    """Returns a ratio with its interval and what it says of "sooner than the rival"."""
    outcome, rule = above_one(ratio)
    if math.isnan(ratio.value):
        return f"– ({rule})"
    value = "∞" if math.isinf(ratio.value) else _interval(ratio)
    return f"{value} {_MARKS[outcome]}"


def _facts_line(comparison: Comparison) -> str:
    seeds, runs = len(comparison.seeds), len(comparison.runs)
    line = f"{runs} settings of {seeds} seeds, {comparison.num_updates:,} gradients each; step sizes tuned on "
    line += f"{seeds - seeds // 2} of the seeds, results from the other {seeds // 2}. The target lies "
    line += f"{comparison.progress:.0%} of the way from the start to the best end of any run: "
    line += ", ".join(f"{_names(q)} {comparison.target(q):.3g}" for q in comparison.quantities)
    return (
        line + ". ✓ APAM is sooner, ✗ the rival is, – the interval has both sides of 1; ∞: the rival never gets there."
    )


def _as_json(comparison: Comparison, verdicts: Sequence[object]) -> dict[str, object]:
    return {
        "name": comparison.name,
        "num_updates": comparison.num_updates,
        "seeds": list(comparison.seeds),
        "targets": {quantity: comparison.target(quantity) for quantity in comparison.quantities},
        "verdicts": list(verdicts),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses the command line, compares, and returns the exit status."""
    parser = commands.parser("asyncopt.compare", __doc__)
    parser.add_argument(
        "--progress", type=float, default=PROGRESS, metavar="PART",
        help=f"where the target lies between the start and the best end of any run (default: {PROGRESS})",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    return commands.finish(
        "asyncopt.compare", options, lambda output: compare(options.folder, output, options.progress)
    )
