"""Shared by the figures of the gallery: their look, runs by the number of workers, and a figure with its numbers."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from asyncopt.analysis.curves import Curves
from asyncopt.drawing import style
from asyncopt.files.records import Record
from asyncopt.report.curves import collect
from figures.reported import SOURCE

Runs = Mapping[str, Record]  # by the names of their folders
# In a column of 3.3 inches, 9 points at this width become 6.
WIDTH = 5.0
RC: dict[Any, Any] = style.RC | {
    "font.size": 9, "axes.titlesize": 9, "legend.fontsize": 8, "legend.title_fontsize": 8, "axes.spines.top": False,
    "axes.spines.right": False, "lines.linewidth": 1.4, "savefig.dpi": 200,
}  # fmt: skip


class Drawn(NamedTuple):
    """A figure with its numbers."""

    figure: Figure
    template: str  # the caption, with the names of facts in braces
    data: pd.DataFrame  # the numbers in the picture that are the same on every machine
    facts: Mapping[str, object]
    clock: pd.DataFrame | None = None  # numbers measured on a clock, which differ each time

    @property
    def caption(self) -> str:
        """The caption in Markdown."""
        return self.template.format(source=SOURCE, **self.facts)


def by_workers(runs: Runs, quantity: str) -> Curves:
    """Returns a quantity against epochs for each number of workers, from runs that differ in it and in seeds only."""
    # The size of a synchronous round is the number of workers.
    measured = collect(runs.items(), "trace.num_workers", quantity, also=["handling.size"]).scaled(1.0)
    first = next(iter(runs.values()))
    epochs = measured.step * first.config["problem"]["batch_size"] / first.summary["problem"]["rows"]
    return dataclasses.replace(measured, by=("workers",), step=epochs)
