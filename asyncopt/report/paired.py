"""``asyncopt paired FOLDER``: what a setting does to the end of a run, paired by seed.

Each value of the setting is compared with the first, or with --baseline, with the step size that is best for it. The
table says whether a difference is seen, and which difference would have been.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from asyncopt.analysis import paired
from asyncopt.analysis.curve_runs import NAMED, collect
from asyncopt.analysis.curves import Curves
from asyncopt.analysis.paired import Difference
from asyncopt.checks import InputError
from asyncopt.drawing import style, words
from asyncopt.files import records
from asyncopt.report import commands
from asyncopt.report.commands import Arguments, Printed
from asyncopt.report.page import Table

_FILES = commands.Files(text="paired.md", data="paired.csv")
_LINEAR = 50  # the largest ratio of differences on a linear axis
_MOST_PAIRS = 15  # of six groups
_VARIED, _TUNED = "trace.delay", "optimizer.learning_rate"


def report(
    folder: pathlib.Path,
    output: pathlib.Path,
    vary: str = _VARIED,
    baseline: str | None = None,
    by: Sequence[str] | None = None,
    tune: str = _TUNED,
    quantity: str | None = None,
) -> Printed:
    """Reads the runs below a folder, and writes ``paired.md``, ``paired.csv`` and ``paired.png``.

    Args:
      folder: the folder with the runs, which differ in these settings and in seeds only.
      output: folder for the files, created if needed.
      vary: the setting in question.
      baseline: the value of it that others are compared with; default: the first.
      by: settings whose values make the groups, such as ``optimizer``.
      tune: the setting that is tuned in each group, for each value of ``vary``.
      quantity: what is compared at the end of the runs; default as in `collect`.

    Returns what `commands.report` returns, and raises the same errors; also an InputError as `paired.differences` does.
    """

    def section(curves: Curves) -> commands.Section:
        results = paired.differences(curves, _value(curves, baseline))
        tables = [table(curves, results)]
        pairs = paired.contrasts(results, curves.quantity)
        if 0 < len(pairs) <= _MOST_PAIRS:
            tables.append(table_of_pairs(curves, pairs))
        title = f"{curves.name}: {words.label(curves.quantity)} at the end, {words.seeds(curves.num_seeds)}"
        return commands.Section(
            title,
            _facts(curves),
            tables,
            paired.to_frame(results, curves),
            {"paired": (figure(curves, results), "")},
        )

    keys = [*(by or []), vary, tune]
    return commands.report(_FILES, output, lambda: [collect(records.load_records(folder), keys, quantity)], section)


def _value(curves: Curves, text: str | None) -> Any:
    """Returns the value of the setting that a text names."""
    if text is None:
        return None
    values = dict.fromkeys(combination[-2] for combination in curves.combinations)
    for value in values:
        if text == str(value):
            return value
    raise InputError(f"baseline is {text}, expected one of {', '.join(map(str, values))}")


def _facts(curves: Curves) -> str:
    return (
        f"Each value of {curves.by[-2]} has the {curves.by[-1]} that is best for it: for each seed, the best for the "
        "other seeds. Differences are paired by seed, with Student's 95 % intervals; worse and better are said after "
        "Holm's correction for all rows (5 %). Noticeable: the smallest difference that would be seen in 80 of 100 "
        "such studies, before that correction. Not comparable: a best step size is the largest or smallest that was "
        "tried. Diverged: with each step size, some seed was not finite."
    )


def table(curves: Curves, results: Sequence[Difference]) -> Table:
    """Returns a row for each group and value."""
    *groups, vary, tune = curves.by
    header = (*groups, vary, tune, f"{tune}, baseline", "at the end", "less the baseline", "noticeable", "outcome")
    columns = [words.values(column) for column in zip(*[(*one.group, one.value) for one in results], strict=True)]
    settings = zip(*columns, strict=True)
    rows = [
        (
            *named,
            *(
                f"{size:g}" if isinstance(size, int | float) else str(size)
                for size in (one.step_size, one.baseline_step_size)
            ),
            words.with_interval(one.end, ".4g"),
            words.with_interval(one.difference, "+.3g"),
            f"{one.noticeable:.2g}",
            one.outcome,
        )
        for named, one in zip(settings, results, strict=True)
    ]
    return Table("", header, rows)


def table_of_pairs(curves: Curves, pairs: Sequence[Difference]) -> Table:
    """Returns a row for each two groups: how much more the first loses than the second."""
    *groups, vary, _ = curves.by
    size = len(groups)
    name = ", ".join(groups)
    rows = [
        (
            *(", ".join(map(str, group)) for group in (one.group[:size], one.group[size:])),
            words.with_interval(one.difference, "+.3g"),
            f"{one.noticeable:.2g}",
            one.outcome,
        )
        for one in pairs
    ]
    title = f"What {vary} {pairs[0].value} costs one {name} less what it costs another, seed by seed:"
    return Table(title, (name, "and another", "difference of the differences", "noticeable", "outcome"), rows)


@style.drawing
def figure(curves: Curves, results: Sequence[Difference]) -> Figure:
    """Returns the differences with their intervals, a colour for each group; hollow where none is seen."""
    drawn, axes = style.subplots((7.5, 4.6), f"{curves.name}\n{words.seeds(curves.num_seeds, style.INTERVALS)}")
    values = list(dict.fromkeys(one.value for one in results))
    groups = list(dict.fromkeys(one.group for one in results))
    labels = words.combinations(groups) if groups != [()] else [""]
    shades = style.shades(len(groups))
    for index, (group, label, shade) in enumerate(zip(groups, labels, shades, strict=True)):
        own = style.COLOURS.get(str(group[0]) if group else "", shade)
        for number, one in enumerate(each for each in results if each.group == group):
            place = values.index(one.value) + 0.12 * (index - (len(groups) - 1) / 2)
            look = {"color": own, "fmt": style.marker(index), "label": style.text(label) if number == 0 else None}
            hollow = {} if one.outcome in (paired.WORSE, paired.BETTER) else {"markerfacecolor": "white"}
            style.bars(axes, [place], [one.difference], **look, **hollow)
    axes.axhline(0, color=style.REFERENCE_COLOUR, linewidth=1)
    axes.set_xticks(range(len(values)), words.values(values))
    axes.set(
        xlabel=words.label(curves.by[-2]), ylabel=f"{words.label(curves.quantity)} at the end,\nless the baseline's"
    )
    sizes = [abs(one.difference.value) for one in results if one.difference.value and one.each]
    if sizes and max(sizes) > _LINEAR * min(sizes):
        axes.set_yscale("symlog", linthresh=min(sizes))
    if any(labels):
        axes.legend(title=", ".join(curves.by[:-2]))
    return drawn


def main(arguments: Arguments = None) -> int:
    """Parses the command line, reports, and returns the exit status."""
    by = f"runs that are told apart: a setting, or one of {', '.join(NAMED)}; again for each further one"
    options = {
        "--vary": {"metavar": "KEY", "default": _VARIED, "help": f"the setting in question (default: {_VARIED})"},
        "--baseline": {"metavar": "VALUE", "help": "what others are compared with (default: the first value)"},
        "--by": {"action": "append", "metavar": "KEY", "help": by},
        "--tune": {"metavar": "KEY", "default": _TUNED, "help": f"chosen for each of them (default: {_TUNED})"},
        "--quantity": {"help": "what is compared at the end (default: test_accuracy, gap, test_loss or objective)"},
    }
    return commands.main("asyncopt paired", report, __doc__, options, arguments)
