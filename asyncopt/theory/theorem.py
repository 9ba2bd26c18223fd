"""A theorem as one value: what it bounds, for which runs, by how much, and what follows from it.

A new theorem is one module with one `Theorem`, and one call of `asyncopt.theory.register`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from asyncopt.theory.claims import Claim

Array = Float[np.ndarray, "..."]


class Bound(NamedTuple):
    """An upper bound in its three parts, with their orders at step size α/√K."""

    leading: Array  # O(1/√K), what remains without delay at large K
    lower_order: Array  # O(1/K) and smaller, free of delay
    delay: Array  # O(mean τ²/K), zero without delay

    @property
    def total(self) -> Array:
        """The bound."""
        return self.leading + self.lower_order + self.delay


@dataclasses.dataclass(frozen=True, eq=False)
class Certificate:
    """An inequality of a proof that holds in every run without expectations, as one run with all its seeds met it."""

    name: str  #: one word
    words: str  #: the inequality, for readers
    left: Shaped[np.ndarray, " S"]  #: the smaller side after the last update
    right: Shaped[np.ndarray, " S"]  #: the larger side
    broken_at: Shaped[np.ndarray, " S"]  #: the first update after which it did not hold, or -1


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One line of a proof, evaluated on a run: at most the next line, as a mean over many seeds."""

    words: str  #: what it is, for readers
    reason: str  #: why the line before is at most this one
    values: Shaped[np.ndarray, " S"]  #: its value for each seed
    in_expectation: bool = False  #: whether it is above the line before in expectation only
    deviation: float = 0.0  #: the standard deviation of the noise that a line in expectation leaves out, 0 if unknown


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """One run with all its seeds, as theorems read it."""

    facts: Mapping[str, Any]  #: configuration and summary, flat: "optimizer.b1"; an unknown fact has no key
    columns: Mapping[str, Shaped[np.ndarray, "S E"]]  #: what was recorded at each evaluation, "step" included

    @property
    def num_updates(self) -> int:
        """K."""
        return int(self.columns["step"][0, -1])

    @property
    def has_larger_steps(self) -> bool:
        """Whether several gradients make a step, or some make none; K counts gradients, not steps."""
        return self.facts.get("summary.trace.num_steps", self.num_updates) != self.num_updates

    def take(self, section: str, *names: str) -> dict[str, Any]:
        """Returns the facts of a section by their own names."""
        return {name: self.facts[f"{section}.{name}"] for name in names}

    def last(self, *names: str) -> dict[str, Shaped[np.ndarray, " S"]]:
        """Returns the values of columns at the last evaluation."""
        return {name: self.columns[name][:, -1] for name in names}

    def sum_until(self, name: str, evaluation: int) -> Float[np.ndarray, " S"]:
        """Returns the sum of a column over the iterates before an evaluation, with straight lines between evaluations.

        The sum of a line over the iterates a to b - 1 is (b - a)(f_a + f_b)/2 + (f_a - f_b)/2. An integral lacks the
        second part, which matters where the first few iterates are far above the others.
        """
        values, steps = self.columns[name][:, : evaluation + 1], self.columns["step"][0, : evaluation + 1]
        total = np.sum((values[:, 1:] + values[:, :-1]) / 2 * np.diff(steps), axis=1)
        return total + (values[:, 0] - values[:, -1]) / 2

    def mean_over_run(self, name: str) -> Float[np.ndarray, " S"]:
        """Returns the mean of a column over iterates 0 to K - 1, by `sum_until`."""
        return self.sum_until(name, len(self.columns["step"][0]) - 1) / self.num_updates


# Returns why a run does not meet the hypothesis, or "".
Hypothesis = Callable[[Evidence], str]


def known(fact: str, otherwise: str) -> Hypothesis:
    """Returns the hypothesis that a fact is known; ``otherwise`` is the reason given if it is not."""
    return lambda run: "" if fact in run.facts else otherwise


def absent(fact: str, otherwise: str) -> Hypothesis:
    """Returns the hypothesis that a fact is unknown or false; {} in ``otherwise`` stands for its value."""
    return lambda run: otherwise.format(run.facts[fact]) if run.facts.get(fact) else ""


def equal(fact: str, value: Any, otherwise: str) -> Hypothesis:
    """Returns the hypothesis that a fact has this value; {} in ``otherwise`` stands for the actual value."""
    return lambda run: "" if run.facts.get(fact) == value else otherwise.format(run.facts.get(fact))


@dataclasses.dataclass(frozen=True)
class Theorem:
    """A theorem, as a value."""

    name: str  #: one word, for tables
    title: str  #: what it bounds, for readers
    quantity: str  #: what it bounds, a key of `asyncopt.analysis.studies.QUANTITIES`
    concerns: Callable[[Evidence], bool]  #: whether it is about the problem of a run
    hypotheses: tuple[Hypothesis, ...]  #: each returns why a run does not meet it, or ""
    columns: tuple[str, ...]  #: the recorded columns that its bounds need
    a_priori: Callable[[Evidence], Bound]  #: the bound from constants and the trace
    a_posteriori: Callable[[Evidence], Bound]  #: the bound for each seed, from what the run measured
    claims: tuple[Claim, ...]  #: what follows from it, in the order of reports
    a_priori_needs: tuple[Hypothesis, ...] = ()  #: what the a-priori bound needs besides; without it, it is infinite
    steps: Callable[[Evidence], tuple[Step, ...]] = lambda run: ()  #: its proof line by line, from what was measured
    certificates: Callable[[Evidence], tuple[Certificate, ...]] = lambda run: ()  #: what every run must meet

    def is_about(self, quantity: str, run: Evidence) -> bool:
        """Whether the theorem bounds this quantity for such a problem."""
        return quantity == self.quantity and self.concerns(run)

    def outside(self, runs: Sequence[Evidence]) -> str:
        """Returns the first hypothesis that some of the runs do not meet, in words; "" if all meet all."""
        reasons = (reason for hypothesis in self.hypotheses for run in runs if (reason := hypothesis(run)))
        missing = (name for name in self.columns for run in runs if name not in run.columns)
        return next(reasons, "") or next((f"what the bound needs was not recorded: {name}" for name in missing), "")

    def bound_a_priori(self, run: Evidence) -> Bound:
        """Returns the a-priori bound; infinite if the run does not meet what it needs."""
        if any(need(run) for need in self.a_priori_needs):
            return Bound(np.asarray(np.inf), np.asarray(0.0), np.asarray(0.0))
        return self.a_priori(run)


def floats(*values: ArrayLike) -> tuple[Array, ...]:
    """Returns numbers or arrays as arrays of floats."""
    return tuple(np.asarray(value, float) for value in values)
