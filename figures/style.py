"""How the figures look: legible at half the width of a page, in greyscale, and to the colour-blind."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.analysis import Estimate
from asyncopt.report.study_figures import error_bars

# Half of a page is 3.3 inches: 9 points at this width are still 6 there.
WIDTH = 5.0
RC: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "savefig.dpi": 200,
}
# What the paper reported has a colour and a marker that nothing measured has.
PAPER_COLOUR, PAPER_MARKER = "#009E73", "*"
_LINES = ("-", "--", "-.", ":")
_MARKERS = "os^Dv*"


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """A figure with what stands behind it.

    Args:
      figure: the picture.
      data: every number in it that is the same wherever it is computed.
      facts: what the caption, a template in ``captions/``, has in its braces.
      clock: numbers that were measured on a clock, and so are others each time; or None.
    """

    figure: Figure
    data: pd.DataFrame
    facts: Mapping[str, object]
    clock: pd.DataFrame | None = None


def new(height: float) -> Figure:
    """Returns an empty figure."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def shades(number: int) -> list[tuple[float, ...]]:
    """Returns colours from dark to light, which greyscale and the colour-blind put in this order, too."""
    return [matplotlib.colormaps["inferno"](x) for x in np.linspace(0.05, 0.82, number)]


def line(index: int) -> str:
    """Returns a line style, another for neighbours."""
    return _LINES[index % len(_LINES)]


def marker(index: int) -> str:
    """Returns a marker, another for each of a few."""
    return _MARKERS[index % len(_MARKERS)]


def band(axes: Axes, x: Sequence[float] | np.ndarray, found: Sequence[Estimate], style: Mapping) -> None:
    """Draws estimates against x as a line, with their intervals as a band."""
    value, low, high = np.array(found, float).reshape(-1, 3).T
    axes.plot(x, value, **style)
    if np.isfinite(low).any():
        axes.fill_between(x, low, high, color=style["color"], alpha=0.12, linewidth=0)


def bars(axes: Axes, x: Sequence[float] | np.ndarray, found: Sequence[Estimate], style: Mapping) -> None:
    """Draws estimates against x as points, with their intervals as bars."""
    axes.errorbar(x, *error_bars(found), capsize=2, markersize=4.5, **style)


def workers_axis(axes: Axes, workers: Sequence[int], label: str = "workers $p$") -> None:
    """Makes the lower axis logarithmic, with a tick at each number of workers."""
    axes.set_xscale("log")
    axes.set_xticks(list(workers), [str(p) for p in workers])
    axes.minorticks_off()
    axes.set_xlim(min(workers) / 1.25, max(workers) * 1.25)
    axes.set_xlabel(label)


def legend_below(figure: Figure, axes: Axes, columns: int, title: str | None = None) -> None:
    """Puts the legend of some axes under the whole figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title, title_fontsize=8)
