"""The phase diagram: how many times as many updates are needed because of staleness, over K and τ."""

import pathlib

import asyncopt
from asyncopt.analysis import Measures, studies
from asyncopt.analysis.fits import AT_LEAST
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.drawing import words
from asyncopt.report import study_figures
from figures.drawn import WIDTH, Drawn

_CAPTION = """\
**How much staleness is harmless?** {name}; {seeds} seeds. Training without delay reaches some accuracy in K updates. A
cell's number says how many times as many updates are needed with delay. The largest staleness with at most {accepted}
times the updates grows as K to the {exponent}.

*The paper's* theorem ({source}) has τ = o(K^1/4) as sufficient for a nearly linear speed-up; the paper has no such
diagram. That more is harmless here does not contradict the theorem.
"""


def draw(folder: pathlib.Path) -> Drawn:
    """Returns the diagram of the report, at this gallery's size."""
    study = studies(asyncopt.load_runs(folder))[0]
    measures = Measures(study)
    figure = study_figures.phase(measures, (WIDTH, 4.4))
    assert figure is not None, "the sweep has cells with delay"
    value, side = (part[0] for part in measures.inflation)
    data = study.cells[["num_updates", "delay"]].assign(inflation=value, is_lower_limit=side == AT_LEAST)
    exponent = words.with_interval(measures.estimate(measures.threshold_fit[:, 1]))
    facts = {"name": study.name, "seeds": len(study.seeds), "accepted": f"{ACCEPTED_INFLATION:g}", "exponent": exponent}
    return Drawn(figure, _CAPTION, data[data["delay"] > 0].reset_index(drop=True), facts)
