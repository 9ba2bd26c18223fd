"""How all figures look: colours, markers, lines, axes, intervals and legends stand here, and nowhere else."""

import functools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from asyncopt.files import atomic

P = ParamSpec("P")
FigureOrNone = TypeVar("FigureOrNone", Figure, Figure | None)
Colour = str | tuple[float, ...]

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
# One colour a method, in every figure: Okabe and Ito's palette, which the colour-blind can tell apart.
COLOURS = {"APAM": "#0072B2", "SGD": "#D55E00", "SGD with momentum": "#E69F00", "synchronous AMSGrad": "#56B4E9"}
OTHER_COLOUR = "#009E73"
# Of the same palette, but no method's.
THRESHOLD_COLOUR = "#CC79A7"
RECORDED_COLOUR, MODEL_COLOUR = "#BBBBBB", "#000000"
REFERENCE_COLOUR = "#555555"
# What the paper reported has a colour and a marker that nothing measured here has.
PAPER_COLOUR, PAPER_MARKER = "#009E73", "*"
INTERVALS = "means and 95 % intervals"
_LINES, _MARKERS = ("-", "--", "-.", ":"), "os^DvPXh<>p"


class Drawing(Generic[P, FigureOrNone]):
    """A function that draws a figure in this style, with the figure's caption."""

    def __init__(self, draw: Callable[P, FigureOrNone], caption: str):
        functools.update_wrapper(self, draw)
        self._draw, self.caption = draw, caption

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FigureOrNone:
        """Draws the figure."""
        with matplotlib.rc_context(RC):
            return self._draw(*args, **kwargs)


def drawing(caption: str = "") -> Callable[[Callable[P, FigureOrNone]], Drawing[P, FigureOrNone]]:
    """Returns a decorator that gives a drawing function this style, and its figure a caption."""
    return lambda draw: Drawing(draw, caption)


def new(size: tuple[float, float], title: str = "") -> Figure:
    """Returns an empty figure of a size in inches."""
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure


def save(figure: Figure, path: pathlib.Path) -> None:
    """Writes a figure as PNG, whole or not at all.

    Raises:
      OSError: if the file cannot be written.
    """
    # Without matplotlib's version in it, the file depends only on what is drawn.
    atomic.write(path, lambda partial: figure.savefig(partial, metadata={"Software": None}))


def seeds(number: int, intervals: str = "") -> str:
    """Returns "1 seed", or "16 seeds" and what intervals over them show."""
    return "1 seed" if number == 1 else ", ".join(filter(None, [f"{number} seeds", intervals]))


def with_interval(estimate: tuple[float, float, float], form: str = ".2f") -> str:
    """Returns "value [low, high]", or the value alone where there is no interval."""
    value, low, high = (format(x, form) for x in estimate)
    return value if np.isnan(estimate[1]) else f"{value} [{low}, {high}]"


def colour(method: str) -> str:
    """Returns a method's colour."""
    return COLOURS.get(method, OTHER_COLOUR)


def shades(number: int) -> list[Colour]:
    """Returns colours from dark to light, which greyscale and the colour-blind also put in this order."""
    return [matplotlib.colormaps["inferno"](x) for x in np.linspace(0.05, 0.82, number)]


def line(index: int) -> str:
    """Returns a line style, different for neighbours."""
    return _LINES[index % len(_LINES)]


def marker(index: int) -> str:
    """Returns a marker, different for each of a few."""
    return _MARKERS[index % len(_MARKERS)]


def apart(number: int, reach: float) -> np.ndarray:
    """Returns factors between 1 / reach and reach: points set apart on a logarithmic axis do not hide each other."""
    return np.geomspace(1 / reach, reach, number) if number > 1 else np.ones(1)


def log_axes(axes: Axes, xlabel: str) -> None:
    """Makes both axes logarithmic, and names the lower one."""
    axes.set(xscale="log", yscale="log", xlabel=xlabel)


def workers_axis(axes: Axes, workers: Sequence[int], label: str = "workers $p$") -> None:
    """Makes the lower axis logarithmic, with a tick at each number of workers."""
    axes.set_xscale("log")
    axes.set_xticks(list(workers), [str(p) for p in workers])
    axes.minorticks_off()
    axes.set_xlim(min(workers) / 1.25, max(workers) * 1.25)
    axes.set_xlabel(label)


def bars(axes: Axes, x: ArrayLike, estimates: ArrayLike, **look: Any) -> None:
    """Draws estimates against x as points with their intervals as bars, no bar where an interval has no end.

    An estimate whose interval has no upper end also gets an arrow upwards.
    """
    value, low, high = np.asarray(estimates, float).reshape(-1, 3).T
    with np.errstate(invalid="ignore"):
        errors = np.nan_to_num(np.abs(np.stack([low, high]) - value), posinf=0.0)
    settings: dict[str, Any] = {"capsize": 2, "markersize": 5, **look}
    axes.errorbar(x, value, errors, **settings)
    mark_limits(axes, x, value, np.isposinf(high), look["color"])


def mark_limits(axes: Axes, x: ArrayLike, y: ArrayLike, is_limit: ArrayLike, colour: Colour) -> None:
    """Gives an arrow upwards to those points of which only a lower limit is known."""
    for left, bottom in np.stack([np.asarray(x, float), np.asarray(y, float)], axis=-1)[np.asarray(is_limit, bool)]:
        axes.annotate("", (left, bottom * 1.8), (left, bottom), arrowprops={"arrowstyle": "->", "color": colour})


def band(axes: Axes, x: ArrayLike, estimates: ArrayLike, alpha: float = 0.12, **look: Any) -> None:
    """Draws estimates against x as a line, with their intervals as a band."""
    value, low, high = np.asarray(estimates, float).reshape(-1, 3).T
    axes.plot(x, value, **look)
    if np.isfinite(low).any():
        axes.fill_between(x, low, high, color=look["color"], alpha=alpha, linewidth=0)


def power_law(
    axes: Axes, x: np.ndarray, exponent: float, through: tuple[float, float], line: str = ":", **look: Any
) -> None:
    """Draws y = c x^exponent through a point (x, y)."""
    settings: dict[str, Any] = {"color": REFERENCE_COLOUR, **look}
    axes.plot(x, through[1] * (x / through[0]) ** exponent, line, **settings)


def legend_below(figure: Figure, columns: int, axes: Iterable[Axes], **look: Any) -> None:
    """Puts one legend of some axes under the whole figure, each label once."""
    handles = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, **look)
