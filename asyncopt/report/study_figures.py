"""Figures of a study: what was measured beside what theory says. Made from run folders alone."""

import fractions
from collections.abc import Sequence
from typing import TypeVar

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from asyncopt.analysis import Measures, Study
from asyncopt.analysis.curves import speedups_to_accuracy
from asyncopt.analysis.fits import AT_LEAST, EXACT
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.analysis.studies import QUANTITIES, at
from asyncopt.report import style
from asyncopt.theory import claims

ClaimType = TypeVar("ClaimType", bound=claims.Claim)

_WIDE, _NARROW = (10.4, 5.4), (6.8, 4.8)
# Inflations above this look the same.
_LARGEST_INFLATION = 30.0
# The first and the last rule's points are drawn at K over and times this.
_APART = 1.12
_OUTLINE = [patheffects.Stroke(linewidth=3.5, foreground="white"), patheffects.Normal()]
_BOUNDS = {"a_posteriori": ("--", "a-posteriori bound"), "a_priori": (":", "a-priori bound")}


def all_figures(measures: Measures) -> dict[str, tuple[Figure, str]]:
    """Returns each figure that the study has the runs for, with its caption, by file name."""
    drawn = {name: (draw(measures), draw.caption) for name, draw in _FIGURES.items()}
    return {name: (figure, caption) for name, (figure, caption) in drawn.items() if figure is not None}


@style.drawing(
    "Left: the measured means against the number of updates, for each staleness rule. Points are set apart a little in "
    "K; lines are the fitted power laws. Right: the same means beside the bounds."
)
def rate(measures: Measures, rules: Sequence[str] | None = None, size: tuple[float, float] = _WIDE) -> Figure:
    """Returns the means against K along rules with their slopes, and beside it the bounds.

    Args:
      measures: the study.
      rules: which rules to draw; default: all of them, and beside the bounds those that the theorem is about.
      size: width and height in inches.
    """
    study = measures.study
    law = _claim(study, claims.Rate)
    figure = _new(size, study)
    left, right = figure.subplots(1, 2)
    shown = rules or study.rules
    styles = _styles(study, shown)
    # Rules are set apart a little, or those that make no difference would hide each other.
    for shift, rule in zip(style.apart(len(shown), _APART), shown, strict=True):
        colour, marker = styles[rule]
        cells = study.where(rule)
        k, slope = measures.num_updates(cells), measures.estimate(measures.slopes(rule))
        label = _tau(rule) + ("" if np.isnan(slope.value) else f": slope {style.with_interval(slope)}")
        style.bars(left, shift * k, _means(measures, cells), fmt=marker, color=colour, label=label)
        mean = measures.means[0, cells]
        style.mark_limits(left, shift * k, mean, study.censored[cells], colour)
        if len(k) > 1 and np.isfinite(slope.value):
            centre = (np.exp(np.mean(np.log(k))), np.exp(np.mean(np.log(mean))))
            style.power_law(left, k, slope.value, centre, "-", color=colour, linewidth=1)
    left.set_title("measured", fontsize="medium")
    left.set_ylabel(QUANTITIES[study.quantity])
    _draw_theory(left, measures, law)

    bounds = _BOUNDS if "a_posteriori" in study.cells else {}
    about = [rule for rule in study.rules if rule == study.reference or (law and _exponent(study, rule) == law.up_to)]
    for rule in rules or about or study.rules[:1]:
        colour, marker = styles[rule]
        cells = study.where(rule)
        k = measures.num_updates(cells)
        style.bars(right, k, _means(measures, cells), fmt=f"{marker}-", color=colour)
        for kind, (line, _) in bounds.items():
            right.plot(k, study.cells[kind].iloc[cells], line, color=colour)
    for line, label in bounds.values():
        right.plot([], [], line, color="black", label=label)
    right.set_title("beside the bounds" if bounds else f"no bound: {study.outside}", fontsize="medium")
    for axes in (left, right):
        style.log_axes(axes, "updates $K$")
    style.legend_below(figure, 3 if size[0] > 8 else 2, (left, right), fontsize="small")
    return figure


