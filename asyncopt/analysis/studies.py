"""Sorts runs into studies: one problem and method, over delays and numbers of updates.

A cell is one staleness rule at one K. A study is a table of cells, with one measurement for each cell and seed.
"""

import dataclasses
import functools
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from asyncopt import theory
from asyncopt.analysis import cells, settings
from asyncopt.analysis.cells import QUANTITIES
from asyncopt.analysis.seeds import dependent
from asyncopt.checks import InputError
from asyncopt.theory import Certificate, Evidence, Step, Theorem, apam
from asyncopt.theory.claims import Claim

# The runs of one study have the same settings, except for K, delays and seeds.
_SETTINGS = ("problem.", "optimizer.", "handling.", "trace.", "precision", "param_dtype", "history_dtype")


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One problem and method over delays and K.

    ``cells`` has a row for each cell, sorted by rule and K: ``rule`` (label), its ``exponent`` and ``factor``,
    ``num_updates``, ``delay`` (root mean square, in updates), ``mean_delay``, ``max_delay``, ``num_workers``,
    ``diverged`` (seeds), ``throughput`` (updates a second of the trace's clock, NaN without a clock), and the bounds
    ``a_priori`` and ``a_posteriori`` with their parts. ``values`` has a row for each seed and a column for each cell.
    """

    name: str  #: problem, method and kind of trace in words
    method: str  #: the optimizer's label, such as "APAM"
    quantity: str  #: what is measured, a key of `QUANTITIES`
    theorem: Theorem | None  #: the theorem about this quantity
    outside: str  #: why the theorem does not apply to these runs, or ""
    cells: pd.DataFrame
    values: Float[np.ndarray, "S C"]  #: the measurement; inf where a run diverged
    seeds: tuple[int, ...]  #: the seeds of the rows
    limit: float  #: the largest finite value of all; replaces inf where a number is needed, as a lower limit
    #: the parts of the a-posteriori bound for each seed and cell, by name; empty without a bound
    bounds: Mapping[str, Float[np.ndarray, "S C"]] = dataclasses.field(default_factory=dict)
    proofs: tuple[tuple[Step, ...], ...] = ()  #: for each cell, the lines of the theorem's proof
    certificates: tuple[tuple[Certificate, ...], ...] = ()  #: for each cell, what its runs had to meet
    attains_rate: bool = False  #: whether the problem shows that no method is faster than the theorem's rate
    has_larger_steps: bool = False  #: whether several gradients make a step, of which no theorem says anything

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What the theorem claims; without a theorem, the claims on APAM, which these runs can only contradict.

        There is nothing to contradict if several gradients make a step, since K counts gradients.
        """
        if self.has_larger_steps:
            return ()
        return apam.CLAIMS if self.theorem is None else self.theorem.claims

    @property
    def rules(self) -> list[str]:
        """Labels of the rules, from no delay to the longest delay."""
        return list(dict.fromkeys(self.cells["rule"]))

    @functools.cached_property
    def reference(self) -> str | None:
        """The rule without any delay, if there is one."""
        largest = self.cells.groupby("rule", sort=False)["max_delay"].max()
        return next((str(rule) for rule in largest.index[largest == 0]), None)

    def where(self, rule: str | None) -> Int[np.ndarray, " n"]:
        """Returns the columns of a rule's cells, by K; None has no cells."""
        return self._columns.get(rule, np.array([], int))

    @functools.cached_property
    def _columns(self) -> dict[str | None, Int[np.ndarray, " n"]]:
        rules = self.cells["rule"].to_numpy(object)
        return {rule: np.flatnonzero(rules == rule) for rule in dict.fromkeys(rules)}

    def exponent(self, rule: str) -> float:
        """Returns the exponent of K in a rule."""
        return float(self.cells["exponent"].iloc[self.where(rule)[0]])

    @functools.cached_property
    def dependent_seeds(self) -> str:
        """That two seeds are the same or correlated, with their names, or ""."""
        return dependent(self.values, self.seeds)

    @property
    def finite(self) -> Float[np.ndarray, "S C"]:
        """The values, with `limit` for inf."""
        return np.where(np.isfinite(self.values), self.values, self.limit)

    @property
    def censored(self) -> Bool[np.ndarray, " C"]:
        """Whether only a lower limit of a cell's mean is known, since a run diverged."""
        return np.any(~np.isfinite(self.values), axis=0)


def at(rule: str) -> str:
    """Returns a rule's label for a sentence: "τ = K^1/4", or a setting by its own name, "max_delay = 8"."""
    return f"τ = {rule}" if rule[0].isdigit() or "K^" in rule else rule


def studies(runs: pd.DataFrame, quantity: str | None = None, min_updates: int = 0) -> list[Study]:
    """Sorts a table of runs into studies.

    Runs belong together if their configurations differ only in delays, K and seeds. A run that cannot be used is left
    out with a warning that says why.

    Args:
      runs: as `asyncopt.load_runs` returns it.
      quantity: what to measure; default: what the first theorem about the problem bounds.
      min_updates: shorter runs are left out, since they still depend on the start.

    Raises:
      InputError: if no run is left.
    """
    groups: dict[str, list[Evidence]] = {}
    # Split by the names alone: with a hundred columns, every other way copies all of them.
    for name, table in runs.groupby("run", sort=False):
        frame = table.dropna(axis="columns", how="all")
        if reason := cells.refusal(frame):
            warnings.warn(f"left out: {name}: {reason}", stacklevel=2)
        elif frame["summary.trace.num_updates"].iloc[0] >= min_updates:
            run = cells.evidence(frame)
            groups.setdefault(_common_settings(run), []).append(run)
    sorted_runs = {key: study for key, members in groups.items() if (study := _study(members, quantity)) is not None}
    if not sorted_runs:
        raise InputError("no run that a study can be made of" + (f" from {min_updates} updates" if min_updates else ""))
    parts = {key: json.loads(key) for key in sorted_runs}
    names = settings.names((study.name, parts[key]) for key, study in sorted_runs.items())
    return [dataclasses.replace(study, name=names[settings.key(parts[key])]) for key, study in sorted_runs.items()]


def _common_settings(run: Evidence) -> str:
    """Returns the settings that the runs of one study have in common, as JSON."""
    staleness = {f"trace.{name}" for name in json.loads(run.facts["summary.staleness.settings"])}
    names = sorted(name for name in run.facts.keys() - staleness if name.startswith(_SETTINGS))
    return json.dumps({name: str(run.facts[name]) for name in names if not name.endswith(".num_updates")})


def _study(runs: Sequence[Evidence], quantity: str | None) -> Study | None:
    name = _name(runs[0])
    if quantity is None:
        bounded = (theorem.quantity for theorem in theory.THEOREMS.values() if theorem.concerns(runs[0]))
        quantity = next((bound for bound in bounded if cells.column(bound) in runs[0].columns), None)
        if quantity is None:
            warnings.warn(f"left out: {name}: no theorem is about it; expected a quantity (--quantity)", stacklevel=3)
            return None
    if any(cells.column(quantity) not in run.columns for run in runs):
        warnings.warn(f"left out: {name}: F* is unknown, so there is no {quantity}", stacklevel=3)
        return None
    theorem, outside = _theorem(quantity, runs)
    rows = [cells.cell(run, quantity, None if outside else theorem) for run in runs]
    rows.sort(key=lambda row: (row["exponent"], row["factor"], row["rule"], row["num_updates"]))
    rows = _without_repetitions(rows)
    seeds = sorted(set.intersection(*(set(row["measured"].index) for row in rows)))
    if not seeds:
        warnings.warn(f"left out: {name}: its runs have no seed in common", stacklevel=3)
        return None
    if unpaired := sum(len(row["measured"]) - len(seeds) for row in rows):
        warnings.warn(f"{name}: {unpaired} runs left out, of seeds that not all cells have", stacklevel=3)
    values = np.stack([row.pop("measured").loc[seeds].to_numpy() for row in rows], axis=1)
    tables = [row.pop("bounds").loc[seeds] for row in rows]
    bounds = {part: np.stack([table[part].to_numpy(float) for table in tables], axis=1) for part in tables[0]}
    proofs, certificates = (tuple(row.pop(name) for row in rows) for name in ("proof", "certificates"))
    finite = np.append(values[np.isfinite(values)], [row.pop("start") for row in rows])
    return Study(
        name=name, method=str(runs[0].facts["summary.labels.optimizer"]),
        quantity=quantity, theorem=theorem, outside=outside,
        cells=pd.DataFrame(rows).assign(diverged=(~np.isfinite(values)).sum(axis=0)),
        values=values, seeds=tuple(int(seed) for seed in seeds), limit=float(finite.max()),
        bounds=bounds, proofs=proofs, certificates=certificates,
        attains_rate=bool(runs[0].facts.get("summary.problem.attains_rate", False)),
        has_larger_steps=any(run.has_larger_steps for run in runs),
    )  # fmt: skip


def _without_repetitions(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the first row of each cell; warns where another run of the cell has other results."""
    first: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        before = first.setdefault((row["rule"], row["num_updates"]), row)
        if before is not row and not before["measured"].equals(row["measured"]):
            cell = f"{at(row['rule'])} at K = {row['num_updates']:,}"
            message = f"another run of {cell} than {before['run']}, and with other results"
            warnings.warn(f"left out: {row['run']}: {message}", stacklevel=4)
    return list(first.values())


def _name(run: Evidence) -> str:
    names = ("problem", "constraint", "optimizer", "handling", "trace")
    problem, constraint, optimizer, handling, trace = (run.facts.get(f"summary.labels.{name}") for name in names)
    within = f" in a {constraint}" if constraint else ""
    delays = trace if "trace.policy._target_" in run.facts else f"{trace} delays"
    return f"{problem}{within}; {optimizer}{f', {handling}' if handling else ''}; {delays}"


def _theorem(quantity: str, runs: Sequence[Evidence]) -> tuple[Theorem | None, str]:
    """Returns the theorem about a quantity, and the hypothesis that the runs do not meet, or ""."""
    candidates = [theorem for theorem in theory.THEOREMS.values() if theorem.is_about(quantity, runs[0])]
    if not candidates:
        return None, f"no theorem is about the {quantity.replace('_', ' ')} here"
    reasons = [theorem.outside(runs) for theorem in candidates]
    chosen = reasons.index("") if "" in reasons else 0
    return candidates[chosen], reasons[chosen]


__all__ = ["QUANTITIES", "Study", "at", "studies"]
