"""Runs on disk, sorted into studies: one problem and method, over delays and numbers of updates.

A cell is one rule of staleness at one K; a study is a table of cells, with one measurement for each seed.
"""

import dataclasses
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from asyncopt import theory
from asyncopt.checks import InputError
from asyncopt.run import names, staleness

# What is measured at the end of a run; the first two are what the theorems bound.
QUANTITIES = {
    "average_gap": "gap of the average, $F(\\bar x_K) - F^*$",
    "mean_grad_norm_sq": "mean of $\\|\\nabla F(x_k)\\|^2$ over the run",
    "gap": "gap of the last iterate, $F(x_K) - F^*$",
    "grad_norm_sq": "$\\|\\nabla F(x_K)\\|^2$ of the last iterate",
}
# Settings in which the runs of one study may differ.
_VARYING = {
    "trace.num_updates",
    "problem.num_updates",
    "trace.delay",
    "trace.max_delay",
    "trace.mean_delay",
    "trace.num_workers",
}
_SETTINGS = ("problem.", "optimizer.", "handling.", "trace.", "precision", "param_dtype", "history_dtype")
_PARTS = theory.Bound._fields


@dataclasses.dataclass(frozen=True, eq=False)
class Study:
    """One problem and method over delays and K.

    Args:
      name: problem, method and kind of trace, in words.
      problem: ``_target_`` of the problem.
      method: ``_target_`` of the optimizer.
      quantity: what is measured, a key of `QUANTITIES`.
      theorem: "convex" or "nonconvex", the bound that is about this quantity, or None.
      outside: why the theorem says nothing of these runs; empty if it does.
      cells: one row a cell, sorted by rule and K: ``rule`` (label), ``exponent`` and ``factor`` of it, ``num_updates``,
        ``delay`` (root mean square, in updates), ``mean_delay``, ``max_delay``, ``num_workers``, ``diverged`` (seeds),
        ``throughput`` (updates a second of the trace's clock, NaN without), and the bounds: ``a_priori``,
        ``a_posteriori`` and their parts.
      values: the measurement, a row a seed, a column a cell; inf where a run diverged.
      seeds: of the rows.
      limit: stands in for inf where a number is needed, as a lower limit: the largest finite value of all.
    """

    name: str
    problem: str
    method: str
    quantity: str
    theorem: str | None
    outside: str
    cells: pd.DataFrame
    values: Float[np.ndarray, "S C"]
    seeds: tuple[int, ...]
    limit: float

    @property
    def rules(self) -> list[str]:
        """Labels of the rules, from no delay to the longest."""
        return list(dict.fromkeys(self.cells["rule"]))

    @property
    def reference(self) -> str | None:
        """The rule without any delay, if there is one."""
        largest = self.cells.groupby("rule", sort=False)["max_delay"].max()
        return next((str(rule) for rule in largest.index[largest == 0]), None)

    def where(self, rule: str) -> Int[np.ndarray, " n"]:
        """Returns the columns of a rule's cells, by K."""
        return np.flatnonzero(self.cells["rule"] == rule)

    @property
    def finite(self) -> Float[np.ndarray, "S C"]:
        """The values, with `limit` for inf."""
        return np.where(np.isfinite(self.values), self.values, self.limit)

    @property
    def censored(self) -> Bool[np.ndarray, " C"]:
        """Cells of which only a lower limit is known, since a run diverged."""
        return np.any(~np.isfinite(self.values), axis=0)


def at(rule: str) -> str:
    """Returns a rule's label as it stands in a sentence: a number or a power of K is τ, a setting names itself."""
    return f"τ = {rule}" if rule[0].isdigit() or "K^" in rule else rule


