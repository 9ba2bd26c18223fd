"""Draws a picture of docs/experiments.md from the folder of its sweep: each server with its best step size.

python -m figures.experiments diloco multirun/diloco docs/images/diloco.png
"""

import argparse
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

import asyncopt

STEP_SIZE = "optimizer.learning_rate"


class Experiment(NamedTuple):
    """What is drawn of a sweep."""

    server: Callable[[Mapping[str, Any]], str]  # the name of a run's server, from a row of the table
    steps: Mapping[str, float]  # the step size that is drawn of each server
    quantity: str
    also: Sequence[str] = ()  # settings that are told apart besides


def _policy(row: Mapping[str, Any]) -> str:
    return str(row["policy._target_"]).rpartition(".")[2]


def _of_delays(row: Mapping[str, Any]) -> str:
    if _policy(row) == "Rounds":
        return "synchronous"
    return "delay-adaptive" if isinstance(row["handling._target_"], str) else "asynchronous"


def _of_diloco(row: Mapping[str, Any]) -> str:
    momentum = "momentum" if row["optimizer.momentum"] == 0.9 else "no momentum"
    server = {"Rounds": "rounds, ", "Buffered": "buffers, "}.get(_policy(row), "")
    return f"{server}{momentum}{'' if row['work.num_steps'] == 20 else ', unequal jobs'}"


def _of_ringleader(row: Mapping[str, Any]) -> str:
    if _policy(row) != "Asynchronous":
        return _policy(row)
    return "IA²SGD" if isinstance(row["handling._target_"], str) else "asynchronous"


EXPERIMENTS = {
    "arbitrary_delays": Experiment(
        _of_delays, {"synchronous": 1.0, "delay-adaptive": 0.1, "asynchronous": 0.01}, "gap", ["trace.slowdown"]
    ),
    "diloco": Experiment(
        _of_diloco,
        {
            "rounds, momentum": 1.0, "buffers, momentum": 0.3, "momentum": 0.03, "momentum, unequal jobs": 0.1,
            "no momentum": 1.0, "no momentum, unequal jobs": 0.7,
        },
        "objective",
    ),
    "ringleader": Experiment(
        _of_ringleader, {"Ringleader": 0.003, "Malenia": 0.1, "IA²SGD": 0.001, "asynchronous": 0.01}, "objective"
    ),
}  # fmt: skip


def chosen(table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Returns the rows of each server's chosen step size, with the column ``server``."""
    table = table.assign(server=[experiment.server(row) for row in table.to_dict("records")])
    return table[table[STEP_SIZE] == table["server"].map(experiment.steps)]


def main() -> None:
    """Parses the command line, and draws."""
    parser = argparse.ArgumentParser(prog="python -m figures.experiments", description=__doc__)
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("folder", type=pathlib.Path, help="the folder of the sweep")
    parser.add_argument("output", type=pathlib.Path, help="the picture")
    options = parser.parse_args()
    experiment = EXPERIMENTS[options.name]
    rows = chosen(asyncopt.load_runs(options.folder), experiment)
    figure = asyncopt.plot_runs(rows, by=["server", *experiment.also], quantity=experiment.quantity, axis="time")
    figure.savefig(options.output, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
