"""Figures of a study: what was measured beside what theory says."""

import fractions
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from asyncopt.analysis import Measures, Study
from asyncopt.analysis.curves import speedups_to_accuracy
from asyncopt.analysis.fits import AT_LEAST, EXACT
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.analysis.rates import last_decade
from asyncopt.analysis.studies import QUANTITIES, at
from asyncopt.drawing import style, words
from asyncopt.theory import claims

ClaimType = TypeVar("ClaimType", bound=claims.Claim)

_WIDE, _NARROW = (10.4, 5.4), (6.8, 4.8)
# All inflations above this have the same colour.
_LARGEST_INFLATION = 30.0
# The first rule's points are drawn at K divided by this, the last rule's at K times this.
_APART = 1.12
_OUTLINE = [patheffects.Stroke(linewidth=3.5, foreground="white"), patheffects.Normal()]
_STALENESS = r"staleness $\tau$ (root mean square), updates"
_BOUNDS = {"a_posteriori": ("--", "a-posteriori bound"), "a_priori": (":", "a-priori bound")}


def all_figures(measures: Measures) -> dict[str, tuple[Figure, str]]:
    """Returns by file name each figure for which the study has the runs, with its caption."""
    drawn = {name: (draw(measures), caption) for name, (draw, caption) in _FIGURES.items()}
    return {name: (figure, caption) for name, (figure, caption) in drawn.items() if figure is not None}


@style.drawing
def rate(measures: Measures, rules: Sequence[str] | None = None, size: tuple[float, float] = _WIDE) -> Figure:
    """Returns the means against K along rules with their slopes over the last decade, and beside it the bounds.

    Without ``rules``, the left panel has all rules, and the right panel those that the theorem is about.
    """
    study, law = measures.study, _claim(measures.study, claims.Rate)
    figure, (left, right) = _subplots(study, size, 2)
    shown = rules or study.rules
    styles = rule_styles(study, shown)
    # Points of rules that make no difference would hide each other.
    for shift, rule in zip(style.apart(len(shown), _APART), shown, strict=True):
        (colour, marker), cells = styles[rule], study.where(rule)
        k = measures.num_updates(cells)
        last = last_decade(k)  # a fast start says nothing of the rate
        slope = measures.estimate(measures.slopes(rule, cells[last]))
        label = tau(rule) + ("" if np.isnan(slope.value) else f": slope {words.with_interval(slope)}")
        style.bars(left, shift * k, _means(measures, cells), fmt=marker, color=colour, label=label)
        style.mark_limits(left, shift * k, measures.means[0, cells], study.censored[cells], colour)
        if len(k) > 1 and np.isfinite(slope.value):
            centre = [np.exp(np.mean(np.log(values[last]))) for values in (k, measures.means[0, cells])]
            style.power_law(left, k[last], slope.value, centre, "-", color=colour, linewidth=1)
    k = measures.num_updates(np.arange(len(study.cells)))
    lowest = measures.means[0][measures.means[0] > 0].min(initial=np.inf)
    if law is not None and k.min() < k.max() and np.isfinite(lowest):
        # Below the data.
        label = f"theory: $K^{{{_fraction(law.exponent)}}}$"
        style.power_law(left, np.unique(k), law.exponent, (k.max(), 0.6 * lowest), "-.", label=label)
    left.set_title("measured; slopes over the last decade", fontsize="medium")
    bounds = _BOUNDS if "a_posteriori" in study.cells else {}
    about = [rule for rule in study.rules if rule == study.reference or (law and study.exponent(rule) == law.up_to)]
    for rule in rules or about or study.rules[:1]:
        (colour, marker), cells = styles[rule], study.where(rule)
        k = measures.num_updates(cells)
        style.bars(right, k, _means(measures, cells), fmt=f"{marker}-", color=colour)
        for kind, (line, _) in bounds.items():
            right.plot(k, study.cells[kind].iloc[cells], line, color=colour)
    for line, label in bounds.values():
        right.plot([], [], line, color="black", label=label)
    right.set_title("beside the bounds" if bounds else f"no bound: {study.outside}", fontsize="medium")
    style.log_axes(left, "updates $K$", QUANTITIES[study.quantity])
    style.log_axes(right, "updates $K$")
    style.legend_below(figure, 3 if size[0] > 8 else 2, (left, right), fontsize="small")
    return figure


