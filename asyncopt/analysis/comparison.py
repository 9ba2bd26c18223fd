"""Compares methods on one simulated clock, each with its tuned step size, by the time to a common target.

A setting is one clock and one number of workers. Step sizes are chosen on half of the seeds and results come from the
other half. So no method is judged by the runs that chose its step size.
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
# What falls during training: F, and the share of held-out rows that are classified wrongly.
QUANTITIES = {"loss": "objective $F(x_k)$", "error": "held-out error"}
RANDOM, STEADY = "exponential times", "constant times"  # two clocks, as `Trial.clock` names them
CLOCKS = {"time": "simulated seconds", "step": "gradients"}
# The target lies at this share of the way from the start to the best final value.
PROGRESS = 0.95
# The seeds that choose step sizes, and those that give results.
_TUNING, _REPORTING = slice(0, None, 2), slice(1, None, 2)


@dataclasses.dataclass(frozen=True, eq=False)
class Trial:
    """One method in one setting with one step size: a run for each seed."""

    method: str  #: the method's label
    clock: str  #: how long gradients take, in words
    num_workers: int  #: p
    learning_rate: float  #: α
    trace: Mapping[str, Any]  #: the configuration of the trace
    time: Float[np.ndarray, " E"]  #: simulated seconds at each evaluation
    step: Int[np.ndarray, " E"]  #: the number of gradients applied until then
    values: Mapping[str, Float[np.ndarray, "S E"]]  #: for each measured key of `QUANTITIES`, a row for each seed

    @property
    def throughput(self) -> float:
        """Gradients per simulated second."""
        return float(self.step[-1] / self.time[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """All trials on one problem with the same number of gradients."""

    name: str  #: the problem in words
    num_updates: int  #: K, the gradients of each run
    seeds: tuple[int, ...]  #: the seeds of the rows of the trials' values
    trials: tuple[Trial, ...]  #: at least one
    progress: float  #: where the target lies, as `PROGRESS`

    @functools.cached_property
    def methods(self) -> list[str]:
        """Every method: ours first, then in alphabetical order."""
        return sorted({trial.method for trial in self.trials}, key=lambda method: (method != OURS, method))

    @functools.cached_property
    def clocks(self) -> list[str]:
        """Every clock, in alphabetical order."""
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
        tried = (trial for trial in self.trials if (trial.method, trial.clock, trial.num_workers) == key)
        return sorted(tried, key=lambda trial: trial.learning_rate)

    @functools.cache  # noqa: B019  a comparison lives as long as the report on it
    def target(self, quantity: str) -> float:
        """Returns the value to reach, which is the same for all methods."""
        start = np.mean([trial.values[quantity][:, 0].mean() for trial in self.trials])
        best = min(trial.values[quantity][_TUNING].mean(axis=0)[-1] for trial in self.trials)
        return float(start + self.progress * (best - start))

    @functools.cache  # noqa: B019
    def tuned(self, method: str, clock: str, num_workers: int, quantity: str) -> Trial | None:
        """Returns the trial whose step size reaches the target first on the tuning seeds, or else ends lowest."""

        def merit(trial: Trial) -> tuple[float, float]:
            curve = trial.values[quantity][_TUNING].mean(axis=0)
            return (first_crossing(trial.time, curve[None], self.target(quantity))[0], curve[-1])

        return min(self.tried(method, clock, num_workers), key=merit, default=None)

    def at_edge(self, trial: Trial) -> bool:
        """Whether the step size is the smallest or largest tried, so a better one may lie outside."""
        tried = self.tried(trial.method, trial.clock, trial.num_workers)
        return trial in (tried[0], tried[-1])

    @functools.cache  # noqa: B019
    def reach(self, method: str, clock: str, num_workers: int, quantity: str, axis: str) -> Float[np.ndarray, " R"]:
        """Returns when the mean over the reporting seeds reaches the target, with the tuned step size.

        Row 0 belongs to the seeds themselves, the other rows to bootstrap replicates: inf where the target was not
        reached, NaN if there is no such trial. ``axis`` is "time" or "step", ``quantity`` a key of `QUANTITIES`.
        """
        trial = self.tuned(method, clock, num_workers, quantity)
        if trial is None:
            return np.full(1 + bootstrap.NUM_RESAMPLES, np.nan)
        curves = bootstrap.means(trial.values[quantity][_REPORTING])
        return first_crossing(getattr(trial, axis).astype(float), curves, self.target(quantity))

    def estimate(self, values: Float[np.ndarray, " R"]) -> Estimate:
        """Returns row 0 with its interval over the reporting seeds."""
        return bootstrap.estimate(values[0], values[1:], len(self.seeds) // 2)

    def advantage(self, rival: str, clock: str, num_workers: int, quantity: str) -> Float[np.ndarray, " R"]:
        """Returns the rival's time to the target over ours; NaN where neither reaches it."""
        ours, other = (self.reach(method, clock, num_workers, quantity, "time") for method in (OURS, rival))
        with np.errstate(invalid="ignore"):
            return other / ours

    def ends(self, trial: Trial, quantity: str) -> Estimate:
        """Returns the mean at the end over the reporting seeds."""
        return self.estimate(bootstrap.means(trial.values[quantity][_REPORTING, -1:])[:, 0])


def first_crossing(
    clock: Float[np.ndarray, " E"], curves: Float[np.ndarray, "R E"], target: float
) -> Float[np.ndarray, " R"]:
    """Returns when each curve first reaches the target, by straight lines between evaluations; inf if it never does."""
    below, rows = curves <= target, np.arange(len(curves))
    after = np.argmax(below, axis=1)
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
      progress: the target lies at this share of the way to the best final value, in (0, 1).

    Raises:
      InputError: if a number is out of range, or no run is left.
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
        groups.setdefault(key, (str(record.labels["problem"]), seeds, []))[2].append(trial)
    compared = []
    for problem, seeds, trials in groups.values():
        if len(seeds) >= 4:
            compared.append(Comparison(problem, int(trials[0].step[-1]), seeds, tuple(trials), progress))
        else:
            shortage = f"{len(seeds)} seeds, expected 4 at least, half to tune on"
            warnings.warn(f"left out: {problem}: {shortage}", stacklevel=2)
    if not compared:
        raise InputError("no runs that could be compared, expected those of +sweep=comparison or the like")
    return compared


def _trial(record: Record) -> tuple[tuple[int, ...], Trial]:
    """Returns the seeds of a run, and the run as a trial."""
    frame, trace, labels = record.metrics, record.config["trace"], record.labels
    if "time" not in frame:
        raise InputError("its trace has no clock, expected trace=cluster or trace=rounds")
    if labels["clock"] is None:
        raise InputError("its trace is not of the simulated cluster, expected trace=cluster or trace=rounds")
    seeds = tuple(int(seed) for seed in frame["seed"].unique())
    values = {"loss": frame["objective"].to_numpy(float).reshape(len(seeds), -1)} if "objective" in frame else {}
    if "test_accuracy" in frame:
        values["error"] = 1 - frame["test_accuracy"].to_numpy(float).reshape(len(seeds), -1)
    one_seed = frame[frame["seed"] == seeds[0]]
    return seeds, Trial(
        method=labels["method"], clock=labels["clock"], num_workers=int(trace["num_workers"]),
        learning_rate=float(record.config["optimizer"]["learning_rate"]), trace=trace,
        time=one_seed["time"].to_numpy(float), step=one_seed["step"].to_numpy(int), values=values,
    )  # fmt: skip


def table(comparison: Comparison) -> pd.DataFrame:
    """Returns a row for each trial: its setting, its end, and for tuned step sizes when the target was reached."""
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
