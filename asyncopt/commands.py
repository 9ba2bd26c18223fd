"""What the commands that read run folders have in common: warnings kept, errors in one line."""

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


def finish(program: str, make: Callable[[pathlib.Path], tuple[str, list[str]]], output: pathlib.Path) -> int:
    """Makes a report, prints its text and where it is, and what was left out on the standard error.

    Args:
      program: the command's name; an error starts with it.
      make: writes into a folder, and returns the text and what was left out.
      output: that folder.

    Returns:
      The exit status.
    """
    try:
        text, left_out = make(output)
    except (InputError, OSError) as error:
        print(f"{program}: " + " ".join(str(error).split()), file=sys.stderr)
        return 1
    for line in left_out:
        print(" ".join(line.split()), file=sys.stderr)
    print(f"{text}\n{output}")
    return 0
