"""What the paper reported, from ``reported.csv``: tables of arXiv 2002.09095 and of its authors' public code."""

import pathlib

import pandas as pd

SOURCE = "Xu et al., arXiv 2002.09095"
_PATH = pathlib.Path(__file__).with_name("reported.csv")


def table(experiment: str, quantity: str) -> pd.DataFrame:
    """Returns the rows of one table.

    Args:
      experiment: as in the file.
      quantity: likewise.

    Returns:
      ``workers`` (int, or text for a range, 1-32), ``low`` and ``high`` (float, equal where one number was reported),
      ``source``.

    Raises:
      ValueError: if there is no such table.
    """
    rows = pd.read_csv(_PATH, dtype={"workers": str})
    found = rows[(rows["experiment"] == experiment) & (rows["quantity"] == quantity)]
    if found.empty:
        raise ValueError(f"{_PATH.name}: no {quantity} of {experiment}, expected one of {sorted(set(rows.experiment))}")
    return found.drop(columns=["experiment", "quantity"]).reset_index(drop=True)


def points(experiment: str, quantity: str) -> tuple[list[int], list[float]]:
    """Returns numbers of workers and values of a table that has one value at each."""
    found = table(experiment, quantity)
    return [int(workers) for workers in found["workers"]], [float(value) for value in found["low"]]


def span(experiment: str, quantity: str) -> tuple[float, float]:
    """Returns the smallest and the largest value of a table."""
    found = table(experiment, quantity)
    return float(found["low"].min()), float(found["high"].max())


def speedup_tables() -> list[str]:
    """Returns the experiments whose speed-up was reported."""
    rows = pd.read_csv(_PATH)
    return list(dict.fromkeys(rows.loc[rows["quantity"] == "speed-up", "experiment"]))
