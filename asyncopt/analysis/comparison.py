"""Methods side by side on one simulated clock: each with the step size that suits it, to a target that all share.

A setting is one clock and one number of workers. Step sizes are chosen on half of the seeds, and results come from the
other half, so that no method is judged by the runs that chose its step size.
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

OURS, SYNCHRONOUS = "APAM", "synchronous AMSGrad"
# What falls during training: F, and the share of the held-out rows that are classified wrongly.
QUANTITIES = {"loss": "objective $F(x_k)$", "error": "held-out error"}
RANDOM, STEADY = "exponential times", "constant times"  # two clocks, as `Trial.clock` names them
CLOCKS = {"time": "simulated seconds", "step": "gradients"}
# The target lies on this part of the way from the start to the best end of any run.
PROGRESS = 0.95


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """One method in one setting with one step size: a run for each seed.

    Args:
      method: the method's label.
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
    """All trials on one problem with the same number of gradients.

    Args:
      name: the problem, in words.
      num_updates: K, the gradients of each run.
      seeds: the seeds of the rows of the trials' values.
      trials: at least one.
      progress: where the target lies; see `PROGRESS`.
    """

    name: str
    num_updates: int
    seeds: tuple[int, ...]
    trials: tuple[Trial, ...]
    progress: float

    @functools.cached_property
    def methods(self) -> list[str]:
        """Every method: ours first, then in the order of the alphabet."""
        return sorted({trial.method for trial in self.trials}, key=lambda method: (method != OURS, method))

    @functools.cached_property
    def clocks(self) -> list[str]:
        """Every clock, in the order of their names."""
        return sorted({trial.clock for trial in self.trials})

    @functools.cached_property
    def num_workers(self) -> list[int]:
        """Every p, in order."""
        return sorted({trial.num_workers for trial in self.trials})

    @functools.cached_property
    def quantities(self) -> list[str]:
        """What all trials measured."""
        return [name for name in QUANTITIES if all(name in trial.values for trial in self.trials)]

    def tried(self, method: str, clock: str, num_workers: int) -> list[Trial]:
        """Returns the trials of a method in a setting, by step size."""
        key = (method, clock, num_workers)
        members = [trial for trial in self.trials if (trial.method, trial.clock, trial.num_workers) == key]
        return sorted(members, key=lambda trial: trial.learning_rate)

    @functools.cache  # noqa: B019  a comparison lives as long as the report on it
    def target(self, quantity: str) -> float:
        """Returns the value to reach: the same for all methods, and none of them chose it."""
        start = np.mean([trial.values[quantity][:, 0].mean() for trial in self.trials])
        best = min(_mean(trial.values[quantity], self._tuning)[-1] for trial in self.trials)
        return float(start + self.progress * (best - start))

    @functools.cache  # noqa: B019
    def tuned(self, method: str, clock: str, num_workers: int, quantity: str) -> Trial | None:
        """Returns the trial whose step size reaches the target first on the tuning seeds, or else ends lowest."""
        tried = self.tried(method, clock, num_workers)
        if not tried:
            return None

        def merit(trial: Trial) -> tuple[float, float]:
            curve = _mean(trial.values[quantity], self._tuning)
            return (first_crossing(trial.time, curve[None], self.target(quantity))[0], curve[-1])

        return min(tried, key=merit)

    def at_edge(self, trial: Trial) -> bool:
        """Whether the step size is the smallest or the largest tried, so that a better one may lie outside."""
        tried = self.tried(trial.method, trial.clock, trial.num_workers)
        return trial in (tried[0], tried[-1])

    @functools.cache  # noqa: B019
    def reach(self, method: str, clock: str, num_workers: int, quantity: str, axis: str) -> Float[np.ndarray, " R"]:
        """Returns when the mean over the reporting seeds reaches the target; row 0, then bootstrap replicates.

        Args:
          method: the method, with its tuned step size.
          clock: the clock of the setting.
          num_workers: the number of workers of the setting.
          quantity: a key of `QUANTITIES`.
          axis: "time" or "step".

        Returns:
          float[1 + resamples]; inf where the target was not reached, NaN if there is no such trial.
        """
        trial = self.tuned(method, clock, num_workers, quantity)
        if trial is None:
            return np.full(1 + bootstrap.NUM_RESAMPLES, np.nan)
        values = trial.values[quantity][self._reporting]
        curves = np.concatenate([values.mean(axis=0, keepdims=True), bootstrap.resampled_means(values)])
        return first_crossing(getattr(trial, axis).astype(float), curves, self.target(quantity))

    def estimate(self, values: Float[np.ndarray, " R"]) -> Estimate:
        """Returns row 0 with its interval over the reporting seeds."""
        return bootstrap.estimate(values[0], values[1:], len(self._reporting))

    def advantage(
        self, rival: str, clock: str, num_workers: int, quantity: str, axis: str = "time"
    ) -> Float[np.ndarray, " R"]:
        """Returns how many times as long as ours the rival takes to the target; NaN where neither reaches it."""
        ours, other = (self.reach(method, clock, num_workers, quantity, axis) for method in (OURS, rival))
        with np.errstate(invalid="ignore"):
            return other / ours

    def ends(self, trial: Trial, quantity: str) -> Estimate:
        """Returns the mean at the end over the reporting seeds."""
        last = trial.values[quantity][self._reporting, -1:]
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

    Runs belong together if their problems, data, precision and K are the same. A run that cannot be used is left out
    with a warning that says why.

    Args:
      records: name and record of each run.
      progress: on which part of the way to the best end the target lies, in (0, 1).

    Raises:
      InputError: if a number is out of range, or nothing is left.
    """
    progress = check_number("progress", progress, above=0, below=1)
    groups: dict[str, tuple[str, tuple[int, ...], list[Trial]]] = {}
    for name, record in records:
        try:
            seeds, trial = _trial(record)
        except InputError as error:
            warnings.warn(f"left out: {name}: {error}", stacklevel=2)
            continue
        common = {key: record.config.get(key) for key in ("problem", "precision", "constraint")}
        key = json.dumps([common, int(trial.step[-1]), seeds], sort_keys=True)
        groups.setdefault(key, (str(record.summary["labels"]["problem"]), seeds, []))[2].append(trial)
    compared = []
    for problem, seeds, trials in groups.values():
        if len(seeds) < 4:
            warnings.warn(
                f"left out: {problem}: {len(seeds)} seeds, expected 4 at least, half to tune on", stacklevel=2
            )
            continue
        compared.append(Comparison(problem, int(trials[0].step[-1]), seeds, tuple(trials), progress))
    if not compared:
        raise InputError("no runs that could be compared, expected those of +sweep=comparison or the like")
    return compared


def _trial(record: Record) -> tuple[tuple[int, ...], Trial]:
    """Returns the seeds of a run folder, and the trial that it holds."""
    frame, trace, labels = record.metrics, record.config["trace"], record.summary["labels"]
    if "time" not in frame:
        raise InputError("its trace has no clock, expected trace=cluster or trace=rounds")
    if labels["clock"] is None:
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
    return seeds, Trial(
        method=labels["method"],
        clock=labels["clock"],
        num_workers=int(trace["num_workers"]),
        learning_rate=float(record.config["optimizer"]["learning_rate"]),
        trace=trace,
        time=one_seed["time"].to_numpy(float),
        step=one_seed["step"].to_numpy(int),
        values=values,
    )


def _mean(values: Float[np.ndarray, "S E"], rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " E"]:
    return values[rows].mean(axis=0)


def table(comparison: Comparison) -> pd.DataFrame:
    """Returns one row a trial: its setting, where it ended, and for the tuned ones when they reached the target."""
    rows, order = [], ["clock", "num_workers", "method", "learning_rate"]
    for trial in comparison.trials:
        row: dict[str, Any] = {name: getattr(trial, name) for name in (*order, "throughput")}
        setting = (trial.method, trial.clock, trial.num_workers)
        for quantity in comparison.quantities:
            row |= _columns(f"final_{quantity}", comparison.ends(trial, quantity))
            row[f"tuned_for_{quantity}"] = comparison.tuned(*setting, quantity) is trial
            if row[f"tuned_for_{quantity}"]:
                for axis in CLOCKS:
                    reached = comparison.estimate(comparison.reach(*setting, quantity, axis))
                    row |= _columns(f"{axis}_to_{quantity}", reached)
        rows.append(row)
    return pd.DataFrame(rows).sort_values(order, ignore_index=True)


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
