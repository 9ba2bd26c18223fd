"""From runs on disk to verdicts: cells of (τ, K), fits with intervals over seeds, and what they say about theorems."""

from asyncopt.analysis import certified as _certified  # noqa: F401  registers how certificates are judged
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.claims import judge
from asyncopt.analysis.measures import Measures
from asyncopt.analysis.studies import Study, studies
from asyncopt.analysis.verdict import CONFIRMED, CONSISTENT, INCONCLUSIVE, NOT_TESTED, VIOLATED, Verdict

__all__ = [
    "CONFIRMED",
    "CONSISTENT",
    "INCONCLUSIVE",
    "NOT_TESTED",
    "VIOLATED",
    "Estimate",
    "Measures",
    "Study",
    "Verdict",
    "judge",
    "studies",
]