@style.drawing
def phase(measures: Measures, size: tuple[float, float] = _NARROW) -> Figure | None:
    """Returns the inflation over τ and K, with the staleness that theory allows and the largest harmless one."""
    study, cells = measures.study, measures.study.cells
    value, side = (part[0] for part in measures.inflation)
    if np.isnan(value).all() or not (cells["delay"] > 0).any():
        return None
    lengths = np.sort(cells["num_updates"].unique())
    figure, axes = _subplots(study, size)
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
    for exponent, line in [*([(allowed.exponent, "-")] if allowed else []), (0.5, "--")]:
        look = {"color": "black", "linewidth": 1.4, "path_effects": _OUTLINE}
        label = rf"$\tau = K^{{{_fraction(exponent)}}}$"
        style.power_law(axes, span, exponent, (1.0, 1.0), line, label=label, **look)
    _draw_thresholds(axes, measures, span)
    style.log_axes(axes, "updates $K$", _STALENESS)
    axes.grid(visible=False)
    axes.set(xlim=span, ylim=(bottom, top))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    label = "updates to accuracy, over those without delay"
    look = {"ticks": [1, 2, 5, 10, 30], "format": "%g", "extend": "max", "label": label}
    figure.colorbar(axes.collections[0], ax=axes, **look).ax.minorticks_off()
    style.legend_below(figure, 2, [axes], fontsize="small")
    return figure


@style.drawing
def delay_term(measures: Measures) -> Figure | None:
    """Returns the excess over zero delay against τ for each K, with the fitted power law."""
    study, cells = measures.study, measures.study.cells
    delays = cells["delay"].to_numpy()
    compared = (measures.partner >= 0) & (delays > 0)
    usable = compared & (measures.excess[0] > 0)
    if not usable.any():
        return None
    figure, axes = _subplots(study)
    exponents, lengths = measures.excess_exponents(), np.sort(cells["num_updates"].unique())
    for index, (k, shade) in enumerate(zip(lengths, style.shades(len(lengths)), strict=True)):
        column = np.flatnonzero(usable & (cells["num_updates"] == k))
        column = column[np.argsort(delays[column])]
        if not len(column):
            continue
        delay, (mean, error) = delays[column], (part[column] for part in measures.excess)
        marker, fitted = style.marker(index), measures.in_delay_term[column]
        # A bar that reached zero could not be drawn on a logarithmic axis.
        low = mean - np.minimum(1.96 * error, 0.99 * mean)
        style.bars(axes, delay, np.stack([mean, low, mean + 1.96 * error], axis=-1), fmt="none", color=shade)
        axes.plot(delay[fitted], mean[fitted], marker, color=shade, markersize=6, label=f"$K$ = {k:,}")
        axes.plot(delay[~fitted], mean[~fitted], marker, color=shade, markerfacecolor="white", markersize=6)
        if exponents is not None and fitted.any():
            c, p, q = exponents[0]
            span = np.array([delay[fitted].min(), delay[fitted].max()])
            style.power_law(axes, span, p, (1.0, np.exp(c) * k**q), "-", color=shade, linewidth=1)
    if exponents is not None:
        p, q = (words.with_interval(measures.estimate(exponents[:, column])) for column in (1, 2))
        axes.plot([], [], color="black", linewidth=1, label=f"fit $\\tau^p K^q$: p = {p},\nq = {q}")
    limit = _claim(study, claims.DelayTerm)
    if limit is not None:
        guide = delays[usable].min() * np.array([1.0, 10.0])
        through = (guide[1], 0.5 * np.max(measures.excess[0][usable]))
        style.power_law(axes, guide, limit.delay, through, label=rf"the bounds' $\tau^{{{_fraction(limit.delay)}}}$")
    below = int(np.sum(compared & ~usable))
    if below:
        axes.plot([], [], " ", label=f"({below} cells at or below zero are not shown)")
    if not measures.in_delay_term[usable].all():
        label = "not in the fit: above all that is left at τ = 0"
        axes.plot([], [], "o", color="black", markerfacecolor="white", linestyle="none", label=label)
    style.log_axes(axes, _STALENESS, "excess over zero delay, same mini-batches\n" + QUANTITIES[study.quantity])
    style.legend_below(figure, 3, [axes], fontsize="small")
    return figure


@style.drawing
def tightness(measures: Measures) -> Figure | None:
    """Returns the bounds divided by the measured mean of every cell; below 1 a bound is broken."""
    study, cells = measures.study, measures.study.cells
    if "a_posteriori" not in cells:
        return None
    figure, axes = _subplots(study)
    axes.axhspan(1e-6, 1, color=style.RECORDED_COLOUR, alpha=0.5, linewidth=0)
    axes.axhline(1, color="black", linewidth=1)
    lowest = np.inf
    for rule, (colour, marker) in rule_styles(study, study.rules).items():
        columns = study.where(rule)
        mean = np.where(study.censored[columns], np.inf, measures.means[0, columns])
        for (kind, (line, _)), face in zip(_BOUNDS.items(), (colour, "white"), strict=True):
            ratio = cells[kind].to_numpy()[columns] / mean
            lowest = min(lowest, ratio[ratio > 0].min(initial=np.inf))
            look = {"color": colour, "markerfacecolor": face, "markersize": 5, "linewidth": 1}
            axes.plot(measures.num_updates(columns), ratio, marker + line, **look)
        axes.plot([], [], marker, color=colour, label=tau(rule))
    for line, label in _BOUNDS.values():
        axes.plot([], [], line, color="black", label=label)
    style.log_axes(axes, "updates $K$", "bound / measured mean")
    axes.set_ylim(bottom=min(0.4, lowest / 2))
    axes.text(0.01, 0.01, "bound broken", transform=axes.transAxes, fontsize="small")
    style.legend_below(figure, 4, [axes], fontsize="small")
    return figure


