"""The lines of a theorem's proof as measured: how much each of them loses."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asyncopt.analysis import Measures
from asyncopt.drawing import style
from asyncopt.report.study_figures import rule_styles, tau
from asyncopt.theory import Step

CAPTION = (
    "The proof, line by line, at the largest K. The first line is what was measured, and the last one is the bound "
    "from constants alone. Each line is at most the next one; the factor is what the step loses at the longest delay. "
    "A line marked E is above the line before it only as a mean over many seeds: the noise has mean 0. Points are "
    "means over seeds, and bars reach from the smallest to the largest seed."
)


@style.drawing
def proof(measures: Measures) -> Figure | None:
    """Returns the values of the proof's lines for each rule at the largest K, or None if they were not recorded."""
    study = measures.study
    last = {rule: study.where(rule)[-1] for rule in study.rules}
    shown = {rule: cell for rule, cell in last.items() if study.proofs and study.proofs[cell]}
    every = [step.values for cell in shown.values() for step in study.proofs[cell]]
    if not any((np.isfinite(values) & (values > 0)).any() for values in every):
        return None  # not recorded, or all seeds diverged
    steps = study.proofs[next(iter(shown.values()))]
    rows = {step.words: row for row, step in enumerate(steps)}
    figure, axes = style.subplots((10.4, 1.6 + 0.5 * len(steps)), study.name)
    styles = rule_styles(study, study.rules)
    for shift, (rule, cell) in zip(np.linspace(-0.2, 0.2, len(shown)), shown.items(), strict=True):
        colour, marker = styles[rule]
        lines = [(rows[step.words], step.values[np.isfinite(step.values)]) for step in study.proofs[cell]]
        lines = [(row + shift, values) for row, values in lines if len(values)]
        y, means = [row for row, _ in lines], np.array([values.mean() for _, values in lines])
        spans = np.array([[values.mean() - values.min(), values.max() - values.mean()] for _, values in lines]).T
        spans = np.maximum(spans, 0.0)  # the mean of equal numbers can be rounded to beyond them
        axes.errorbar(means, y, xerr=spans, fmt=f"{marker}-", color=colour, label=tau(rule), linewidth=1, capsize=2)
    _factors(axes, study.proofs[list(shown.values())[-1]], rows)
    axes.set_yticks(range(len(steps)), [f"{step.words}{' (E)' if step.in_expectation else ''}" for step in steps])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=f"value at $K$ = {measures.num_updates(np.array(list(shown.values()))).max():,.0f}")
    axes.legend(loc="upper right", fontsize="small")
    return figure


def _factors(axes: Axes, steps: Sequence[Step], rows: Mapping[str, int]) -> None:
    """Writes beside each line its factor over the line before, and the standard deviation of what has mean 0."""
    means = np.array([np.mean(step.values) for step in steps])
    for before, after, step in zip(means, means[1:], steps[1:], strict=False):
        spread = f" ± {step.deviation / before:.1g}" if step.deviation > 0 else ""
        text, place = f"×{after / before:.3g}{spread}  {step.reason}", (1.01, rows[step.words])
        axes.annotate(
            text, place, xycoords=("axes fraction", "data"), va="center", fontsize="small", annotation_clip=False
        )
