"""What the figures of the gallery share: their size and type, and a figure with what stands behind it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from asyncopt.analysis.curves import Curves
from asyncopt.files.records import Record
from asyncopt.report import style

# Half of a page is 3.3 inches: 9 points at this width are still 6 there.
WIDTH = 5.0
RC: dict[Any, Any] = style.RC | {
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "legend.title_fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.4,
    "savefig.dpi": 200,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """A figure with what stands behind it.

    Args:
      figure: the picture.
      template: the caption, with the names of facts in braces.
      data: every number in the picture that is the same wherever it is computed.
      facts: what stands in the caption for each name in braces.
      clock: numbers that were measured on a clock, and so differ each time; or None.
    """

    figure: Figure
    template: str
    data: pd.DataFrame
    facts: Mapping[str, object]
    clock: pd.DataFrame | None = None

    @property
    def caption(self) -> str:
        """The caption in Markdown."""
        return self.template.format_map(self.facts)


def in_epochs(curves: Curves, run: Record) -> Curves:
    """Returns curves against epochs of one of the runs' data, each gradient from a mini-batch."""
    return curves.against(curves.step * run.config["problem"]["batch_size"] / run.summary["problem"]["rows"])