@style.drawing
def speedup(measures: Measures) -> Figure | None:
    """Returns the speed-up in time to accuracy against workers, where the traces have a clock."""
    cells = speedups_to_accuracy(measures)
    if cells.empty:
        return None
    figure, axes = _subplots(measures.study)
    by_length = list(cells.groupby("num_updates"))
    for index, ((k, column), shade) in enumerate(zip(by_length, style.shades(len(by_length)), strict=True)):
        look = {"fmt": f"{style.marker(index)}-", "color": shade, "label": f"$K$ = {k:,}"}
        style.bars(axes, column["num_workers"], column[["value", "low", "high"]], **look)
        axes.plot(column["num_workers"], column["throughput"], "_", color="black", markersize=12)
    axes.plot([], [], "_", color="black", markersize=12, label="throughput of the trace alone")
    style.power_law(axes, np.array([1, cells["num_workers"].max()]), 1.0, (1.0, 1.0), label="ideal")
    style.log_axes(axes, "workers $p$", "speed-up in simulated time to the same accuracy")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.legend(fontsize="small")
    return figure


# Each figure's function and caption, by file name.
_FIGURES: dict[str, tuple[Callable[[Measures], Figure | None], str]] = {
    "rate": (
        rate,
        "Left: the measured means against the number of updates, for each staleness rule. Points of different rules "
        "are moved apart a little in K. Lines are the fitted power laws. Right: the same means beside the bounds.",
    ),
    "phase": (
        phase,
        "How many times as many updates are needed because of a delay. Below the pink line it is at most a tenth more. "
        "≥ marks a lower limit: the run ended worse than any run without delay.",
    ),
    "delay_term": (delay_term, "What a delay adds, seed by seed on the same mini-batches."),
    "bounds": (tightness, "How far the bounds are above the measured mean, in every cell."),
    "speedup": (speedup, "Throughput of the trace's clock divided by the inflation in updates."),
}


def _subplots(study: Study, size: tuple[float, float] = _NARROW, columns: int = 1) -> tuple[Figure, Any]:
    seeds = words.seeds(len(study.seeds), style.INTERVALS)
    return style.subplots(size, f"{study.name}\n{seeds}", columns=columns)


def _claim(study: Study, kind: type[ClaimType]) -> ClaimType | None:
    """Returns what the study's theorem claims of this kind, or None."""
    all_claims = () if study.theorem is None else study.theorem.claims
    return next((claim for claim in all_claims if isinstance(claim, kind)), None)


def rule_styles(study: Study, rules: Sequence[str]) -> dict[str, tuple[style.Colour, str]]:
    """Returns each rule's colour and marker: without delay the method's colour, then ever lighter shades."""
    colours = dict(zip(rules, style.shades(len(rules)), strict=True))
    if study.reference in colours:
        colours[study.reference] = style.colour(study.method)
    return {rule: (colour, style.marker(index)) for index, (rule, colour) in enumerate(colours.items())}


def _fraction(exponent: float) -> str:
    return str(fractions.Fraction(exponent).limit_denominator(64))


def _means(measures: Measures, cells: np.ndarray) -> np.ndarray:
    """Returns the mean of each cell with its interval, float[n, 3]."""
    return np.array([measures.estimate(measures.means[:, cell]) for cell in cells]).reshape(-1, 3)


def _draw_thresholds(axes: Axes, measures: Measures, span: np.ndarray) -> None:
    """Draws the largest harmless staleness for each K, and its fit."""
    num_updates, value, side = measures.thresholds
    known = side[0] == EXACT
    if not known.any():
        return
    estimates = [measures.estimate(value[:, i]) for i in np.flatnonzero(known)]
    look = {"color": style.THRESHOLD_COLOUR, "label": f"largest with ≤ {ACCEPTED_INFLATION:g} times the updates"}
    style.bars(axes, num_updates[known], estimates, **look, fmt="o", markeredgecolor="white", markersize=6, capsize=3)
    c, p = measures.threshold_fit[0]
    if np.isfinite(p):
        exponent = words.with_interval(measures.estimate(measures.threshold_fit[:, 1]))
        look = {"color": style.THRESHOLD_COLOUR, "label": f"its fit, exponent {exponent}", "path_effects": _OUTLINE}
        style.power_law(axes, span, p, (1.0, np.exp(c)), "-", **look)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Returns the edges of cells with these centres on a logarithmic axis."""
    logs = np.log(np.asarray(centres, float))
    steps = np.diff(logs) if len(logs) > 1 else np.ones(1)
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp([logs[0] - steps[0] / 2, *middle, logs[-1] + steps[-1] / 2])


def tau(rule: str) -> str:
    """Returns a rule's label as mathematics."""
    if "K^" not in rule:
        return at(rule)
    factor, _, exponent = rule.rpartition("K^")
    return f"$\\tau = {factor}K^{{{exponent}}}$"
