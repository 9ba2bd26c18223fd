"""What theory predicts: theorems with every constant, what they claim of runs, and the speed-up of p workers.

NumPy only. The derivations are in ``docs/theory.md``.
"""

from asyncopt.checks import InputError
from asyncopt.theory.convex import CONVEX, convex_a_posteriori, convex_a_priori
from asyncopt.theory.nonconvex import NONCONVEX, nonconvex_a_posteriori, nonconvex_a_priori
from asyncopt.theory.speedup import asynchronous_throughput, synchronous_throughput
from asyncopt.theory.theorem import Bound, Evidence, Theorem

# By name. Where several bound the same quantity, the first whose hypotheses hold is taken.
THEOREMS: dict[str, Theorem] = {theorem.name: theorem for theorem in (CONVEX, NONCONVEX)}


def register(theorem: Theorem) -> None:
    """Adds a theorem to `THEOREMS`, and so to studies, verdicts and reports.

    Raises:
      InputError: if there is one of that name.
    """
    if theorem.name in THEOREMS:
        raise InputError(f"there is a theorem named {theorem.name!r}, expected another name than {list(THEOREMS)}")
    THEOREMS[theorem.name] = theorem


def unregister(theorem: Theorem) -> None:
    """Removes a theorem that `register` added."""
    del THEOREMS[theorem.name]


__all__ = [
    "THEOREMS",
    "Bound",
    "Evidence",
    "Theorem",
    "asynchronous_throughput",
    "convex_a_posteriori",
    "convex_a_priori",
    "nonconvex_a_posteriori",
    "nonconvex_a_priori",
    "register",
    "synchronous_throughput",
    "unregister",
]
