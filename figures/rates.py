"""The theorems' rates: what was measured against K along rules of staleness, and the bounds beside it."""

import pathlib

import pandas as pd

import asyncopt
from asyncopt.analysis import Estimate, Measures, Study, studies
from asyncopt.analysis.studies import QUANTITIES
from asyncopt.report.run_figures import REFERENCE_COLOUR
from figures import reported, style
from figures.style import Drawn

_RULES = ("0", "K^1/4", "K^1/2")


def draw(folder: pathlib.Path) -> Drawn:
    """Returns means with K^-1/2, and the same beside both bounds."""
    measures = Measures(only_study(folder))
    study = measures.study
    rules = [rule for rule in study.rules if rule in _RULES] or study.rules
    figure = style.new(3.4)
    left, right = figure.subplots(1, 2)
    shades = style.shades(len(rules))
    rows = []
    for index, (rule, shade) in enumerate(zip(rules, shades, strict=True)):
        cells = study.where(rule)
        k = measures.num_updates(cells)
        found = [measures.estimate(measures.means[:, cell]) for cell in cells]
        look = {"color": shade, "label": rf"$\tau = {_mathematics(rule)}$", "linewidth": 1}
        for axes in (left, right):
            style.bars(axes, k, found, {**look, "fmt": style.marker(index) + "-"})
        bounds = study.cells.iloc[cells]
        right.plot(k, bounds["a_posteriori"], "--", color=shade)
        right.plot(k, bounds["a_priori"], ":", color=shade)
        for number, one, (_, bound) in zip(k, found, bounds.iterrows(), strict=True):
            both = {kind: bound[kind] for kind in ("a_posteriori", "a_priori")}
            rows.append({"rule": rule, "num_updates": int(number), **one._asdict(), **both})
    data = pd.DataFrame(rows)
    k = data["num_updates"].drop_duplicates().to_numpy(float)
    left.plot(k, 0.7 * data["value"].min() * (k / k[-1]) ** -0.5, color=REFERENCE_COLOUR, linestyle="-.",
              label="theory, $K^{-1/2}$")  # fmt: skip
    right.plot([], [], "k--", label="a-posteriori bound")
    right.plot([], [], "k:", label="a-priori bound")
    for axes in (left, right):
        axes.set(xscale="log", yscale="log", xlabel="updates $K$")
    quantity = QUANTITIES[study.quantity].replace(", ", ",\n").replace(" over", "\nover")
    left.set_ylabel(quantity)
    left.set_title("measured")
    right.set_title("beside the bounds")
    handles = {
        label: one for axes in (left, right) for one, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return Drawn(figure, data, _facts(measures, rules, data))


def only_study(folder: pathlib.Path) -> Study:
    """Returns the study of a sweep."""
    return studies(asyncopt.load_runs(folder))[0]


def _mathematics(rule: str) -> str:
    factor, power, exponent = rule.partition("K^")
    return f"{factor}K^{{{exponent}}}" if power else rule


def _facts(measures: Measures, rules: list[str], data: pd.DataFrame) -> dict[str, object]:
    slopes = [f"{_with_interval(measures.estimate(measures.slopes(rule)))} at τ = {rule}" for rule in rules]
    tight, loose = ((data["value"] / data[kind]).max() for kind in ("a_posteriori", "a_priori"))
    return {
        "name": measures.study.name,
        "seeds": len(measures.study.seeds),
        "shortest": f"{data['num_updates'].min():,}",
        "longest": f"{data['num_updates'].max():,}",
        "slopes": "; ".join(slopes),
        "tight": f"{tight:.2g}",
        "loose": f"{loose:.1e}",
        "source": reported.SOURCE,
    }


def _with_interval(found: Estimate) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
