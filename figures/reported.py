"""The numbers that the paper reported, from ``reported.csv``: tables of arXiv 2002.09095 and its authors' code."""

import pathlib

import pandas as pd

SOURCE = "Xu et al., arXiv 2002.09095"
_PATH = pathlib.Path(__file__).with_name("reported.csv")


def table(experiment: str, quantity: str) -> pd.DataFrame:
    """Returns the rows of one table: ``workers`` (text; 1-32 is a range), ``low``, ``high`` (float), ``source`` (text).

    ``low`` and ``high`` are equal where one number was reported. Raises a ValueError if there is no such table.
    """
    rows = pd.read_csv(_PATH, dtype={"workers": str})
    chosen = rows[(rows["experiment"] == experiment) & (rows["quantity"] == quantity)]
    if chosen.empty:
        raise ValueError(f"{_PATH.name}: no {quantity} of {experiment}, expected one of {sorted(set(rows.experiment))}")
    return chosen.drop(columns=["experiment", "quantity"]).reset_index(drop=True)


def points(experiment: str, quantity: str) -> tuple[list[int], list[float]]:
    """Returns the numbers of workers and the values of a table that has one value for each."""
    rows = table(experiment, quantity)
    return [int(workers) for workers in rows["workers"]], [float(value) for value in rows["low"]]


def span(experiment: str, quantity: str) -> tuple[float, float]:
    """Returns the smallest and the largest value of a table."""
    rows = table(experiment, quantity)
    return float(rows["low"].min()), float(rows["high"].max())


def speedup_tables() -> list[str]:
    """Returns the experiments whose speed-up was reported."""
    rows = pd.read_csv(_PATH)
    return list(dict.fromkeys(rows.loc[rows["quantity"] == "speed-up", "experiment"]))
