"""From run folders to comparisons: sorts runs by setting and method, and says which were kept apart."""

import dataclasses
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from asyncopt.analysis import settings
from asyncopt.analysis.comparison import OURS, PROGRESS, Comparison, Trial
from asyncopt.analysis.comparison_draws import FEWEST_UNITS, draws
from asyncopt.analysis.settings import Flat
from asyncopt.checks import InputError, check_number
from asyncopt.files.records import Record

# Of several variants of our method, ours is the one closest to these settings.
_USUAL = {"optimizer.b1": 0.9, "optimizer.b2": 0.999, "optimizer.eps": 1e-8, "optimizer.bias_correction": False}


@dataclasses.dataclass(frozen=True)
class _Runs:
    """The runs of one folder: one clock, and a row for each seed of mini-batches."""

    problem: str
    surroundings: Flat
    clock_label: str
    clock: Flat
    method_label: str
    method: Flat
    learning_rate: float
    taken: int | None
    num_workers: int
    trace: Mapping[str, Any]
    trace_seed: int
    seeds: tuple[int, ...]
    step: Int[np.ndarray, " E"]
    time: Float[np.ndarray, " E"]
    values: Mapping[str, Float[np.ndarray, "S E"]]

    @property
    def setting(self) -> str:
        """Clock and number of workers, as text."""
        return settings.key({**self.clock, "num_workers": self.num_workers})


def comparisons(records: Iterable[tuple[str, Record]], progress: float = PROGRESS) -> list[Comparison]:
    """Sorts runs on the simulated cluster into comparisons.

    Runs belong to one comparison if their problems, data, precision, constraint and K are the same. Within it, runs are
    compared only if the cluster is the same in all its parts. Runs that differ in the trace's seed alone are of one
    setting with several clocks. A run that cannot be used is left out with a warning that says why.

    Args:
      records: name and record of each run.
      progress: the target lies at this share of the way to the best final value, in (0, 1).

    Raises:
      InputError: if a number is out of range, or no run is left.
    """
    progress = check_number("progress", progress, above=0, below=1)
    groups: dict[str, list[_Runs]] = {}
    for name, record in records:
        try:
            runs = _read(record)
        except InputError as error:
            warnings.warn(f"left out: {name}: {error}", stacklevel=2)
            continue
        groups.setdefault(settings.key(runs.surroundings), []).append(runs)
    compared = [_comparison(runs, _apart(runs, groups.values()), progress) for runs in groups.values()]
    found = [comparison for comparison in compared if comparison is not None]
    if not found:
        raise InputError("no runs that could be compared, expected those of +sweep=comparison or the like")
    return found


def _read(record: Record) -> _Runs:
    settings.check_is_on_a_cluster(record)
    frame, labels, trace = record.metrics, record.labels, dict(record.config["trace"])
    seeds = tuple(int(seed) for seed in frame["seed"].unique())
    values = {"loss": frame["objective"].to_numpy(float).reshape(len(seeds), -1)} if "objective" in frame else {}
    if "test_accuracy" in frame:
        values["error"] = 1 - frame["test_accuracy"].to_numpy(float).reshape(len(seeds), -1)
    one_seed, clock = frame[frame["seed"] == seeds[0]], settings.clock_of(record)
    # The seed of a clock that is not random has no influence.
    trace_seed = int(trace.pop("seed", 0)) if settings.is_random(clock) else 0
    return _Runs(
        problem=str(labels["problem"]), surroundings=settings.surroundings(record),
        clock_label=str(labels["clock"]), clock=clock,
        method_label=str(labels["method"]), method=settings.method(record),
        learning_rate=float(record.config["optimizer"]["learning_rate"]), taken=settings.taken(record),
        num_workers=int(trace["num_workers"]), trace=trace, trace_seed=trace_seed, seeds=seeds,
        step=one_seed["step"].to_numpy(int), time=one_seed["time"].to_numpy(float), values=values,
    )  # fmt: skip


def _comparison(runs: Sequence[_Runs], apart: Sequence[tuple[str, str]], progress: float) -> Comparison | None:
    """Returns the comparison of runs with the same surroundings; None if no setting has enough runs."""
    method_names = settings.names((one.method_label, one.method) for one in runs)
    clock_names = settings.names((one.clock_label, one.clock) for one in runs)
    trials: list[Trial] = []
    for in_setting in _grouped(runs, lambda one: one.setting):
        clock = clock_names[settings.key(in_setting[0].clock)]
        by_trial = _grouped(in_setting, lambda one: (settings.key(one.method), one.learning_rate, one.taken or 0))
        common = _common_runs(by_trial)
        where = f"{in_setting[0].problem}: {clock}, num_workers = {in_setting[0].num_workers}"
        shortage = _shortage(common, settings.is_random(in_setting[0].clock))
        if shortage:
            warnings.warn(f"left out: {where}: {shortage}", stacklevel=3)
            continue
        repeated = sum(map(_contradictions, by_trial))
        if repeated:
            words = f"{repeated} runs that are there twice with different results; of each, the last one counts"
            warnings.warn(f"left out: {where}: {words}", stacklevel=3)
        surplus = sum(len(_every_run(of_trial)) - len(common) for of_trial in by_trial)
        if surplus:
            words = f"{surplus} runs, whose seeds some method or step size lacks"
            warnings.warn(f"left out: {where}: {words}", stacklevel=3)
        trials += [_trial(one, common, method_names[settings.key(one[0].method)], clock) for one in by_trial]
    if not trials:
        return None
    ours = _ours(runs, method_names)
    notes = (*apart, *_missing(runs, method_names, clock_names))
    return Comparison(runs[0].problem, int(runs[0].step[-1]), tuple(trials), progress, ours, notes)


