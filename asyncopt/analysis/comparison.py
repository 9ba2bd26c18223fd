"""Methods side by side on one simulated clock: each with the step size that suits it, to a target that all share.

A setting is one clock and one number of workers. Step sizes are chosen on half of the seeds, and what is reported comes
from the other half, so that no method is judged by the runs that chose its step.
"""

import dataclasses
import functools
import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from asyncopt.analysis import bootstrap
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.checks import InputError, check_number
from asyncopt.files.records import Record
from asyncopt.run import names

OURS, SYNCHRONOUS = "APAM", "synchronous AMSGrad"
# What falls during training: F, and the share of the held-out rows that are classified wrongly.
QUANTITIES = {"loss": "objective $F(x_k)$", "error": "held-out error"}
RANDOM, STEADY = "exponential times", "constant times"  # two clocks, as `Run.clock` names them
CLOCKS = {"time": "simulated seconds", "step": "gradients"}
# The target lies on this part of the way from the start to the best end of any run.
PROGRESS = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One method, in one setting, with one step size.

    Args:
      method: its name.
      clock: how long gradients take, in words.
      num_workers: p.
      learning_rate: α.
      trace: the configuration of the trace.
      time: float[E], simulated seconds at each evaluation.
      step: int[E], gradients applied then.
      values: float[S, E] for each key of `QUANTITIES` that was measured, a row a seed.
    """

    method: str
    clock: str
    num_workers: int
    learning_rate: float
    trace: Mapping[str, Any]
    time: Float[np.ndarray, " E"]
    step: Int[np.ndarray, " E"]
    values: Mapping[str, Float[np.ndarray, "S E"]]

    @property
    def throughput(self) -> float:
        """Gradients a simulated second."""
        return float(self.step[-1] / self.time[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """All runs on one problem with the same number of gradients.

    Args:
      name: the problem, in words.
      num_updates: K, the gradients that each run has.
      seeds: of the rows of the runs' values.
      runs: at least one.
      progress: where the target lies; see `PROGRESS`.
    """

    name: str
    num_updates: int
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    progress: float

    @functools.cached_property
    def methods(self) -> list[str]:
        """Ours first, then in the order of the alphabet."""
        return sorted({run.method for run in self.runs}, key=lambda method: (method != OURS, method))

    @functools.cached_property
    def clocks(self) -> list[str]:
        """In the order of their names."""
        return sorted({run.clock for run in self.runs})

    @functools.cached_property
    def num_workers(self) -> list[int]:
        """Every p, in order."""
        return sorted({run.num_workers for run in self.runs})

    @functools.cached_property
    def quantities(self) -> list[str]:
        """What all runs measured."""
        return [name for name in QUANTITIES if all(name in run.values for run in self.runs)]

    def tried(self, method: str, clock: str, num_workers: int) -> list[Run]:
        """Returns the runs of a method in a setting, by step size."""
        wanted = (method, clock, num_workers)
        found = [run for run in self.runs if (run.method, run.clock, run.num_workers) == wanted]
        return sorted(found, key=lambda run: run.learning_rate)

    @functools.cache  # noqa: B019  a comparison lives as long as the report on it
    def target(self, quantity: str) -> float:
        """Returns the value to reach: the same for all methods, and none of them chose it."""
        start = np.mean([run.values[quantity][:, 0].mean() for run in self.runs])
        best = min(_mean(run.values[quantity], self._tuning)[-1] for run in self.runs)
        return float(start + self.progress * (best - start))

    @functools.cache  # noqa: B019
    def tuned(self, method: str, clock: str, num_workers: int, quantity: str) -> Run | None:
        """Returns the run whose step size reaches the target first on the tuning seeds, or else ends lowest."""
        tried = self.tried(method, clock, num_workers)
        if not tried:
            return None

        def merit(run: Run) -> tuple[float, float]:
            curve = _mean(run.values[quantity], self._tuning)
            return (first_crossing(run.time, curve[None], self.target(quantity))[0], curve[-1])

        return min(tried, key=merit)

    def at_edge(self, run: Run) -> bool:
        """Whether the step size is the smallest or the largest tried, so that a better one may lie outside."""
        tried = self.tried(run.method, run.clock, run.num_workers)
        return run in (tried[0], tried[-1])

    @functools.cache  # noqa: B019
    def reach(self, method: str, clock: str, num_workers: int, quantity: str, axis: str) -> Float[np.ndarray, " R"]:
        """Returns when the mean over the reporting seeds reaches the target; row 0, then bootstrap replicates.

        Args:
          method: with its tuned step size.
          clock: of the setting.
          num_workers: likewise.
          quantity: a key of `QUANTITIES`.
          axis: "time" or "step".

        Returns:
          float[1 + resamples]; inf where the target was not reached, NaN if there is no such run.
        """
        run = self.tuned(method, clock, num_workers, quantity)
        if run is None:
            return np.full(1 + bootstrap.NUM_RESAMPLES, np.nan)
        values = run.values[quantity][self._reporting]
        curves = np.concatenate([values.mean(axis=0, keepdims=True), bootstrap.resampled_means(values)])
        return first_crossing(getattr(run, axis).astype(float), curves, self.target(quantity))

    def estimate(self, values: Float[np.ndarray, " R"]) -> Estimate:
        """Returns row 0 with its interval over the reporting seeds."""
        return bootstrap.estimate(values[0], values[1:], len(self._reporting))

    def advantage(
        self, rival: str, clock: str, num_workers: int, quantity: str, axis: str = "time"
    ) -> Float[np.ndarray, " R"]:
        """Returns how many times as long the rival takes to the target as ours; NaN where neither gets there."""
        with np.errstate(invalid="ignore"):
            return self.reach(rival, clock, num_workers, quantity, axis) / self.reach(
                OURS, clock, num_workers, quantity, axis
            )

    def ends(self, run: Run, quantity: str) -> Estimate:
        """Returns the mean at the end over the reporting seeds."""
        last = run.values[quantity][self._reporting, -1:]
        return self.estimate(np.concatenate([last.mean(axis=0), bootstrap.resampled_means(last)[:, 0]]))

    @property
    def _tuning(self) -> Int[np.ndarray, " n"]:
        return np.arange(0, len(self.seeds), 2)

    @property
    def _reporting(self) -> Int[np.ndarray, " n"]:
        return np.arange(1, len(self.seeds), 2)


def first_crossing(
    clock: Float[np.ndarray, " E"], curves: Float[np.ndarray, "R E"], target: float
) -> Float[np.ndarray, " R"]:
    """Returns when each curve is first at the target or below, on straight lines between evaluations; inf if never."""
    below = curves <= target
    after = np.argmax(below, axis=1)
    rows = np.arange(len(curves))
    before = np.maximum(after - 1, 0)
    high, low = curves[rows, before], curves[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(np.isfinite(high) & (high > low), (high - target) / (high - low), 1.0)
    crossed = clock[before] + np.where(after > 0, part, 0.0) * (clock[after] - clock[before])
    return np.where(below.any(axis=1), crossed, np.inf)


def comparisons(records: Iterable[tuple[str, Record]], progress: float = PROGRESS) -> list[Comparison]:
    """Sorts runs on the simulated cluster into comparisons.

    Runs belong together if their problems, data, precision and K are the same. What cannot be used is left out with a
    warning that says why.

    Args:
      records: name and record of each run.
      progress: on which part of the way to the best end the target lies, in (0, 1).

    Raises:
      InputError: if a number is out of range, or nothing is left.
    """
    progress = check_number("progress", progress, above=0, below=1)
    groups: dict[str, list[tuple[tuple[int, ...], Run, str]]] = {}
    for name, record in records:
        try:
            seeds, run = _run(record)
        except InputError as error:
            warnings.warn(f"left out: {name}: {error}", stacklevel=2)
            continue
        config = record.config
        common = {key: config.get(key) for key in ("problem", "precision", "constraint")}
        key = json.dumps([common, int(run.step[-1]), seeds], sort_keys=True)
        groups.setdefault(key, []).append((seeds, run, names.problem_in_full(config)))
    found = []
    for members in groups.values():
        seeds, run, name = members[0]
        if len(seeds) < 4:
            warnings.warn(f"left out: {name}: {len(seeds)} seeds, expected 4 at least, half to tune on", stacklevel=2)
            continue
        found.append(Comparison(name, int(run.step[-1]), seeds, tuple(run for _, run, _ in members), progress))
    if not found:
        raise InputError("no runs that could be compared, expected those of +sweep=comparison or the like")
    return found


def _run(record: Record) -> tuple[tuple[int, ...], Run]:
    config, frame = record.config, record.metrics
    trace, optimizer = config["trace"], config["optimizer"]
    if "time" not in frame:
        raise InputError("its trace has no clock, expected trace=cluster or trace=rounds")
    if not {"compute", "num_workers"} <= trace.keys():
        raise InputError("its trace is not of the simulated cluster, expected trace=cluster or trace=rounds")
    seeds = tuple(int(seed) for seed in frame["seed"].unique())
    columns = {"loss": "objective", "error": "test_accuracy"}
    values = {
        name: frame[column].to_numpy(float).reshape(len(seeds), -1)
        for name, column in columns.items()
        if column in frame
    }
    if "error" in values:
        values["error"] = 1 - values["error"]
    one_seed = frame[frame["seed"] == seeds[0]]
    return seeds, Run(
        method=names.method_in_full(config),
        clock=_clock(trace),
        num_workers=int(trace["num_workers"]),
        learning_rate=float(optimizer["learning_rate"]),
        trace=trace,
        time=one_seed["time"].to_numpy(float),
        step=one_seed["step"].to_numpy(int),
        values=values,
    )


def _clock(trace: Mapping[str, Any]) -> str:
    compute = trace["compute"]
    distribution = compute["distribution"] if isinstance(compute, Mapping) else str(compute)
    label = f"{distribution} times"
    slow = trace.get("stragglers", 0)
    return label + (f", {slow} straggler{'s' if slow > 1 else ''} × {trace['slowdown']:g}" if slow else "")


def _mean(values: Float[np.ndarray, "S E"], rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " E"]:
    return values[rows].mean(axis=0)


def table(comparison: Comparison) -> pd.DataFrame:
    """Returns one row a run: its setting, where it ended, and for the tuned ones when they reached the target."""
    rows = []
    for run in comparison.runs:
        row: dict[str, Any] = {name: getattr(run, name) for name in ("clock", "num_workers", "method", "learning_rate")}
        row["throughput"] = run.throughput
        setting = (run.method, run.clock, run.num_workers)
        for quantity in comparison.quantities:
            row |= _columns(f"final_{quantity}", comparison.ends(run, quantity))
            row[f"tuned_for_{quantity}"] = comparison.tuned(*setting, quantity) is run
            if row[f"tuned_for_{quantity}"]:
                for axis in CLOCKS:
                    reached = comparison.estimate(comparison.reach(*setting, quantity, axis))
                    row |= _columns(f"{axis}_to_{quantity}", reached)
        rows.append(row)
    order = ["clock", "num_workers", "method", "learning_rate"]
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def _columns(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
