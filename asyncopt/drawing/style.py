"""The look of all figures: colours, markers, lines, axes, intervals and legends."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from numpy.typing import ArrayLike

from asyncopt.files import atomic

Colour = str | tuple[float, ...]

RC: dict[Any, Any] = {
    "axes.axisbelow": True, "axes.grid": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "legend.frameon": False,
}  # fmt: skip
# Decorates every function that draws a figure.
drawing = matplotlib.rc_context(RC)
# A method has the same colour in every figure. The colour-blind can tell the colours of Okabe and Ito's palette apart.
COLOURS = {
    "APAM": "#0072B2", "SGD": "#D55E00", "SGD with momentum": "#E69F00", "synchronous AMSGrad": "#56B4E9",
    # From Paul Tol's palette.
    "synchronous AMSGrad, first m of p": "#882255", "ADAM": "#332288", "ADAMW": "#AA4499", "LION": "#999933",
    "MUON": "#44AA99",
}  # fmt: skip
# From the same palette; no method has these.
THRESHOLD_COLOUR = "#CC79A7"
RECORDED_COLOUR, MODEL_COLOUR = "#BBBBBB", "#000000"
REFERENCE_COLOUR = "#555555"
# Only numbers that the paper reported have this colour and this marker.
PAPER_COLOUR, PAPER_MARKER = "#009E73", "*"
# From dark to light, also in greyscale; below this part of it, text is white.
SHADES, DARK_BELOW = "viridis", 0.55
_MOST_BARS = 60
INTERVALS = "means and 95 % intervals"


def subplots(
    size: tuple[float, float], title: str = "", rows: int = 1, columns: int = 1, **grid: Any
) -> tuple[Figure, Any]:
    """Returns an empty figure, whose size is in inches, with its axes: an array of them, or the only one."""
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    if title:
        figure.suptitle(text(title), fontsize="medium")
    return figure, figure.subplots(rows, columns, **grid)


def text(given: str) -> str:
    """Returns a text for a figure. A line whose formula matplotlib cannot read is shown as it was typed."""
    return "\n".join(line if _is_readable(line) else line.replace("$", r"\$") for line in given.split("\n"))


def _is_readable(line: str) -> bool:
    if "$" not in line:
        return True
    try:
        MathTextParser("path").parse(line)
    except ValueError:
        return False
    return True


def save(figure: Figure, path: pathlib.Path) -> None:
    """Writes a figure as PNG, whole or not at all; raises an OSError if the file cannot be written."""
    # PNG files name the version of matplotlib. Without it the file depends only on what is drawn.
    atomic.write(path, lambda partial: figure.savefig(partial, metadata={"Software": None}))


def colour(method: str) -> str:
    """Returns a method's colour; dark grey for no method in particular."""
    return COLOURS.get(method, "#009E73") if method else "#333333"


def shades(number: int) -> list[Colour]:
    """Returns colours from dark to light. In greyscale and to the colour-blind, too, they are in this order."""
    return [matplotlib.colormaps["inferno"](x) for x in np.linspace(0.05, 0.82, number)]


def line(index: int) -> str:
    """Returns a line style, different for neighbours."""
    return ("-", "--", "-.", ":")[index % 4]


def dots(number: int) -> str:
    """Returns the marker of a curve's points: a dot where there are so few that the line between them says little."""
    return "." if number < 12 else ""


def marker(index: int) -> str:
    """Returns a marker; the first eleven differ."""
    return "os^DvPXh<>p"[index % 11]


def whole_bins(largest: int) -> tuple[int, np.ndarray]:
    """Returns the width of a histogram's bars, and their edges: at most 60 bars, each of as many whole numbers."""
    width = largest // _MOST_BARS + 1
    return width, np.arange(0, largest + width + 1, width) - 0.5


def apart(number: int, reach: float) -> np.ndarray:
    """Returns factors from 1 / reach to reach. They move points apart that would hide each other on a log axis."""
    return np.geomspace(1 / reach, reach, number) if number > 1 else np.ones(1)


def log_axes(axes: Axes, xlabel: str, ylabel: str = "") -> None:
    """Makes both axes logarithmic, and labels them."""
    axes.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)


def workers_axis(axes: Axes, workers: Sequence[int], label: str = "workers $p$") -> None:
    """Makes the x axis logarithmic, with a tick at each number of workers."""
    axes.set(xscale="log", xlabel=label, xlim=(min(workers) / 1.25, max(workers) * 1.25))
    axes.set_xticks(list(workers), [str(p) for p in workers])
    axes.minorticks_off()


def bars(axes: Axes, x: ArrayLike, estimates: ArrayLike, **look: Any) -> None:
    """Draws estimates as points with their intervals as bars. An arrow upwards marks an interval without upper end."""
    value, low, high = np.asarray(estimates, float).reshape(-1, 3).T
    with np.errstate(invalid="ignore"):
        errors = np.nan_to_num(np.abs(np.stack([low, high]) - value), posinf=0.0)
    axes.errorbar(x, value, errors, **{"capsize": 2, "markersize": 5, **look})
    mark_limits(axes, x, value, np.isposinf(high), look["color"])


def mark_limits(axes: Axes, x: ArrayLike, y: ArrayLike, is_limit: ArrayLike, colour: Colour) -> None:
    """Marks with an arrow upwards the points that are only lower limits."""
    for left, bottom in np.stack([np.asarray(x, float), np.asarray(y, float)], axis=-1)[np.asarray(is_limit, bool)]:
        axes.annotate("", (left, bottom * 1.8), (left, bottom), arrowprops={"arrowstyle": "->", "color": colour})


def band(axes: Axes, x: ArrayLike, estimates: ArrayLike, alpha: float = 0.12, **look: Any) -> None:
    """Draws estimates as a line, with their intervals as a band."""
    value, low, high = np.asarray(estimates, float).reshape(-1, 3).T
    axes.plot(x, value, **look)
    if np.isfinite(low).any():
        axes.fill_between(x, low, high, color=look["color"], alpha=alpha, linewidth=0)


def power_law(axes: Axes, x: np.ndarray, exponent: float, point: Sequence[float], line: str = ":", **look: Any) -> None:
    """Draws y = c x^exponent through a point (x, y)."""
    axes.plot(x, point[1] * (x / point[0]) ** exponent, line, **{"color": REFERENCE_COLOUR, **look})


def legend_below(figure: Figure, columns: int, axes: Iterable[Axes], **look: Any) -> None:
    """Puts one legend for some axes below the figure, with each label once."""
    handles = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, **look)
