"""Figures of a study: what was measured beside what theory says. Made from run folders alone."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from asyncopt.analysis import Estimate, Measures, Study
from asyncopt.analysis.claims import CRITICAL_EXPONENT
from asyncopt.analysis.fits import AT_LEAST, EXACT
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.analysis.studies import QUANTITIES, at
from asyncopt.report.run_figures import COLOURS, OTHER_COLOUR, REFERENCE_COLOUR
from asyncopt.run import names

Colour = str | tuple[float, float, float, float]

_MARKERS = "osD^vP*Xh<>p"
_WIDE, _NARROW = (10.4, 5.4), (6.8, 4.8)
# Inflations above this look the same.
_LARGEST_INFLATION = 30.0
# The first and the last rule's points are drawn at K over and times this.
_APART = 1.12
# Of Okabe and Ito's palette, too, but no method's.
_THRESHOLD_COLOUR = "#CC79A7"
_OUTLINE = [patheffects.Stroke(linewidth=3.5, foreground="white"), patheffects.Normal()]


def all_figures(measures: Measures) -> dict[str, Figure]:
    """Returns every figure that the study has the runs for, by file name."""
    drawn = {name: draw(measures) for name, draw in _FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def rate(measures: Measures) -> Figure | None:
    """Returns what was measured against K along each rule, with slopes; and beside it the bounds."""
    study = measures.study
    figure = _new(_WIDE, study)
    left, right = figure.subplots(1, 2)
    # Rules are set apart a little, or those that make no difference would hide each other.
    styles = _styles(study)
    apart = np.geomspace(1 / _APART, _APART, len(study.rules)) if len(study.rules) > 1 else [1.0]
    for shift, (rule, (colour, marker)) in zip(apart, styles.items(), strict=True):
        cells = study.where(rule)
        k, mean, errors = _points(measures, cells)
        slope = measures.estimate(measures.slopes(rule))
        label = _tau(rule) + ("" if np.isnan(slope.value) else f": slope {slope.value:.2f}")
        label += "" if np.isnan(slope.low) else f"  [{slope.low:.2f}, {slope.high:.2f}]"
        left.errorbar(shift * k, mean, errors, fmt=marker, color=colour, markersize=5, capsize=2, label=label)
        _fit_line(left, k, mean, slope.value, colour)
        mark_limits(left, shift * k, mean, study.censored[cells], colour)
    _half_power(left, study, measures)
    means = "means over seeds, 95 % intervals" if len(study.seeds) > 1 else "one seed"
    left.set_title(f"measured: {means}", fontsize="medium")
    left.set_ylabel(QUANTITIES[study.quantity])

    drawn = [r for r in study.rules if r == study.reference or _exponent(study, r) == CRITICAL_EXPONENT]
    for rule in drawn or study.rules[:1]:
        colour, marker = styles[rule]
        cells = study.where(rule)
        k, mean, errors = _points(measures, cells)
        right.errorbar(k, mean, errors, fmt=f"{marker}-", color=colour, markersize=5, label=f"{_tau(rule)}: measured")
        if "a_posteriori" in study.cells:
            bounds = study.cells.iloc[cells]
            right.plot(k, bounds["a_posteriori"], "--", color=colour, label=f"{_tau(rule)}: a-posteriori bound")
            right.plot(k, bounds["a_priori"], ":", color=colour, label=f"{_tau(rule)}: a-priori bound")
    right.set_title(
        "beside the bounds" if "a_posteriori" in study.cells else f"no bound: {study.outside}", fontsize="medium"
    )
    for axes in (left, right):
        log_axes(axes, "updates $K$")
        axes.legend(
            frameon=False, fontsize="small", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14), borderaxespad=0
        )
    return figure


def phase(measures: Measures) -> Figure | None:
    """Returns the inflation over τ and K, with the staleness that theory allows and the largest harmless one."""
    study = measures.study
    value, side = (part[0] for part in measures.inflation)
    cells = study.cells
    if np.isnan(value).all() or not (cells["delay"] > 0).any():
        return None
    lengths = np.sort(cells["num_updates"].unique())
    figure = _new(_NARROW, study)
    axes = figure.add_subplot()
    norm, cmap = LogNorm(1.0, _LARGEST_INFLATION), matplotlib.colormaps["cividis_r"]
    bottom, top = np.inf, 0.0
    for k, left, right in zip(lengths, _edges(lengths)[:-1], _edges(lengths)[1:], strict=True):
        here = np.flatnonzero((cells["num_updates"] == k) & (cells["delay"] > 0))
        delays, first = np.unique(cells["delay"].to_numpy()[here], return_index=True)
        if not len(delays):
            continue
        here, edges = here[first], _edges(delays)
        shades = np.clip(value[here], 1.0, _LARGEST_INFLATION)[:, None]
        axes.pcolormesh([left, right], edges, shades, norm=norm, cmap=cmap, edgecolors="white", linewidth=0.6)
        for cell, delay in zip(here, delays, strict=True):
            text = f"≥ {value[cell]:.0f}" if side[cell] == AT_LEAST else f"{value[cell]:.3g}"
            text = "diverged" if study.censored[cell] else text
            shade = norm(np.clip(value[cell], 1.0, _LARGEST_INFLATION))
            axes.text(
                left * (right / left) ** 0.06,
                delay,
                text,
                ha="left",
                va="center",
                fontsize=7.5,
                color="white" if shade > 0.5 else "black",
                bbox={"facecolor": cmap(shade), "edgecolor": "none", "pad": 0.8},
                zorder=5,
            )
        bottom, top = min(bottom, edges[0]), max(top, edges[-1])
    span = np.array([_edges(lengths)[0], _edges(lengths)[-1]])
    for exponent, style, label in ((0.25, "-", r"$\tau = K^{1/4}$"), (0.5, "--", r"$\tau = K^{1/2}$")):
        axes.plot(span, span**exponent, style, color="black", linewidth=1.4, label=label, path_effects=_OUTLINE)
    _draw_thresholds(axes, measures, span)
    log_axes(axes, "updates $K$", grid=False)
    axes.set(xlim=span, ylim=(bottom, top), ylabel=r"staleness $\tau$ (root mean square), updates")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    mappable = ScalarMappable(norm=norm, cmap=cmap)
    bar = figure.colorbar(mappable, ax=axes, ticks=[1, 2, 5, 10, 30], format="%g", extend="max")
    bar.set_label("updates to accuracy, over those without delay")
    bar.ax.minorticks_off()
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def delay_term(measures: Measures) -> Figure | None:
    """Returns the excess over zero delay against τ for each K, with the fitted power law."""
    study, cells = measures.study, measures.study.cells
    compared = (measures.partner >= 0) & (cells["delay"].to_numpy() > 0)
    usable = compared & (measures.excess[0] > 0)
    if not usable.any():
        return None
    figure = _new(_NARROW, study)
    axes = figure.add_subplot()
    exponents = measures.excess_exponents
    lengths = np.sort(cells["num_updates"].unique())
    shades = _shades(len(lengths))
    for index, k in enumerate(lengths):
        here = np.flatnonzero(usable & (cells["num_updates"] == k))
        if not len(here):
            continue
        here = here[np.argsort(cells["delay"].to_numpy()[here])]
        delay, (mean, error) = cells["delay"].to_numpy()[here], (part[here] for part in measures.excess)
        marker, sure = _MARKERS[index % len(_MARKERS)], measures.in_delay_term[here]
        errors = np.stack([np.minimum(1.96 * error, 0.99 * mean), 1.96 * error])
        axes.errorbar(delay, mean, errors, fmt="none", ecolor=shades[index], capsize=2)
        axes.plot(delay[sure], mean[sure], marker, color=shades[index], markersize=6, label=f"$K$ = {k:,}")
        axes.plot(delay[~sure], mean[~sure], marker, color=shades[index], markerfacecolor="white", markersize=6)
        if exponents is not None and sure.any():
            c, p, q = exponents[0]
            span = np.array([delay[sure].min(), delay[sure].max()])
            axes.plot(span, np.exp(c) * span**p * k**q, color=shades[index], linewidth=1)
    if exponents is not None:
        p, q = (measures.estimate(exponents[:, column]) for column in (1, 2))
        axes.plot(
            [],
            [],
            color="black",
            linewidth=1,
            label=f"fit $\\tau^p K^q$: p = {p.value:.2f} [{p.low:.2f}, {p.high:.2f}],\n"
            f"q = {q.value:.2f} [{q.low:.2f}, {q.high:.2f}]",
        )
    low = cells["delay"].to_numpy()[usable].min()
    guide = np.array([low, low * 10])
    height = np.max(measures.excess[0][usable]) * 0.5
    axes.plot(guide, height * (guide / guide[1]) ** 2, ":", color=REFERENCE_COLOUR, label=r"the bounds' $\tau^2$")
    below = int(np.sum(compared & ~usable))
    if below:
        axes.plot([], [], " ", label=f"({below} cells at or below zero are not shown)")
    if not measures.in_delay_term[usable].all():
        label = "not in the fit: above all that is left at τ = 0"
        axes.plot([], [], "o", color="black", markerfacecolor="white", linestyle="none", label=label)
    log_axes(axes, r"staleness $\tau$ (root mean square), updates")
    axes.set_ylabel("excess over zero delay, same mini-batches\n" + QUANTITIES[study.quantity])
    axes.legend(frameon=False, fontsize="small")
    return figure


def tightness(measures: Measures) -> Figure | None:
    """Returns the bounds over the measurement for every cell; below 1 a bound would be broken."""
    study, cells = measures.study, measures.study.cells
    if "a_posteriori" not in cells:
        return None
    figure = _new(_NARROW, study)
    axes = figure.add_subplot()
    axes.axhspan(1e-6, 1, color="#bbbbbb", alpha=0.5, linewidth=0)
    axes.axhline(1, color="black", linewidth=1)
    lowest = np.inf
    for rule, (colour, marker) in _styles(study).items():
        here = study.where(rule)
        k, mean = measures.num_updates(here), np.where(study.censored[here], np.inf, measures.means[0, here])
        for kind, style, face in (("a_posteriori", "-", colour), ("a_priori", ":", "white")):
            ratio = cells[kind].to_numpy()[here] / mean
            lowest = min(lowest, ratio[ratio > 0].min(initial=np.inf))
            axes.plot(k, ratio, marker + style, color=colour, markerfacecolor=face, markersize=5, linewidth=1)
        axes.plot([], [], marker, color=colour, label=_tau(rule))
    axes.plot([], [], "k-", label="a-posteriori bound")
    axes.plot([], [], "k:", label="a-priori bound")
    log_axes(axes, "updates $K$")
    axes.set_ylim(bottom=min(0.4, lowest / 2))
    axes.text(0.01, 0.01, "bound broken", transform=axes.transAxes, fontsize="small")
    axes.set_ylabel("bound / measured mean")
    axes.legend(frameon=False, fontsize="small", ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return figure


def speedup(measures: Measures) -> Figure | None:
    """Returns the speed-up in time to accuracy against workers, where the traces have a clock."""
    study, cells = measures.study, measures.study.cells
    alone = {cells["num_updates"].iloc[c]: cells["throughput"].iloc[c] for c in np.unique(measures.partner) if c >= 0}
    usable = (measures.partner >= 0) & cells["throughput"].notna().to_numpy() & (cells["num_workers"].to_numpy() > 1)
    usable &= np.isfinite(measures.inflation[0][0]) & (measures.inflation[1][0] == EXACT)
    if not usable.any():
        return None
    figure = _new(_NARROW, study)
    axes = figure.add_subplot()
    lengths = np.sort(cells["num_updates"].unique())
    shades = _shades(len(lengths))
    for index, k in enumerate(lengths):
        here = np.flatnonzero(usable & (cells["num_updates"] == k))
        workers = cells["num_workers"].to_numpy(float)[here]
        faster = cells["throughput"].to_numpy()[here] / alone[k]
        found = [measures.estimate(faster[i] / measures.inflation[0][:, cell]) for i, cell in enumerate(here)]
        value, errors = error_bars(found)
        marker = _MARKERS[index % len(_MARKERS)]
        axes.errorbar(workers, value, errors, fmt=marker + "-", color=shades[index], capsize=2, label=f"$K$ = {k:,}")
        axes.plot(workers, faster, "_", color="black", markersize=12)
    most = cells["num_workers"].to_numpy()[usable].max()
    axes.plot([], [], "_", color="black", markersize=12, label="throughput of the trace alone")
    axes.plot([1, most], [1, most], ":", color=REFERENCE_COLOUR, label="ideal")
    log_axes(axes, "workers $p$")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_ylabel("speed-up in simulated time to the same accuracy")
    axes.legend(frameon=False, fontsize="small")
    return figure


_FIGURES: Mapping[str, Callable[[Measures], Figure | None]] = {
    "rate": rate,
    "phase": phase,
    "delay_term": delay_term,
    "bounds": tightness,
    "speedup": speedup,
}


def _new(size: tuple[float, float], study: Study) -> Figure:
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    seeds = f"{len(study.seeds)} seeds" if len(study.seeds) > 1 else "1 seed"
    figure.suptitle(f"{study.name}\n{seeds}", fontsize="medium")
    return figure


def log_axes(axes: Axes, xlabel: str, grid: bool = True) -> None:
    """Makes both axes logarithmic, with a name for the lower one and a grid behind the data."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(xlabel)
    if grid:
        axes.grid(which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)