def _grouped(runs: Iterable[_Runs], key: Any) -> list[list[_Runs]]:
    groups: dict[Any, list[_Runs]] = {}
    for one in runs:
        groups.setdefault(key(one), []).append(one)
    return list(groups.values())


def _common_runs(by_trial: Sequence[Sequence[_Runs]]) -> list[tuple[int, int]]:
    """Returns the seeds of trace and mini-batches that every trial of a setting has."""
    return sorted(set.intersection(*map(_every_run, by_trial)))


def _every_run(of_trial: Sequence[_Runs]) -> set[tuple[int, int]]:
    """Returns the seeds of trace and mini-batches of a trial. A run that is there twice counts once."""
    return {(one.trace_seed, seed) for one in of_trial for seed in one.seeds}


def _contradictions(of_trial: Sequence[_Runs]) -> int:
    """Returns how many runs of a trial have the seeds of an earlier one, and other results."""
    seen: dict[tuple[int, int], list[np.ndarray]] = {}
    number = 0
    for one in of_trial:
        for row, seed in enumerate(one.seeds):
            results = [one.time, *(values[row] for values in one.values.values())]
            first = seen.setdefault((one.trace_seed, seed), results)
            number += not all(map(np.array_equal, first, results))
    return number


def _shortage(common: Sequence[tuple[int, int]], is_random: bool) -> str:
    """Returns why a setting has too few runs to be split into halves, or ""."""
    if not common:
        return "its methods and step sizes have no seeds in common, expected the same seeds and trace.seed in all"
    units = draws(*map(tuple, zip(*common, strict=True)), is_random).num_units
    return "" if units >= FEWEST_UNITS else f"{units} seeds, expected {FEWEST_UNITS} at least, half to tune on"


def _trial(of_trial: Sequence[_Runs], common: Sequence[tuple[int, int]], method: str, clock: str) -> Trial:
    rows = {(one.trace_seed, seed): (one, row) for one in of_trial for row, seed in enumerate(one.seeds)}
    chosen, first = [rows[run] for run in common], of_trial[0]
    measured = [name for name in first.values if all(name in one.values for one in of_trial)]
    return Trial(
        method=method, clock=clock, num_workers=first.num_workers, learning_rate=first.learning_rate,
        taken=first.taken, trace=first.trace, step=first.step,
        clocks=tuple(trace_seed for trace_seed, _ in common), seeds=tuple(seed for _, seed in common),
        time=np.stack([one.time for one, _ in chosen]),
        values={name: np.stack([one.values[name][row] for one, row in chosen]) for name in measured},
    )  # fmt: skip


def _ours(runs: Sequence[_Runs], names: Mapping[str, str]) -> str:
    """Returns the name of the variant of our method that is closest to the usual one."""
    variants = {names[settings.key(one.method)]: one.method for one in runs if one.method_label == OURS}
    unusual = {name: sum(m.get(k, v) != v for k, v in _USUAL.items()) for name, m in variants.items()}
    return min(sorted(unusual), key=unusual.__getitem__, default=OURS)


def _missing(
    runs: Sequence[_Runs], method_names: Mapping[str, str], clock_names: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Returns the runs that have no runs of another method beside them, since the clocks differ, and in which keys."""
    clocks: dict[str, dict[str, Flat]] = {}
    for one in runs:
        clocks.setdefault(method_names[settings.key(one.method)], {})[settings.key(one.clock)] = one.clock
    notes = {}
    for (method, mine), (other, theirs) in itertools.permutations(clocks.items(), 2):
        for text, clock in mine.items():
            if text not in theirs:
                nearest = min((settings.differences(clock, their) for their in theirs.values()), key=len)
                runs_of = f"{method} with {clock_names[text]}"
                notes.setdefault((runs_of, settings.in_words(nearest)), []).append(other)
    return [(f"{runs_of}, from the runs of {' and '.join(others)}", keys) for (runs_of, keys), others in notes.items()]


def _apart(runs: Sequence[_Runs], groups: Iterable[Sequence[_Runs]]) -> list[tuple[str, str]]:
    """Returns the comparisons that these runs are kept apart from, and in which keys they differ."""
    mine = runs[0].surroundings
    others = [group[0] for group in groups if group[0].surroundings != mine]
    keys = [settings.in_words(settings.differences(mine, other.surroundings)) for other in others]
    return [(f"all runs here, from those on {other.problem}", key) for other, key in zip(others, keys, strict=True)]
