"""What the commands that read run folders have in common: warnings kept, errors in one line."""

import argparse
import pathlib
import sys
import warnings
from collections.abc import Callable
from typing import TypeVar

from asyncopt.checks import InputError

_T = TypeVar("_T")


def with_left_out(read: Callable[[], _T]) -> tuple[_T, list[str]]:
    """Returns what ``read`` does, and what it warned of: runs that were left out, a line each."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        found = read()
    return found, [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]


def parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """Returns a parser of what every command takes: the folder of runs, and where to write."""
    made = argparse.ArgumentParser(prog=f"python -m {command}", description=description)
    made.add_argument("folder", type=pathlib.Path, help="a folder with runs below it, such as a sweep's")
    made.add_argument("--output", type=pathlib.Path, help="where to write (default: FOLDER/report)")
    return made


def finish(command: str, options: argparse.Namespace, make: Callable[[pathlib.Path], tuple[str, list[str]]]) -> int:
    """Makes a report, prints its text and where it is, and what was left out on the standard error.

    Args:
      command: its name; an error starts with it.
      options: as `parser` reads them.
      make: writes into a folder, and returns the text and what was left out.

    Returns:
      The exit status.
    """
    output = options.output or options.folder / "report"
    try:
        text, left_out = make(output)
    except (InputError, OSError) as error:
        return refuse(command, error)
    for line in left_out:
        print(" ".join(line.split()), file=sys.stderr)
    print(f"{text}\n{output}")
    return 0


def refuse(command: str, error: Exception) -> int:
    """Says in one line on the standard error why a command ends, and returns its exit status, 1."""
    print(f"{command}: " + " ".join(str(error).split()), file=sys.stderr)
    return 1
