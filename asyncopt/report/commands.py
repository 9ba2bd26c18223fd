"""Shared by the commands that read run folders: options, sections, files and exit status."""

import argparse
import json
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import pandas as pd
from matplotlib.figure import Figure

from asyncopt.analysis import Verdict
from asyncopt.checks import InputError
from asyncopt.drawing import style
from asyncopt.files import atomic
from asyncopt.report import page
from asyncopt.report.page import Table
from asyncopt.shown import printable

Item = TypeVar("Item")
Arguments = Sequence[str] | None  # of a command line; None means that of this process
Printed = tuple[str, list[str]]  # the tables in Markdown, and a line for each warning
_MOST_NOTES = 5  # warnings that come with an error


class Files(NamedTuple):
    """Names of the files that a command writes. With several sections, those of data and figures get a number."""

    text: str  # Markdown with all tables
    data: str  # CSV with the numbers behind the figures
    page: str = ""  # HTML with tables and figures; without it, there is no JSON file either
    facts: str = ""  # JSON
    key: str = ""  # the key of the sections in the JSON file
    title: str = ""  # heading of the page


class Section(NamedTuple):
    """What a command reports on one study, comparison or set of curves."""

    title: str
    facts: str  # one line below the heading
    tables: Sequence[Table]
    data: pd.DataFrame
    figures: Mapping[str, tuple[Figure, str]]  # each figure with its caption, by file name
    verdicts: Sequence[Verdict] = ()  # a table below the others
    prints_verdicts: bool = True  # the files always have them
    json: Mapping[str, Any] = {}  # facts for the JSON file, besides title and verdicts


def report(
    files: Files, output: pathlib.Path, read: Callable[[], Iterable[Item]], section: Callable[[Item], Section]
) -> Printed:
    """Writes a report to the folder ``output``, each file whole or not at all.

    ``read`` returns the studies, comparisons or curves, and warns of each run that it leaves out. ``section`` returns
    the section on one of them.

    Raises:
      InputError: if there are no runs to report on. Its notes say why runs were left out.
      OSError: if a file cannot be written.
    """
    items, left_out = _read(read)
    output.mkdir(parents=True, exist_ok=True)
    printed, written, facts, html = [], [], [], []
    for number, part in enumerate(map(section, items), start=1):
        prefix = f"{number}_" if len(items) > 1 else ""
        atomic.write(output / f"{prefix}{files.data}", lambda path, data=part.data: data.to_csv(path, index=False))
        captions = {output / f"{prefix}{name}.png": caption for name, (_, caption) in part.figures.items()}
        for path, (figure, _) in zip(captions, part.figures.values(), strict=True):
            style.save(figure, path)
        tables = [*part.tables, *([page.verdict_table(part.verdicts)] if part.verdicts else [])]
        written.append(page.markdown_section(part.title, part.facts, tables))
        shown = tables if part.prints_verdicts else part.tables
        printed.append(page.markdown_section(part.title, part.facts, shown))
        facts.append({"name": part.title, **part.json, "verdicts": [*map(page.as_json, part.verdicts)]})
        html.append(page.html_section(part.title, part.facts, tables, captions))
    texts = {files.text: "\n".join(written)}
    if files.page:
        texts[files.facts] = json.dumps({files.key: facts}, indent=2, allow_nan=False) + "\n"
        texts[files.page] = page.html_page(files.title, html, left_out)
    for name, text in texts.items():
        atomic.write(output / name, lambda path, text=text: path.write_text(printable(text)))
    return "\n".join(printed), left_out


def _read(read: Callable[[], Iterable[Item]]) -> tuple[list[Item], list[str]]:
    """Returns what ``read`` returns, and a line for each warning; the notes of an InputError are such lines."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            return list(read()), _lines(caught)
        except InputError as error:
            different = list(dict.fromkeys(_lines(caught)))
            for line in different[:_MOST_NOTES]:
                error.add_note(line)
            if len(different) > _MOST_NOTES:
                error.add_note(f"and {len(different) - _MOST_NOTES} more")
            raise


def _lines(caught: Iterable[warnings.WarningMessage]) -> list[str]:
    return [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]


def main(
    command: str, make: Callable[..., Printed], text: str | None, options: Mapping[str, Any], arguments: Arguments
) -> int:
    """Runs a command that reads run folders, and returns its exit status.

    ``make`` makes the report from the folder, the output folder and the options by name. ``text`` starts the help.
    ``options`` has what `argparse.ArgumentParser.add_argument` takes for each option besides ``--output``.
    """
    parser = argparse.ArgumentParser(prog=command, description=text)
    parser.add_argument("folder", type=pathlib.Path, help="a folder with runs below it, such as a sweep's")
    parser.add_argument("--output", type=pathlib.Path, help="where to write (default: FOLDER/report)")
    for name, settings in options.items():
        parser.add_argument(name, **settings)
    chosen = vars(parser.parse_args(arguments))
    output = chosen.pop("output") or chosen["folder"] / "report"
    return finish(command, output, lambda: make(output=output, **chosen))


def finish(command: str, output: pathlib.Path, make: Callable[[], Printed]) -> int:
    """Makes a report, prints its text and its folder, and returns the exit status.

    An error is printed as one line, after a line for each of its notes.
    """
    try:
        text, left_out = make()
    except (InputError, OSError) as error:
        _print_lines([*getattr(error, "__notes__", ()), f"{command}: {error}"])
        return 1
    _print_lines(left_out)
    print(printable(f"{text}\n{output}"))
    return 0


def _print_lines(texts: Iterable[str]) -> None:
    """Prints each text as one line to standard error."""
    for text in texts:
        print(printable(" ".join(text.split())), file=sys.stderr)
