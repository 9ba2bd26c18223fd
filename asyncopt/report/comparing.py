"""``python -m asyncopt.compare FOLDER``: which method reaches a common target first, from run folders alone."""

import itertools
import math
import pathlib

from asyncopt.analysis import Estimate
from asyncopt.analysis.advantages import above_one, advantages, shrinking, throughputs
from asyncopt.analysis.comparison import OURS, PROGRESS, Comparison, comparisons, table
from asyncopt.files import records
from asyncopt.report import commands, comparison_figures, style
from asyncopt.report.commands import Arguments, Printed
from asyncopt.report.page import Table

_TITLE = "Methods on one clock"
_FILES = commands.Files("comparison.md", "runs.csv", "comparison.html", "comparison.json", "comparisons", _TITLE)
_MARKS = {"confirmed": "✓", "violated": "✗", "inconclusive": "–"}
_NAMES = {"loss": "training loss", "error": "held-out error"}
_LEGEND = "✓ APAM reaches it first, ✗ the rival does, – the interval contains 1; ∞: the rival never reaches it."


def compare(folder: pathlib.Path, output: pathlib.Path, progress: float = PROGRESS) -> Printed:
    """Compares all methods run below a folder, and writes tables, figures and a page with both.

    Args:
      folder: the folder with the runs of ``+sweep=comparison`` or a similar sweep.
      output: folder for ``comparison.md``, ``comparison.json``, ``comparison.html``, and for each problem ``runs.csv``
        (the data behind the figures) and the figures, numbered if there are several problems.
      progress: where the target lies between the start (0) and the best end of any run (1), in (0, 1).

    Returns what `commands.report` returns, and raises the same errors.
    """
    return commands.report(_FILES, output, lambda: comparisons(records.load_records(folder), progress), _section)


def _section(comparison: Comparison) -> commands.Section:
    targets = {quantity: comparison.target(quantity) for quantity in comparison.quantities}
    seeds, target = len(comparison.seeds), ", ".join(f"{_NAMES[name]} {targets[name]:.3g}" for name in targets)
    facts = (
        f"{len(comparison.trials)} settings of {seeds} seeds, {comparison.num_updates:,} gradients each; step sizes "
        f"tuned on {seeds - seeds // 2} of the seeds, results from the other {seeds // 2}. The target lies "
        f"{comparison.progress:.0%} of the way from the start to the best end of any run: {target}. {_LEGEND}"
    )
    tables = [_table(comparison, quantity) for quantity in comparison.quantities]
    verdicts = [*advantages(comparison), *shrinking(comparison), *throughputs(comparison)]
    json = {"num_updates": comparison.num_updates, "seeds": list(comparison.seeds), "targets": targets}
    figures = comparison_figures.all_figures(comparison)
    return commands.Section(
        comparison.name, facts, tables, table(comparison), figures, verdicts, prints_verdicts=False, json=json
    )


def _table(comparison: Comparison, quantity: str) -> Table:
    """Returns how many times as long the rivals take, with a row for each clock and number of workers."""
    rivals = [method for method in comparison.methods if method != OURS]
    header = ("gradients take", "workers", f"{OURS}, seconds", *(f"{rival}, times as long" for rival in rivals))
    rows = []
    for clock, p in itertools.product(comparison.clocks, comparison.num_workers):
        ours = comparison.estimate(comparison.reach(OURS, clock, p, quantity, "time"))
        ratios = [comparison.estimate(comparison.advantage(rival, clock, p, quantity)) for rival in rivals]
        rows.append((clock, str(p), _interval(ours), *map(_marked, ratios)))
    return Table(f"Simulated time to a {_NAMES[quantity]} of {comparison.target(quantity):.3g}:", header, rows)


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    return "never" if math.isinf(estimate.value) else style.with_interval(estimate, ".3g")


def _marked(ratio: Estimate) -> str:
    """Returns a ratio with its interval, and a mark that says whether APAM reaches the target first."""
    outcome, rule = above_one(ratio)
    if math.isnan(ratio.value):
        return f"– ({rule})"
    return f"{'∞' if math.isinf(ratio.value) else _interval(ratio)} {_MARKS[outcome]}"


def main(arguments: Arguments = None) -> int:
    """Parses the command line, compares, and returns the exit status."""
    words = f"where the target lies between the start and the best end of any run (default: {PROGRESS})"
    options = {"--progress": {"type": float, "default": PROGRESS, "metavar": "PART", "help": words}}
    return commands.main("asyncopt.compare", compare, __doc__, options, arguments)
