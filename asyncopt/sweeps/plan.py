"""Plans a sweep: which jobs run together as one program, and in which batches."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
from omegaconf import DictConfig

from asyncopt.checks import InputError, check_integer
from asyncopt.engine import Run, batch, memory
from asyncopt.engine.plan import largest
from asyncopt.engine.prepare import param_shapes, slots_of
from asyncopt.files import fingerprints
from asyncopt.files.records import Record
from asyncopt.run import devices, execute
from asyncopt.run.build import build
from asyncopt.run.task import Task, prepare

# Updates of a small model run kernels of a few microseconds each. Lanes that share a kernel save the cost of starting
# it. With more lanes than these nothing more is saved, and the data no longer stay in the cache of a core.
_MAX_LANES_A_DEVICE = 16
_CACHE_BYTES_A_CORE = 2**18
# The share of the memory that runs of one batch may take together.
_SHARE_OF_MEMORY = 0.5
# Settings in which jobs of one batch may differ, besides numbers.
_NOT_COMPILED = (*fingerprints.SHOWN, "trace", "policy", "seeds", "staleness", "step_factor")


@dataclasses.dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Args:
      number: the job's number.
      config: its configuration without Hydra's own part, unresolved.
      folder: the folder of its results.
      within: makes the context in which its configuration can be resolved.
    """

    number: int
    config: DictConfig
    folder: pathlib.Path
    within: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext


@dataclasses.dataclass(frozen=True)
class Batch:
    """Jobs that run as one program.

    A job's batch and lanes depend on the sweep alone, not on which jobs are finished. So the results of a sweep
    that was stopped and resumed are bit-identical.

    Args:
      numbers: the numbers of the jobs.
      num_lanes: lanes of the program. Where the jobs have fewer seeds, copies of the last lane fill it up.
      capacity: slots of each history, or of that of each leaf.
      varying: for each leaf, whether the runs differ in it, as `engine.batch.varying_leaves` returns it.
    """

    numbers: tuple[int, ...]
    num_lanes: int = 0
    capacity: int | tuple[int, ...] = 0
    varying: tuple[bool, ...] = ()


@dataclasses.dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep: its jobs, and the batches in which they run.

    Args:
      jobs: the jobs that can run in a batch, by number.
      tasks: their validated configurations, by number.
      finished: the records of the jobs that were finished before, by number.
      batches: the batches, in the order of their first jobs.
      alone: the jobs that cannot run in a batch, by number, with the reason.
      notes: what to tell the user, a line each.
      runs: the objects of unfinished jobs, by number; they are built again if they are missing.
    """

    jobs: dict[int, Job]
    tasks: dict[int, Task]
    finished: dict[int, Record]
    batches: list[Batch]
    alone: dict[int, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    runs: dict[int, Run] = dataclasses.field(default_factory=dict)

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the jobs that a batch has still to run."""
        return [number for number in self.tasks if number not in self.finished]

    @property
    def num_updates(self) -> int:
        """Updates that are still to be made in batches, of all seeds together."""
        return sum(num_updates(self.tasks[number]) for number in self.unfinished)


def num_updates(task: Task) -> int:
    """Returns the number of updates of all seeds of a task together."""
    return task.trace.num_updates * len(task.seeds)


def plan(jobs: Sequence[Job], runs_per_device: int | None = None) -> SweepPlan:
    """Plans a sweep.

    Args:
      jobs: all jobs of the sweep.
      runs_per_device: number of seeds side by side on a device; None for one that suits the size of the model.

    Raises:
      InputError: if ``runs_per_device`` is out of range.
    """
    if runs_per_device is not None:
        check_integer("runs_per_device", runs_per_device, at_least=1)
    result = SweepPlan({}, {}, {}, [])
    groups: dict[str, list[int]] = {}
    for job in jobs:
        try:
            _prepare(job, result)
        except (InputError, OSError) as error:  # the job itself reports it, at its turn
            result.alone[job.number] = str(error)
        else:
            groups.setdefault(_kind(result.tasks[job.number]), []).append(job.number)
    for numbers in groups.values():
        if all(number in result.finished for number in numbers):
            result.batches.append(Batch(tuple(numbers)))
            continue
        tasks = {number: result.tasks[number] for number in numbers}
        runs, refused = build_all(tasks)
        for number, reason in refused.items():
            result.alone[number] = reason
            for by_number in (result.jobs, result.tasks, result.finished):
                by_number.pop(number, None)
        result.runs.update(runs)
        for members in _by_program(runs, tasks):
            batches, note = _split(members, runs, tasks, runs_per_device)
            result.batches.extend(batches)
            result.notes.append(note)
    result.batches.sort(key=lambda one_batch: one_batch.numbers)
    return result


def plan_of(batch: Batch, jobs: Mapping[int, Job]) -> SweepPlan:
    """Returns the plan of one batch alone, in the process that it has been sent to.

    Raises:
      InputError: if its jobs, which could be prepared where the sweep was planned, cannot be prepared here.
      OSError: if a file that they need cannot be read here.
    """
    result = SweepPlan({}, {}, {}, [batch])
    for number in batch.numbers:
        _prepare(jobs[number], result)
    return result