def _styles(study: Study) -> dict[str, tuple[Colour, str]]:
    """Returns colour and marker of each rule: the method's own colour without delay, then ever lighter shades."""
    shades = _shades(len(study.rules))
    styles: dict[str, tuple[Colour, str]] = {
        rule: (shades[i], _MARKERS[i % len(_MARKERS)]) for i, rule in enumerate(study.rules)
    }
    if study.reference is not None:
        styles[study.reference] = (COLOURS.get(names.method(study.method), OTHER_COLOUR), _MARKERS[0])
    return styles


def _shades(number: int) -> list[Colour]:
    """Returns colours that also greyscale and the colour-blind put in this order."""
    return [matplotlib.colormaps["inferno"](x) for x in np.linspace(0.1, 0.8, number)]


def _points(measures: Measures, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns K, the means, and the lengths of the error bars of some cells."""
    mean, errors = error_bars([measures.estimate(measures.means[:, cell]) for cell in cells])
    return measures.num_updates(cells), mean, errors


def error_bars(found: Sequence[Estimate]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values, and how far their intervals reach below and above; 0 where there is none, or no end."""
    value, low, high = np.array(found).reshape(-1, 3).T
    with np.errstate(invalid="ignore"):
        return value, np.nan_to_num(np.abs(np.stack([low, high]) - value), posinf=0.0)


def _fit_line(axes: Axes, k: np.ndarray, mean: np.ndarray, slope: float, colour: Colour) -> None:
    if len(k) > 1 and np.isfinite(slope):
        middle = np.exp(np.mean(np.log(mean)) - slope * np.mean(np.log(k)))
        axes.plot(k, middle * k**slope, color=colour, linewidth=1)


def mark_limits(axes: Axes, k: np.ndarray, mean: np.ndarray, censored: np.ndarray, colour: Colour) -> None:
    """Gives an arrow upwards to points of which only a lower limit is known, or whose interval has no upper end."""
    for x, y in zip(k[censored], mean[censored], strict=True):
        axes.annotate("", (x, y * 1.8), (x, y), arrowprops={"arrowstyle": "->", "color": colour})


def _half_power(axes: Axes, study: Study, measures: Measures) -> None:
    """Draws the theorems' K^-1/2 below the data."""
    k = np.sort(study.cells["num_updates"].unique()).astype(float)
    lowest = measures.means[0][measures.means[0] > 0].min(initial=np.inf)
    if len(k) > 1 and np.isfinite(lowest):
        axes.plot(k, 0.6 * lowest * (k / k[-1]) ** -0.5, ":", color=REFERENCE_COLOUR, label="theory: $K^{-1/2}$")


def _draw_thresholds(axes: Axes, measures: Measures, span: np.ndarray) -> None:
    num_updates, value, side = measures.thresholds
    known = side[0] == EXACT
    if not known.any():
        return
    found = [measures.estimate(value[:, i]) for i in np.flatnonzero(known)]
    middle, errors = error_bars(found)
    axes.errorbar(
        num_updates[known],
        middle,
        errors,
        fmt="o",
        color=_THRESHOLD_COLOUR,
        markeredgecolor="white",
        capsize=3,
        label=f"largest with ≤ {ACCEPTED_INFLATION:g} times the updates",
    )
    c, p = measures.threshold_fit[0]
    if np.isfinite(p):
        exponent = measures.estimate(measures.threshold_fit[:, 1])
        known = "" if np.isnan(exponent.low) else f" [{exponent.low:.2f}, {exponent.high:.2f}]"
        label = f"its fit, exponent {exponent.value:.2f}{known}"
        axes.plot(span, np.exp(c) * span**p, color=_THRESHOLD_COLOUR, label=label, path_effects=_OUTLINE)


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


__all__ = ["all_figures", "delay_term", "phase", "rate", "speedup", "tightness"]
