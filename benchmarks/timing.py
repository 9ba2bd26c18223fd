"""Times several calls in turn, so that a slow moment of the machine affects all of them, and tabulates their ratios."""

import argparse
import json
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np


class Row(NamedTuple):
    """The time of one call, and its ratio to that of the reference: the first call of its table."""

    table: str
    name: str
    microseconds: float  # median
    ratio: float  # median over rounds of the time over the reference's in the same round
    low: float  # the quartiles of this ratio
    high: float


def compare(table: str, calls: Mapping[str, Callable[[], Any]], number: int = 1, rounds: int = 7) -> list[Row]:
    """Compiles each call by calling it once, times all in turn, and prints and returns a table.

    Args:
      table: the table's name.
      calls: calls by name, the reference first.
      number: what a call does so many times; times are of one of them.
      rounds: how often each is called.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = time.perf_counter()
            jax.block_until_ready(call())
            seconds[name].append(time.perf_counter() - began)
    reference = np.array(next(iter(seconds.values())))
    rows = []
    print(f"\n{table}")
    for name, times in seconds.items():
        low, ratio, high = np.quantile(np.array(times) / reference, [0.25, 0.5, 0.75]).tolist()
        row = Row(table, name, statistics.median(times) / number * 1e6, ratio, low, high)
        print(f"  {name:32} {row.microseconds:12.1f} µs  {ratio:8.3f} [{low:.3f}, {high:.3f}]", flush=True)
        rows.append(row)
    return rows


def fastest(call: Callable[[], Any], rounds: int = 5) -> float:
    """Returns the seconds of the fastest of several calls, after one that compiles: for the peaks of a machine."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def script(main: Callable[[], list[Row]], description: str | None) -> None:
    """Runs a benchmark as a script, which writes its rows to a file if it is told to."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, help="file for the rows, JSON")
    options = parser.parse_args()
    rows = main()
    if options.output is not None:
        options.output.write_text(json.dumps([row._asdict() for row in rows], indent=1))