def studies(runs: pd.DataFrame, quantity: str | None = None, min_updates: int = 0) -> list[Study]:
    """Sorts a table of runs into studies.

    Runs belong together if their configurations differ only in delays, K and seeds. What cannot be used is left out
    with a warning that says why.

    Args:
      runs: as `asyncopt.load_runs` returns it.
      quantity: what to measure; default: what the theorem for the problem bounds.
      min_updates: leave out shorter runs, in which the start is not forgotten.

    Raises:
      InputError: if nothing is left.
    """
    groups: dict[str, list[pd.DataFrame]] = {}
    # Split by the names alone: with a hundred columns, every other way copies all of them.
    for _, frame in runs.groupby("run", sort=False):
        frame = frame.dropna(axis="columns", how="all")
        problem = _refusal(frame)
        if problem:
            warnings.warn(f"left out: {frame['run'].iloc[0]}: {problem}", stacklevel=2)
        elif frame["summary.trace.num_updates"].iloc[0] >= min_updates:
            groups.setdefault(_setting(frame.iloc[0]), []).append(frame)
    found = [study for frames in groups.values() if (study := _study(frames, quantity)) is not None]
    if not found:
        raise InputError("no run that a study can be made of" + (f" from {min_updates} updates" if min_updates else ""))
    return found


