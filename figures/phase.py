"""The phase diagram: how many more updates staleness costs, over K and τ."""

import pathlib

import numpy as np
import pandas as pd

from asyncopt.analysis import Measures
from asyncopt.analysis.fits import AT_LEAST
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.report import study_figures, style
from figures import reported
from figures.drawn import WIDTH, Drawn
from figures.rates import only_study

_CAPTION = """\
**How much staleness is harmless?** {name}; {seeds} seeds. A cell's number is how many times the updates are needed to
the accuracy that training without delay has after K updates. The largest staleness with at most {accepted} times the
updates grows as K to the {exponent}.

*The paper's* theorem ({source}) has τ = o(K^1/4) as sufficient for a nearly linear speed-up, and reports no such
diagram. That more is harmless here does not contradict it.
"""


def draw(folder: pathlib.Path) -> Drawn:
    """Returns the diagram of the report, at this gallery's size."""
    measures = Measures(only_study(folder))
    figure = study_figures.phase(measures, (WIDTH, 4.4))
    assert figure is not None, "the sweep has cells with delay"
    study, (value, side) = measures.study, (part[0] for part in measures.inflation)
    delayed = np.flatnonzero(study.cells["delay"] > 0)
    data = pd.DataFrame({
        "num_updates": study.cells["num_updates"].to_numpy()[delayed],
        "delay": study.cells["delay"].to_numpy()[delayed],
        "inflation": value[delayed],
        "is_lower_limit": side[delayed] == AT_LEAST,
    })  # fmt: skip
    facts = {
        "name": study.name,
        "seeds": len(study.seeds),
        "accepted": f"{ACCEPTED_INFLATION:g}",
        "exponent": style.with_interval(measures.estimate(measures.threshold_fit[:, 1])),
        "source": reported.SOURCE,
    }
    return Drawn(figure, _CAPTION, data, facts)
