"""Whether every run met the certificates of its theorem. No statistics: they hold in each run, not on average."""

import math

import numpy as np

from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.claims import verdicts
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.studies import Study, at
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED, Verdict
from asyncopt.theory import Certificate, claims


@verdicts.register
def _certified(claim: claims.Certified, measures: Measures) -> list[Verdict]:
    """One verdict for each certificate that all cells have."""
    if not measures.study.certificates:
        return []
    names = [{certificate.name for certificate in cell} for cell in measures.study.certificates]
    common = [each.name for each in measures.study.certificates[0] if all(each.name in cell for cell in names)]
    return [_verdict(measures.study, name) for name in common]


def _verdict(study: Study, name: str) -> Verdict:
    cells = [next(each for each in cell if each.name == name) for cell in study.certificates]
    words = f"certificate of every run ({name}): {cells[0].words}"
    finished = [np.isfinite(each.broken_at) & np.isfinite(each.left) & np.isfinite(each.right) for each in cells]
    largest = max((_largest_ratio(*each) for each in zip(cells, finished, strict=True)), default=math.nan)
    measured, number = Estimate(largest, math.nan, math.nan), int(sum(map(np.sum, finished)))
    updates = [each.broken_at[np.isfinite(each.broken_at) & (each.broken_at >= 0)] for each in cells]
    broken = [(cell, some) for cell, some in enumerate(updates) if len(some)]
    if broken:
        cell, first = broken[0]
        place = f"{at(study.cells['rule'].iloc[cell])}, K = {study.cells['num_updates'].iloc[cell]:,}"
        total = sum(len(some) for _, some in broken)
        rule = f"broken in {total} runs; at {place} first at update {int(first.min()):,}"
        return Verdict(words, "in every run", measured, number, VIOLATED, rule)
    if not number:
        return Verdict(words, "in every run", measured, number, INCONCLUSIVE, "all runs diverged")
    # In some run the larger side cannot be half as large.
    noticed = ("bound halved",) if largest > 0.5 else ()
    total = sum(each.size for each in finished)
    runs = "all runs" if number == total else f"the {number} of {total} runs that did not diverge"
    return Verdict(words, "in every run", measured, number, CONFIRMED, f"after every update of {runs}", noticed)


def _largest_ratio(certificate: Certificate, finished: np.ndarray) -> float:
    positive = finished & (certificate.right > 0)
    return float(np.max(certificate.left[positive] / certificate.right[positive], initial=0.0))
