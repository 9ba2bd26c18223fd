"""Checks of what a run folder holds: columns and facts have the types that a run writes, however well they parse."""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asyncopt.checks import InputError, is_plausible_size

if TYPE_CHECKING:
    import pandas as pd

_ALWAYS_LABELLED = ("problem", "optimizer", "method", "trace")
_LONGEST_LABEL = 1000  # characters; a figure with a title of a hundred thousand takes minutes


def check_size(content: bytes) -> None:
    """Refuses a Parquet file that promises a table far larger than itself, before memory is taken for it.

    Raises:
      ValueError: with the sizes.
    """
    from pyarrow import parquet

    metadata = parquet.ParquetFile(io.BytesIO(content)).metadata
    promised = 8 * metadata.num_rows * metadata.num_columns
    if not is_plausible_size(promised, len(content)):
        raise ValueError(f"a table of {promised:,} bytes in a file of {len(content):,}")


def check_metrics(where: str, metrics: "pd.DataFrame") -> None:
    """Refuses a table that no run writes: of other types, without rows, or with two rows for one seed and step.

    Args:
      where: the file, for messages.
      metrics: its table, with the columns seed and step.

    Raises:
      InputError: naming the file and the column.
    """
    for name, column in metrics.items():
        kinds = "iu" if name in ("seed", "step") else "biuf"
        if not isinstance(name, str) or not name.isprintable():
            raise InputError(f"{where}: a column is called {name!r}, expected the name of a measurement")
        if getattr(column.dtype, "kind", "") not in kinds:
            wanted = "whole numbers" if kinds == "iu" else "numbers"
            raise InputError(f"{where}: column {name!r} has the type {column.dtype}, expected {wanted}")
    if metrics.empty:
        raise InputError(f"{where}: no rows, expected one for each seed and evaluation")
    for name in ("seed", "step"):
        if metrics[name].min() < 0:
            raise InputError(f"{where}: {name} is {metrics[name].min()}, expected at least 0")
    twice = metrics.duplicated(["seed", "step"])
    if twice.any():
        seed, step = metrics.loc[twice.idxmax(), ["seed", "step"]]
        raise InputError(f"{where}: two rows for seed {seed:g} at step {step:g}, expected one")


def check_summary(where: str, summary: Mapping[str, Any]) -> None:
    """Refuses facts of other types than a run writes. A section may be missing, as in runs of earlier versions.

    Args:
      where: the file, for messages.
      summary: what it holds.

    Raises:
      InputError: naming the file and the fact.
    """
    for section in ("trace", "problem", "labels", "staleness"):
        facts = summary.get(section)
        if section in summary and not isinstance(facts, dict):
            raise InputError(f"{where}: {section} is {facts!r}, expected facts by name")
        for name, value in (facts or {}).items():
            wanted = _wanted(section, name, value)
            if wanted:
                raise InputError(f"{where}: {section}.{name} is {value!r}, expected {wanted}")


def _wanted(section: str, name: str, value: Any) -> str:
    """Returns what a fact should have been, or "" if it may be what it is."""
    if section == "labels":
        or_null = "" if name in _ALWAYS_LABELLED else ", or null"
        fits = _is_label(value) or (or_null and value is None)
        return "" if fits else f"a text of at most {_LONGEST_LABEL} letters{or_null}"
    if section == "staleness" and name == "label":
        return "" if _is_label(value) else f"a text of at most {_LONGEST_LABEL} letters"
    if section == "staleness" and name == "settings":
        return "" if isinstance(value, list) and all(map(_is_label, value)) else "a list of names"
    number = isinstance(value, int | float)
    if section == "staleness" or name.endswith(("_delay", "num_updates", "num_workers")):
        return "" if number and not isinstance(value, bool) and value >= 0 else "a number >= 0"
    return "" if value is None or number or _is_label(value) else "a number, a text, true, false or null"


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST_LABEL and value.isprintable()