def _refusal(frame: pd.DataFrame) -> str:
    """Says what is wrong with a run's table, or nothing."""
    needed = {
        "metrics.parquet": ["seed", "step", "objective", "grad_norm_sq", "average_objective", "drift"],
        "config.yaml": ["problem._target_", "optimizer._target_", "trace._target_"],
        "summary.json": [f"summary.trace.{n}" for n in ("num_updates", "max_delay", "mean_delay", "mean_square_delay")],
    }
    for file, fields in needed.items():
        for name in fields:
            if name not in frame:
                return f"{file} has no {name.removeprefix('summary.')}"
    try:
        _rule(frame.iloc[0])
    except InputError as error:
        return f"config.yaml: {error}"
    num_updates = frame["summary.trace.num_updates"].iloc[0]
    num_seeds = frame["seed"].nunique()
    steps = frame["step"].to_numpy()
    if len(steps) % num_seeds or not (steps.reshape(num_seeds, -1) == steps[: len(steps) // num_seeds]).all():
        return "metrics.parquet does not have the same steps for every seed"
    if steps[0] != 0 or steps[-1] != num_updates:
        return f"metrics.parquet covers updates {steps[0]} to {steps[-1]}, expected 0 to {num_updates}"
    return ""


def _setting(row: pd.Series) -> str:
    """Returns what runs of one study have in common, as one text."""
    names = sorted(str(name) for name in row.index if str(name).startswith(_SETTINGS) and name not in _VARYING)
    return json.dumps({name: str(row[name]) for name in names})


def _study(frames: Sequence[pd.DataFrame], quantity: str | None) -> Study | None:
    first = frames[0].iloc[0]
    convex = bool(first.get("summary.problem.convex", False))
    if quantity is None:
        quantity = "average_gap" if convex and "gap" in frames[0] else "mean_grad_norm_sq"
    name = _name(first)
    if quantity.endswith("gap") and any("gap" not in frame for frame in frames):
        warnings.warn(f"left out: {name}: F* is unknown, so there is no {quantity}", stacklevel=3)
        return None
    theorem = {"average_gap": "convex" if convex else None, "mean_grad_norm_sq": "nonconvex"}.get(quantity)
    outside = _outside(first, frames, theorem, quantity)
    rows = [_cell(frame, quantity, theorem if not outside else None) for frame in frames]
    rows.sort(key=lambda row: (row["exponent"], row["factor"], row["rule"], row["num_updates"]))
    kept: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        before = kept.setdefault((row["rule"], row["num_updates"]), row)
        if before is not row and not before["measured"].equals(row["measured"]):
            warnings.warn(
                f"left out: {row['run']}: another run of {at(row['rule'])} at K = {row['num_updates']:,} than "
                f"{before['run']}, and with other results",
                stacklevel=3,
            )
    rows = list(kept.values())
    seeds = sorted(set.intersection(*(set(row["measured"].index) for row in rows)))
    if not seeds:
        warnings.warn(f"left out: {name}: its runs have no seed in common", stacklevel=3)
        return None
    unpaired = sum(len(row["measured"]) - len(seeds) for row in rows)
    if unpaired:
        warnings.warn(f"{name}: {unpaired} runs left out, of seeds that not all cells have", stacklevel=3)
    values = np.stack([row.pop("measured").loc[seeds].to_numpy() for row in rows], axis=1)
    known = np.append(values[np.isfinite(values)], [row.pop("start") for row in rows])
    return Study(
        name=name,
        problem=str(first["problem._target_"]),
        method=str(first["optimizer._target_"]),
        quantity=quantity,
        theorem=theorem,
        outside=outside,
        cells=pd.DataFrame(rows).assign(diverged=(~np.isfinite(values)).sum(axis=0)),
        values=values,
        seeds=tuple(int(seed) for seed in seeds),
        limit=float(known.max()),
    )


def _name(row: pd.Series) -> str:
    problem = names.problem(row["problem._target_"], row.get("problem.data._target_"))
    within = {"asyncopt.Box": " in a box", "asyncopt.L2Ball": " in a ball"}.get(row.get("constraint._target_", ""), "")
    delays = names.last_word(row["trace._target_"])
    handling = row.get("handling._target_")
    handled = f", {names.last_word(handling)}" if handling else ""
    return f"{problem}{within}; {names.method(row['optimizer._target_'])}{handled}; {delays} delays"


def _outside(row: pd.Series, frames: Sequence[pd.DataFrame], theorem: str | None, quantity: str) -> str:
    """Says which hypothesis of the theorem these runs do not meet, or nothing."""

    def known(name: str) -> bool:
        return all(f"summary.problem.{name}" in frame for frame in frames)

    if theorem is None:
        return f"no theorem is about the {quantity.replace('_', ' ')} here"
    hypotheses = [
        (row["optimizer._target_"] == "asyncopt.apam", f"the method is {row['optimizer._target_']}"),
        ("handling._target_" not in row, f"stale gradients are handled by {row.get('handling._target_')}"),
        (not {"param_dtype", "history_dtype"} & set(row.index), "parameters or history are rounded to another dtype"),
        (
            row.get("optimizer.schedule") == "inverse_sqrt_horizon",
            f"the step size is {row.get('optimizer.schedule')}, not α/√K",
        ),
        (not row.get("optimizer.bias_correction", False), "the step is bias-corrected"),
        (all(f"optimizer.{n}" in row for n in ("learning_rate", "b1", "b2", "eps")), "its settings are not all known"),
        (all("scale_l1" in frame for frame in frames), "what the bound needs was not recorded"),
        (known("smoothness"), "L is unknown"),
        (known("gradient_bound"), "the gradients have no known bound"),
    ]
    if theorem == "convex":
        hypotheses.append((known("diameter"), "X is not a bounded box"))
    else:
        hypotheses += [
            ("constraint._target_" not in row, "there is a constraint"),
            (row.get("optimizer.eps", 0) > 0, "ε is 0"),
            (known("lower_bound"), "F has no known lower bound"),
        ]
    return next((reason for holds, reason in hypotheses if not holds), "")


def _cell(frame: pd.DataFrame, quantity: str, theorem: str | None) -> dict[str, Any]:
    """Returns the facts of one run, its measurement for each seed, and its bounds."""
    row = frame.iloc[0]
    trace = {name: row.get(f"summary.trace.{name}") for name in ("max_delay", "mean_delay", "num_workers")}
    num_updates = int(row["summary.trace.num_updates"])
    seeds = frame["seed"].unique()
    by_seed = {
        name: frame[name].to_numpy().reshape(len(seeds), -1)
        for name in frame
        if frame[name].dtype.kind in "if" and not str(name).startswith("summary.")
    }
    steps = by_seed["step"][0]
    measured = _measured(by_seed, steps, quantity)
    rule, factor, exponent = _rule(row)
    facts: dict[str, Any] = {
        "rule": rule,
        "exponent": exponent,
        "factor": factor,
        "num_updates": num_updates,
        "delay": float(np.sqrt(row["summary.trace.mean_square_delay"])),
        **trace,
        "throughput": num_updates / by_seed["time"][0, -1] if "time" in by_seed else np.nan,
        "run": frame["run"].iloc[0],
        "measured": pd.Series(measured, index=seeds),
        "start": float(np.max(by_seed[quantity.replace("mean_", "")][:, 0])),
    }
    if theorem is not None:
        facts |= _bounds(row, by_seed, steps, theorem)
    return facts


def _measured(by_seed: Mapping[str, np.ndarray], steps: np.ndarray, quantity: str) -> Float[np.ndarray, " S"]:
    if quantity == "mean_grad_norm_sq":
        return _mean_over_run(by_seed["grad_norm_sq"], steps)
    return by_seed[quantity][:, -1]


def _mean_over_run(values: Float[np.ndarray, "S E"], steps: Int[np.ndarray, " E"]) -> Float[np.ndarray, " S"]:
    """Returns the mean over iterates 0 to K - 1, on straight lines between the evaluations.

    Over the iterates from a to b - 1 such a line adds up to (b - a)(f_a + f_b)/2 + (f_a - f_b)/2. The second part,
    which an integral would not have, matters where the first few iterates are far above the others.
    """
    total = np.sum((values[:, 1:] + values[:, :-1]) / 2 * np.diff(steps), axis=1)
    return (total + (values[:, 0] - values[:, -1]) / 2) / steps[-1]


def _rule(row: pd.Series) -> tuple[str, float, float]:
    """Returns label, factor and exponent of the rule that a run's delays follow: the configured one, if there is one.

    Else the settings of its trace are the label; their mean delay as the factor puts them in order.
    """
    configured = row.get("staleness")
    if configured is not None and not pd.isna(configured):
        # Beside other runs' missing values, pandas makes whole numbers floats.
        rule = staleness.parse(configured if isinstance(configured, str) else int(configured))
        return rule.label, rule.factor, rule.exponent
    if row["summary.trace.max_delay"] == 0:
        return "0", 0.0, 0.0
    varying = [str(key) for key in row.index if key in _VARYING and str(key).startswith("trace.")]
    settings = {key.removeprefix("trace."): row[key] for key in varying if key != "trace.num_updates"}
    label = ", ".join(f"{key} = {value:g}" for key, value in settings.items()) or "the trace"
    return label, float(row["summary.trace.mean_delay"]), 0.0


def _bounds(
    row: pd.Series, by_seed: Mapping[str, np.ndarray], steps: np.ndarray, theorem: str
) -> dict[str, Float[np.ndarray, ""]]:
    """Returns both bounds and their parts; the a-posteriori one is the mean over the seeds."""
    problem = {name: row[f"summary.problem.{name}"] for name in ("smoothness", "gradient_bound", "dimension")}
    optimizer = {name: row[f"optimizer.{name}"] for name in ("b1", "eps")}
    num_updates = int(steps[-1])
    step_size = row["optimizer.learning_rate"] / np.sqrt(num_updates)
    common = {"num_updates": num_updates, "step_size": step_size}
    delays = {name: row[f"summary.trace.{name}"] for name in ("mean_square_delay", "mean_delay")}
    last = {name: values[:, -1] for name, values in by_seed.items()}
    if theorem == "convex":
        diameter = row["summary.problem.diameter"]
        a_priori = theory.convex_a_priori(
            **common,
            **problem,
            **optimizer,
            b2=row["optimizer.b2"],
            diameter=diameter,
            mean_square_delay=delays["mean_square_delay"],
        )
        a_posteriori = theory.convex_a_posteriori(
            num_updates=num_updates,
            step_size=last["step_size"],
            b1=optimizer["b1"],
            smoothness=problem["smoothness"],
            diameter=diameter,
            scale_l1=last["scale_l1"],
            scaled_momentum_sum=last["scaled_momentum_sum"],
            momentum_l1=last["momentum_l1"],
            mean_drift=np.sum(by_seed["drift"][:, 1:] * np.diff(steps), axis=1) / num_updates,
        )
    else:
        initial_gap = by_seed["objective"][:, 0] - row["summary.problem.lower_bound"]
        shared = {**common, **problem, **optimizer, **delays}
        a_priori = theory.nonconvex_a_priori(**shared, b2=row["optimizer.b2"], initial_gap=initial_gap)
        a_posteriori = theory.nonconvex_a_posteriori(
            **shared,
            initial_gap=initial_gap,
            mean_scaled_gradient=last["scaled_gradient_sum"] / num_updates,
            scaled_momentum_max=last["scaled_momentum_max"],
        )
    facts = {}
    for kind, bound in (("a_priori", a_priori), ("a_posteriori", a_posteriori)):
        facts[kind] = np.mean(bound.total)
        facts |= {f"{kind}_{part}": np.mean(getattr(bound, part)) for part in _PARTS}
    return facts
