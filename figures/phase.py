"""The phase diagram: how many more updates staleness costs, over K and τ."""

import pathlib

import numpy as np
import pandas as pd

from asyncopt.analysis import Measures
from asyncopt.analysis.fits import AT_LEAST
from asyncopt.analysis.inflation import ACCEPTED_INFLATION
from asyncopt.report import study_figures as report_figures
from figures import reported, style
from figures.rates import only_study
from figures.style import Drawn


def draw(folder: pathlib.Path) -> Drawn:
    """Returns the diagram of the report, at this gallery's size."""
    measures = Measures(only_study(folder))
    figure = report_figures.phase(measures)
    assert figure is not None, "the sweep has cells with delay"
    figure.set_size_inches(style.WIDTH, 4.4)
    study, (value, side) = measures.study, (part[0] for part in measures.inflation)
    delayed = np.flatnonzero(study.cells["delay"] > 0)
    data = pd.DataFrame({
        "num_updates": study.cells["num_updates"].to_numpy()[delayed],
        "delay": study.cells["delay"].to_numpy()[delayed],
        "inflation": value[delayed],
        "is_lower_limit": side[delayed] == AT_LEAST,
    })  # fmt: skip
    return Drawn(figure, data, _facts(measures))


def _facts(measures: Measures) -> dict[str, object]:
    exponent = measures.estimate(measures.threshold_fit[:, 1])
    return {
        "name": measures.study.name,
        "seeds": len(measures.study.seeds),
        "accepted": f"{ACCEPTED_INFLATION:g}",
        "exponent": f"{exponent.value:.2f} [{exponent.low:.2f}, {exponent.high:.2f}]",
        "source": reported.SOURCE,
    }