def _prepare(job: Job, result: SweepPlan) -> None:
    """Adds a job, its task and, if it was finished before, its run to a plan."""
    with job.within():
        task = prepare(job.config)
    result.tasks[job.number], result.jobs[job.number] = task, job
    record = execute.finished(task, job.folder)
    if record is not None:
        result.finished[job.number] = record


def build_all(tasks: Mapping[int, Task]) -> tuple[dict[int, Run], dict[int, str]]:
    """Builds the runs of jobs of one kind; returns them and, for those that cannot be built, the reason, by number.

    Arrays that several problems share are kept once.
    """
    runs: dict[int, Run] = {}
    refused = {}
    problems: list[Any] = []
    try:
        lanes = sum(len(task.seeds) for task in tasks.values())
        devices.prepare_jax(next(iter(tasks.values())).settings, lanes)
    except InputError as error:
        return {}, dict.fromkeys(tasks, str(error))
    for number, task in tasks.items():
        try:
            run = build(task)
        except (InputError, OSError) as error:
            refused[number] = str(error)
            continue
        if not any(run.problem is problem for problem in problems):
            for problem in problems:
                if jax.tree.structure(problem) == jax.tree.structure(run.problem):
                    run = dataclasses.replace(run, problem=batch.with_arrays_of(problem, run.problem))
                    break
            problems.append(run.problem)
        runs[number] = run
    return runs, refused


def _kind(task: Task) -> str:
    """Returns what jobs of one batch must have in common: all of the configuration but numbers, traces and seeds.

    Which numbers are inputs of a program is known only once problems and optimizers are built; see `_by_program`.
    """
    settings = {key: value for key, value in task.settings.items() if key not in _NOT_COMPILED}
    for section in ("problem", "optimizer", "work"):
        settings[section] = _without_numbers(settings[section])
    return json.dumps([task.trace.num_updates, settings], sort_keys=True)


def _without_numbers(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        return {key: _without_numbers(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [_without_numbers(value) for value in settings]
    return "a number" if isinstance(settings, int | float) and not isinstance(settings, bool) else settings


def _by_program(runs: Mapping[int, Run], tasks: Mapping[int, Task]) -> list[list[int]]:
    """Returns the numbers of the jobs, those of one program together."""
    groups: list[tuple[batch.Program, list[int]]] = []
    for number, run in runs.items():
        program = batch.program(run, tasks[number].measured)
        for other, members in groups:
            if other.accepts(program):
                members.append(number)
                break
        else:
            groups.append((program, [number]))
    return [members for _, members in groups]


def _split(
    numbers: Sequence[int], runs: Mapping[int, Run], tasks: Mapping[int, Task], runs_per_device: int | None
) -> tuple[list[Batch], str]:
    """Cuts jobs of one program into batches of about equal size that memory can hold; returns them and a note."""
    local = jax.local_devices()
    first = runs[numbers[0]]
    capacity = largest(slots_of(runs[number]).capacity for number in numbers)
    lane_bytes = batch.bytes_a_lane(first, tasks[numbers[0]].measured, capacity)
    lanes_in_cache = _CACHE_BYTES_A_CORE // memory.bytes_of(param_shapes(first.problem))
    lanes = len(local) * (runs_per_device or min(max(lanes_in_cache, 1), _MAX_LANES_A_DEVICE))
    available = memory.available_bytes(local[0])
    limit = lanes
    if available is not None:
        shares = 1 if local[0].platform == "cpu" else len(local)  # a CPU's devices have one memory
        limit = max(int(_SHARE_OF_MEMORY * available * shares) // lane_bytes, 1)
    seeds = [len(tasks[number].seeds) for number in numbers]
    max_seeds = max(min(lanes, limit), max(seeds))
    chunks = _chunks(list(zip(numbers, seeds, strict=True)), max_seeds)
    num_lanes = max(sum(count for _, count in chunk) for chunk in chunks)
    reason = ", as many as memory takes" if limit < lanes else ""
    length = tasks[numbers[0]].trace.num_updates
    note = (
        f"{_count(len(numbers), 'job')}, {_count(sum(seeds), 'run')} of {length:,} updates:"
        f" one program, {_count(len(chunks), 'batch', 'batches')} of up to {_count(num_lanes, 'run')}{reason}"
    )
    varying = batch.varying_leaves([runs[number] for number in numbers])
    return [Batch(tuple(number for number, _ in chunk), num_lanes, capacity, varying) for chunk in chunks], note


def _chunks(jobs: Sequence[tuple[int, int]], max_seeds: int) -> list[list[tuple[int, int]]]:
    """Cuts (number, seeds) of jobs into chunks of at most ``max_seeds`` seeds, of about equal size."""
    total = sum(seeds for _, seeds in jobs)
    target = -(-total // -(-total // max_seeds))
    chunks: list[list[tuple[int, int]]] = [[]]
    for job in jobs:
        held = sum(seeds for _, seeds in chunks[-1])
        if chunks[-1] and (held + job[1] > max_seeds or held >= target):
            chunks.append([])
        chunks[-1].append(job)
    return chunks


def _count(number: int, name: str, plural: str = "") -> str:
    return f"{number:,} {name if number == 1 else plural or name + 's'}"
