"""``asyncopt compare FOLDER``: which method reaches a common target first, from run folders alone."""

import functools
import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence

from asyncopt.analysis import Estimate, advantages
from asyncopt.analysis.advantages import Setting
from asyncopt.analysis.comparison import PROGRESS, Comparison, table
from asyncopt.analysis.comparison_draws import NUM_SPLITS
from asyncopt.analysis.comparison_grid import override
from asyncopt.analysis.comparison_reading import comparisons
from asyncopt.analysis.verdict import NOT_COMPARABLE, Verdict
from asyncopt.drawing import words
from asyncopt.files import records
from asyncopt.report import commands, comparison_figures
from asyncopt.report.commands import Arguments, Printed
from asyncopt.report.page import Table

_TITLE = "Methods on one clock"
_FILES = commands.Files("comparison.md", "runs.csv", "comparison.html", "comparison.json", "comparisons", _TITLE)
_MARKS = {"confirmed": "✓", "violated": "✗", "inconclusive": "–", NOT_COMPARABLE: "⊘"}
_NAMES = {"loss": "training loss", "error": "held-out error"}
_LEGEND = (
    "✓ {ours} reaches it first, ✗ the rival does, – nothing is decided (the interval contains 1, or so many claims "
    "leave it in doubt, or there are too few clocks), ⊘ not comparable (a best step size is an end of its grid, or "
    "grids differ); ∞ the rival never reaches it."
)


def compare(folder: pathlib.Path, output: pathlib.Path, progress: float = PROGRESS) -> Printed:
    """Compares all methods run below a folder, and writes tables, figures and a page with both.

    Args:
      folder: the folder with the runs of ``+sweep=comparison`` or a similar sweep.
      output: folder for ``comparison.md``, ``comparison.json``, ``comparison.html``, and for each problem ``runs.csv``
        (the data behind the figures) and the figures, numbered if there are several problems.
      progress: where the target lies between the start (0) and the best end of any run (1), in (0, 1).

    Returns what `commands.report` returns, and raises the same errors.
    """
    read = functools.partial(_read, folder, progress)
    return commands.report(_FILES, output, read, functools.partial(_section, folder))


def _read(folder: pathlib.Path, progress: float) -> list[Comparison]:
    return comparisons(records.load_records(folder), progress)


def _section(folder: pathlib.Path, comparison: Comparison) -> commands.Section:
    faster, others = advantages.judge(comparison)
    verdicts = [*faster.values(), *others]
    targets = {quantity: comparison.target(quantity) for quantity in comparison.quantities}
    words = ", ".join(f"{_NAMES[name]} {targets[name]:.3g}" for name in targets)
    facts = (
        f"{len(comparison.trials)} trials, {comparison.num_updates:,} gradients a run; {runs_in_words(comparison)}. "
        f"Step sizes are tuned on one half of these runs and judged on the other, in both roles, for {NUM_SPLITS} "
        f"random splits. The target lies {comparison.progress:.0%} of the way from the start to the best end of any "
        f"run: {words}. {_LEGEND.format(ours=comparison.ours)} {_correction(verdicts)}"
    )
    tables = [_table(comparison, faster, quantity) for quantity in comparison.quantities]
    if comparison.kept_apart:
        title = "Kept apart: runs of different settings are never pooled."
        tables.append(Table(title, ("runs", "differ in"), comparison.kept_apart))
    wider = override(comparison)
    if wider:
        wider = f"{wider} hydra.sweep.dir={folder / 'wider'}"
        title = "Widen the grids: some comparisons need more runs. Add this to the sweep's command:"
        tables.append(Table(title, ("override",), [(wider,)]))
    json = {
        "num_updates": comparison.num_updates,
        "runs": runs_in_words(comparison),
        "targets": targets,
        "kept_apart": [list(note) for note in comparison.kept_apart],
        "override": wider,
    }
    figures = comparison_figures.all_figures(comparison)
    return commands.Section(
        comparison.name, facts, tables, table(comparison), figures, verdicts, prints_verdicts=False, json=json
    )


def runs_in_words(comparison: Comparison) -> str:
    """Returns how many runs a trial has, with the numbers of clocks and mini-batches behind them."""
    kinds = dict.fromkeys(
        (len(t.seeds), len(set(t.clocks)) if t.is_random else 0, len(set(t.seeds))) for t in comparison.trials
    )
    parts = []
    for runs, clocks, seeds in kinds:
        draws = f"{clocks} random clock{'s' if clocks > 1 else ''}" if clocks else "a fixed clock"
        parts.append(f"{runs} runs a trial on {draws} with {seeds} seeds of mini-batches")
    return ", or ".join(parts)


def _correction(verdicts: Sequence[Verdict]) -> str:
    number = sum(not math.isnan(verdict.p_value) for verdict in verdicts)
    return f"Holm's correction for {number} claims is applied: nominally, the chance that any ✓ is wrong is 2.5 %."


def _table(comparison: Comparison, faster: Mapping[Setting, Verdict], quantity: str) -> Table:
    """Returns how many times as long the rivals take, with a row for each clock and number of workers."""
    ours = comparison.ours
    rivals = [method for method in comparison.methods if method != ours]
    header = ("gradients take", "workers", f"{ours}, seconds", *(f"{rival}, times as long" for rival in rivals))
    rows = []
    for clock, p in itertools.product(comparison.clocks, comparison.num_workers):
        if not any(comparison.tried(method, clock, p) for method in comparison.methods):
            continue
        seconds = comparison.reach(ours, clock, p, quantity, "time").estimate()
        cells = (_marked(faster.get(Setting(quantity, rival, clock, p))) for rival in rivals)
        rows.append((clock, str(p), _interval(seconds), *cells))
    return Table(f"Simulated time to a {_NAMES[quantity]} of {comparison.target(quantity):.3g}:", header, rows)


def _interval(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    return "never" if math.isinf(estimate.value) else words.with_interval(estimate, ".3g")


def _marked(verdict: Verdict | None) -> str:
    """Returns the rival's ratio with its interval, and a mark that says whether our method reaches the target first."""
    if verdict is None:
        return "-"
    ratio, mark = verdict.measured, _MARKS[verdict.outcome]
    if math.isnan(ratio.value):
        return f"{mark} (neither reached the target)"
    return f"{'∞' if math.isinf(ratio.value) else _interval(ratio)} {mark}"


def main(arguments: Arguments = None) -> int:
    """Parses the command line, compares, and returns the exit status."""
    words = f"where the target lies between the start and the best end of any run (default: {PROGRESS})"
    options = {"--progress": {"type": float, "default": PROGRESS, "metavar": "PART", "help": words}}
    return commands.main("asyncopt compare", compare, __doc__, options, arguments)
