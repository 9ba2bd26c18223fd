"""Rows of a CSV file."""

import csv
import pathlib
from collections.abc import Iterator

from asyncopt.checks import InputError


def numbered_rows(path: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number from 1, cells without blanks around them) for each row that is not blank.

    Raises:
      InputError: if it is not a CSV text file; the message names it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV text file: {error}") from error