@style.drawing(
    "How many times the updates a delay costs. Below the pink line it costs at most a tenth more. ≥: the run ended "
    "worse than any run without delay, so the cost is a lower limit."
)
def phase(measures: Measures, size: tuple[float, float] = _NARROW) -> Figure | None:
    """Returns the inflation over τ and K, with the staleness that theory allows and the largest harmless one."""
    study = measures.study
    value, side = (part[0] for part in measures.inflation)
    cells = study.cells
    if np.isnan(value).all() or not (cells["delay"] > 0).any():
        return None
    lengths = np.sort(cells["num_updates"].unique())
    figure = _new(size, study)
    axes = figure.add_subplot()
    norm, cmap = LogNorm(1.0, _LARGEST_INFLATION), matplotlib.colormaps["cividis_r"]
    bottom, top, sides = np.inf, 0.0, _edges(lengths)
    for k, left, right in zip(lengths, sides[:-1], sides[1:], strict=True):
        column = np.flatnonzero((cells["num_updates"] == k) & (cells["delay"] > 0))
        delays, first = np.unique(cells["delay"].to_numpy()[column], return_index=True)
        if not len(delays):
            continue
        column, edges = column[first], _edges(delays)
        clipped = np.clip(value[column], 1.0, _LARGEST_INFLATION)
        axes.pcolormesh([left, right], edges, clipped[:, None], norm=norm, cmap=cmap, edgecolors="white", linewidth=0.6)
        for cell, delay, shade in zip(column, delays, norm(clipped), strict=True):
            text = f"≥ {value[cell]:.0f}" if side[cell] == AT_LEAST else f"{value[cell]:.3g}"
            axes.text(
                left * (right / left) ** 0.06, delay, "diverged" if study.censored[cell] else text,
                ha="left", va="center", fontsize=7.5, color="white" if shade > 0.5 else "black", zorder=5,
                bbox={"facecolor": cmap(shade), "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip
        bottom, top = min(bottom, edges[0]), max(top, edges[-1])
    span = np.array([sides[0], sides[-1]])
    allowed = _claim(study, claims.Threshold)
    for exponent, line in ((allowed.exponent if allowed else None, "-"), (0.5, "--")):
        if exponent is not None:
            label = rf"$\tau = K^{{{_fraction(exponent)}}}$"
            look = {"color": "black", "linewidth": 1.4, "path_effects": _OUTLINE}
            style.power_law(axes, span, exponent, (1.0, 1.0), line, label=label, **look)
    _draw_thresholds(axes, measures, span)
    style.log_axes(axes, "updates $K$")
    axes.grid(visible=False)
    axes.set(xlim=span, ylim=(bottom, top), ylabel=r"staleness $\tau$ (root mean square), updates")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    mappable = ScalarMappable(norm=norm, cmap=cmap)
    bar = figure.colorbar(mappable, ax=axes, ticks=[1, 2, 5, 10, 30], format="%g", extend="max")
    bar.set_label("updates to accuracy, over those without delay")
    bar.ax.minorticks_off()
    style.legend_below(figure, 2, [axes], fontsize="small")
    return figure


@style.drawing("What a delay adds, seed by seed on the same mini-batches.")
def delay_term(measures: Measures) -> Figure | None:
    """Returns the excess over zero delay against τ for each K, with the fitted power law."""
    study, cells = measures.study, measures.study.cells
    delays = cells["delay"].to_numpy()
    compared = (measures.partner >= 0) & (delays > 0)
    usable = compared & (measures.excess[0] > 0)
    if not usable.any():
        return None
    figure = _new(_NARROW, study)
    axes = figure.add_subplot()
    exponents = measures.excess_exponents
    lengths = np.sort(cells["num_updates"].unique())
    for index, (k, shade) in enumerate(zip(lengths, style.shades(len(lengths)), strict=True)):
        column = np.flatnonzero(usable & (cells["num_updates"] == k))
        column = column[np.argsort(delays[column])]
        if not len(column):
            continue
        delay, (mean, error) = delays[column], (part[column] for part in measures.excess)
        marker, fitted = style.marker(index), measures.in_delay_term[column]
        # On a logarithmic axis a bar cannot reach zero.
        low = mean - np.minimum(1.96 * error, 0.99 * mean)
        style.bars(axes, delay, np.stack([mean, low, mean + 1.96 * error], axis=-1), fmt="none", color=shade)
        axes.plot(delay[fitted], mean[fitted], marker, color=shade, markersize=6, label=f"$K$ = {k:,}")
        axes.plot(delay[~fitted], mean[~fitted], marker, color=shade, markerfacecolor="white", markersize=6)
        if exponents is not None and fitted.any():
            c, p, q = exponents[0]
            span = np.array([delay[fitted].min(), delay[fitted].max()])
            style.power_law(axes, span, p, (1.0, np.exp(c) * k**q), "-", color=shade, linewidth=1)
    if exponents is not None:
        p, q = (style.with_interval(measures.estimate(exponents[:, column])) for column in (1, 2))
        label = f"fit $\\tau^p K^q$: p = {p},\nq = {q}"
        axes.plot([], [], color="black", linewidth=1, label=label)
    limit = _claim(study, claims.DelayTerm)
    if limit is not None:
        guide = delays[usable].min() * np.array([1.0, 10.0])
        highest = np.max(measures.excess[0][usable])
        label = rf"the bounds' $\tau^{{{_fraction(limit.delay)}}}$"
        style.power_law(axes, guide, limit.delay, (guide[1], 0.5 * highest), label=label)
    below = int(np.sum(compared & ~usable))
    if below:
        axes.plot([], [], " ", label=f"({below} cells at or below zero are not shown)")
    if not measures.in_delay_term[usable].all():
        label = "not in the fit: above all that is left at τ = 0"
        axes.plot([], [], "o", color="black", markerfacecolor="white", linestyle="none", label=label)
    style.log_axes(axes, r"staleness $\tau$ (root mean square), updates")
    axes.set_ylabel("excess over zero delay, same mini-batches\n" + QUANTITIES[study.quantity])
    style.legend_below(figure, 3, [axes], fontsize="small")
    return figure


@style.drawing("How far the bounds are above the measured mean, in every cell.")
def tightness(measures: Measures) -> Figure | None:
    """Returns the bounds over the measurement for every cell; below 1 a bound would be broken."""
    study, cells = measures.study, measures.study.cells
    if "a_posteriori" not in cells:
        return None
    figure = _new(_NARROW, study)
    axes = figure.add_subplot()
    axes.axhspan(1e-6, 1, color=style.RECORDED_COLOUR, alpha=0.5, linewidth=0)
    axes.axhline(1, color="black", linewidth=1)
    lowest = np.inf
    for rule, (colour, marker) in _styles(study, study.rules).items():
        columns = study.where(rule)
        mean = np.where(study.censored[columns], np.inf, measures.means[0, columns])
        for (kind, (line, _)), face in zip(_BOUNDS.items(), (colour, "white"), strict=True):
            ratio = cells[kind].to_numpy()[columns] / mean
            lowest = min(lowest, ratio[ratio > 0].min(initial=np.inf))
            look = {"color": colour, "markerfacecolor": face, "markersize": 5, "linewidth": 1}
            axes.plot(measures.num_updates(columns), ratio, marker + line, **look)
        axes.plot([], [], marker, color=colour, label=_tau(rule))
    for line, label in _BOUNDS.values():
        axes.plot([], [], line, color="black", label=label)
    style.log_axes(axes, "updates $K$")
    axes.set_ylim(bottom=min(0.4, lowest / 2))
    axes.text(0.01, 0.01, "bound broken", transform=axes.transAxes, fontsize="small")
    axes.set_ylabel("bound / measured mean")
    style.legend_below(figure, 4, [axes], fontsize="small")
    return figure


@style.drawing("Throughput of the trace's clock divided by the inflation in updates.")
def speedup(measures: Measures) -> Figure | None:
    """Returns the speed-up in time to accuracy against workers, where the traces have a clock."""
    cells = speedups_to_accuracy(measures)
    if cells.empty:
        return None
    figure = _new(_NARROW, measures.study)
    axes = figure.add_subplot()
    by_length = list(cells.groupby("num_updates"))
    for index, ((k, column), shade) in enumerate(zip(by_length, style.shades(len(by_length)), strict=True)):
        look = {"fmt": f"{style.marker(index)}-", "color": shade, "label": f"$K$ = {k:,}"}
        style.bars(axes, column["num_workers"], column[["value", "low", "high"]], **look)
        axes.plot(column["num_workers"], column["throughput"], "_", color="black", markersize=12)
    axes.plot([], [], "_", color="black", markersize=12, label="throughput of the trace alone")
    style.power_law(axes, np.array([1, cells["num_workers"].max()]), 1.0, (1.0, 1.0), label="ideal")
    style.log_axes(axes, "workers $p$")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_ylabel("speed-up in simulated time to the same accuracy")
    axes.legend(fontsize="small")
    return figure


_FIGURES = {"rate": rate, "phase": phase, "delay_term": delay_term, "bounds": tightness, "speedup": speedup}


def _new(size: tuple[float, float], study: Study) -> Figure:
    return style.new(size, f"{study.name}\n{style.seeds(len(study.seeds), style.INTERVALS)}")


def _claim(study: Study, kind: type[ClaimType]) -> ClaimType | None:
    """Returns the study's theorem's claim of a kind, or None if no theorem makes one."""
    made = () if study.theorem is None else study.theorem.claims
    return next((claim for claim in made if isinstance(claim, kind)), None)


def _styles(study: Study, rules: Sequence[str]) -> dict[str, tuple[style.Colour, str]]:
    """Returns colour and marker of each rule: the method's own colour without delay, then ever lighter shades."""
    colours = dict(zip(rules, style.shades(len(rules)), strict=True))
    if study.reference in colours:
        colours[study.reference] = style.colour(study.method)
    return {rule: (colour, style.marker(index)) for index, (rule, colour) in enumerate(colours.items())}


def _fraction(exponent: float) -> str:
    return str(fractions.Fraction(exponent).limit_denominator(64))


def _means(measures: Measures, cells: np.ndarray) -> np.ndarray:
    """Returns the mean of each cell with its interval, float[n, 3]."""
    return np.array([measures.estimate(measures.means[:, cell]) for cell in cells]).reshape(-1, 3)


def _draw_theory(axes: Axes, measures: Measures, law: claims.Rate | None) -> None:
    """Draws the theorem's power law below the data."""
    k = np.sort(measures.study.cells["num_updates"].unique()).astype(float)
    lowest = measures.means[0][measures.means[0] > 0].min(initial=np.inf)
    if law is not None and len(k) > 1 and np.isfinite(lowest):
        label = f"theory: $K^{{{_fraction(law.exponent)}}}$"
        style.power_law(axes, k, law.exponent, (k[-1], 0.6 * lowest), "-.", label=label)


def _draw_thresholds(axes: Axes, measures: Measures, span: np.ndarray) -> None:
    num_updates, value, side = measures.thresholds
    known = side[0] == EXACT
    if not known.any():
        return
    estimates = [measures.estimate(value[:, i]) for i in np.flatnonzero(known)]
    look = {"fmt": "o", "color": style.THRESHOLD_COLOUR, "markeredgecolor": "white", "markersize": 6}
    label = f"largest with ≤ {ACCEPTED_INFLATION:g} times the updates"
    style.bars(axes, num_updates[known], estimates, **look, capsize=3, label=label)
    c, p = measures.threshold_fit[0]
    if np.isfinite(p):
        exponent = measures.estimate(measures.threshold_fit[:, 1])
        label = f"its fit, exponent {style.with_interval(exponent)}"
        look = {"color": style.THRESHOLD_COLOUR, "path_effects": _OUTLINE}
        style.power_law(axes, span, p, (1.0, np.exp(c)), "-", label=label, **look)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Returns where neighbours meet on a logarithmic axis, and as far again at both ends."""
    logs = np.log(np.asarray(centres, float))
    if len(logs) == 1:
        return np.exp([logs[0] - 0.5, logs[0] + 0.5])
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))


def _exponent(study: Study, rule: str) -> float:
    return float(study.cells["exponent"].iloc[study.where(rule)[0]])


def _tau(rule: str) -> str:
    """Returns a rule's label as mathematics."""
    if "K^" not in rule:
        return at(rule)
    factor, _, exponent = rule.rpartition("K^")
    return f"$\\tau = {factor}K^{{{exponent}}}$"
