"""Jobs of a sweep, put together so that those that differ only in numbers run as one program."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
from omegaconf import DictConfig

from asyncopt.checks import InputError, check_integer
from asyncopt.engine import Checkpoint, Run, batch, memory, plan, replay_batch
from asyncopt.engine.prepare import param_shapes
from asyncopt.files import fingerprints
from asyncopt.run import devices, experiment
from asyncopt.run.experiment import Ahead, Experiment, Task

# A run of a small model is a row of kernels of a few microseconds, and several of them in one kernel save what it costs
# to start one; beyond these numbers nothing more is saved, and what a core works on no longer stays near it.
_MOST_LANES_A_DEVICE = 16
_BYTES_NEAR_A_CORE = 2**18
# Of the memory that is there, what runs of one part may take together.
_SHARE_OF_MEMORY = 0.5
# Settings in which jobs of one batch may differ.
_NOT_COMPILED = (*fingerprints.SHOWN, "trace", "seeds", "staleness")


@dataclasses.dataclass(frozen=True)
class Job:
    """One job of a sweep.

    Args:
      number: of the job.
      config: without Hydra's own part.
      folder: of its results.
      within: makes the context in which its configuration can be resolved.
    """

    number: int
    config: DictConfig
    folder: pathlib.Path
    within: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext


@dataclasses.dataclass(frozen=True)
class Part:
    """Jobs that run as one batch.

    Which lane of which batch a job has depends on the sweep alone, not on what is finished already, so that a sweep
    that was stopped goes on to the same bits.

    Args:
      numbers: of the jobs.
      num_lanes: of the batch, filled up where the jobs have fewer seeds.
      capacity: slots of each history.
      varying: which leaves of `replay.batch.varying_leaves` each run has for itself.
    """

    numbers: tuple[int, ...]
    num_lanes: int = 0
    capacity: int = 0
    varying: tuple[bool, ...] = ()


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What has been found out about the jobs of a sweep before any of them runs.

    Args:
      ahead: of each job that can be run in a batch, by number; finished ones have their record.
      parts: the batches, in the order of their first jobs.
      alone: the jobs that can not, by number, and why.
      notes: what the plan has to say, a line each.
      built: problems and optimizers of the jobs in parts.
    """

    ahead: dict[int, Ahead]
    parts: list[Part]
    alone: dict[int, str]
    notes: list[str]
    built: dict[int, Experiment]

    @property
    def unfinished(self) -> list[int]:
        """Numbers of the jobs that a part has still to run."""
        return [number for number, ahead in self.ahead.items() if ahead.record is None]

    @property
    def num_updates(self) -> int:
        """Updates that are still to be made in parts, of all seeds together."""
        tasks = [self.ahead[number].task for number in self.unfinished]
        return sum(task.trace.num_updates * len(task.seeds) for task in tasks)


def look(jobs: Sequence[Job], runs_per_device: int | None = None) -> Sweep:
    """Plans a sweep.

    Args:
      jobs: all of them.
      runs_per_device: seeds of jobs side by side on a device; None for what suits the size of the model.

    Raises:
      InputError: if ``runs_per_device`` is out of range.
    """
    if runs_per_device is not None:
        check_integer("runs_per_device", runs_per_device, at_least=1)
    ahead, alone = {}, {}
    groups: dict[str, list[int]] = {}
    for job in jobs:
        try:
            with job.within():
                ahead[job.number] = _look_at(job)
            groups.setdefault(_kind(ahead[job.number].task), []).append(job.number)
        except (InputError, OSError) as error:  # which it will say itself, at its turn
            alone[job.number] = str(error)
    parts, notes, built = [], [], {}
    for numbers in groups.values():
        if all(ahead[number].record is not None for number in numbers):
            parts.append(Part(tuple(numbers)))
            continue
        tasks = {number: ahead[number].task for number in numbers}
        made, refused = build(tasks)
        for number in refused:
            alone[number] = refused[number]
            del ahead[number]
        built |= made
        for members in _by_program(made, tasks):
            found, note = _split(members, made, tasks, runs_per_device)
            parts += found
            notes.append(note)
    return Sweep(ahead, sorted(parts, key=lambda part: part.numbers), alone, notes, built)


def take(part: Part, jobs: Mapping[int, Job]) -> Sweep:
    """Returns a part alone as a sweep, where it has been sent to.

    Raises:
      InputError: if its jobs, which were fine where it was sent from, are not here.
      OSError: likewise.
    """
    ahead = {}
    for number in part.numbers:
        with jobs[number].within():
            ahead[number] = _look_at(jobs[number])
    return Sweep(ahead, [part], {}, [], {})


def _look_at(job: Job) -> Ahead:
    experiment.check(job.config)
    task = experiment.prepare(job.config)
    return Ahead(task, experiment.finished(task, job.folder))


def build(tasks: Mapping[int, Task]) -> tuple[dict[int, Experiment], dict[int, str]]:
    """Makes the objects of jobs of one kind; those that cannot be made come with the reason.

    Arrays that several of their problems have are kept once.
    """
    built: dict[int, Experiment] = {}
    refused = {}
    problems: list[Any] = []
    try:
        devices.prepare_jax(next(iter(tasks.values())).config, sum(len(task.seeds) for task in tasks.values()))
    except InputError as error:
        return {}, dict.fromkeys(tasks, str(error))
    for number, task in tasks.items():
        try:
            made = experiment.build(task.config, task.trace)
        except (InputError, OSError) as error:
            refused[number] = str(error)
            continue
        if not any(made.problem is problem for problem in problems):
            for problem in problems:
                if jax.tree.structure(problem) == jax.tree.structure(made.problem):
                    made = dataclasses.replace(made, problem=batch.with_arrays_of(problem, made.problem))
                    break
            problems.append(made.problem)
        built[number] = made
    return built, refused


def _kind(task: Task) -> str:
    """Returns what jobs of one batch must have in common: all of the configuration but numbers, traces and seeds.

    Which numbers are inputs of a program is seen once there are problems and optimizers; see `_by_program`.
    """
    settings = {
        key: value
        for key, value in task.settings.items()
        if key not in _NOT_COMPILED
    }
    for section in ("problem", "optimizer"):
        settings[section] = _without_numbers(settings[section])
    return json.dumps([task.trace.num_updates, settings], sort_keys=True)


def _without_numbers(settings: Any) -> Any:
    if isinstance(settings, Mapping):
        return {key: _without_numbers(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [_without_numbers(value) for value in settings]
    return "a number" if isinstance(settings, int | float) and not isinstance(settings, bool) else settings


def _by_program(built: Mapping[int, Experiment], tasks: Mapping[int, Task]) -> list[list[int]]:
    """Returns the numbers of jobs that have the same program, together."""
    groups: list[tuple[batch.Program, list[int]]] = []
    for number, made in built.items():
        program = batch.program(run_of(made), tasks[number].replay_settings)
        for other, members in groups:
            if other.fits(program):
                members.append(number)
                break
        else:
            groups.append((program, [number]))
    return [members for _, members in groups]


def run_of(made: Experiment) -> Run:
    """Returns what `replay_batch` takes."""
    return Run(made.problem, made.optimizer, made.trace, made.seeds)


def _split(
    numbers: Sequence[int], built: Mapping[int, Experiment], tasks: Mapping[int, Task], runs_per_device: int | None
) -> tuple[list[Part], str]:
    """Cuts jobs of one program into batches of about equal size that fit into memory, and says so."""
    local = jax.local_devices()
    first = built[numbers[0]]
    capacity = max(plan(tasks[number].trace).capacity for number in numbers)
    size = batch.bytes_a_lane(run_of(first), tasks[numbers[0]].replay_settings, capacity)
    near = _BYTES_NEAR_A_CORE // memory.bytes_of(param_shapes(first.problem))
    lanes = len(local) * (runs_per_device or min(max(near, 1), _MOST_LANES_A_DEVICE))
    there = memory.available_bytes(local[0])
    fitting = lanes
    if there is not None:
        shares = 1 if local[0].platform == "cpu" else len(local)  # a CPU's devices have one memory
        fitting = max(int(_SHARE_OF_MEMORY * there * shares) // size, 1)
    seeds = [len(tasks[number].seeds) for number in numbers]
    most = max(min(lanes, fitting), max(seeds))
    chunks = _chunks(list(zip(numbers, seeds, strict=True)), most)
    num_lanes = max(sum(count for _, count in chunk) for chunk in chunks)
    why = ", as many as memory takes" if fitting < lanes else ""
    length = tasks[numbers[0]].trace.num_updates
    note = (
        f"{_count(len(numbers), 'job')}, {_count(sum(seeds), 'run')} of {length:,} updates:"
        f" one program, {_count(len(chunks), 'batch', 'batches')} of up to {_count(num_lanes, 'run')}{why}"
    )
    varying = batch.varying_leaves([run_of(built[number]) for number in numbers])
    return [Part(tuple(number for number, _ in chunk), num_lanes, capacity, varying) for chunk in chunks], note


def _chunks(jobs: Sequence[tuple[int, int]], most: int) -> list[list[tuple[int, int]]]:
    """Cuts (number, seeds) of jobs into rows of at most ``most`` seeds, of about equal size."""
    total = sum(seeds for _, seeds in jobs)
    target = -(-total // -(-total // most))
    chunks: list[list[tuple[int, int]]] = [[]]
    for job in jobs:
        held = sum(seeds for _, seeds in chunks[-1])
        if chunks[-1] and (held + job[1] > most or held >= target):
            chunks.append([])
        chunks[-1].append(job)
    return chunks


def _count(number: int, name: str, plural: str = "") -> str:
    return f"{number:,} {name if number == 1 else plural or name + 's'}"


def run_part(
    part: Part,
    jobs: Mapping[int, Job],
    ahead: Mapping[int, Ahead],
    built: Mapping[int, Experiment],
    report: Callable[[int], object],
) -> dict[int, Ahead]:
    """Makes the runs of a part that are not finished.

    Args:
      part: of a `Sweep`.
      jobs: by number.
      ahead: likewise; of the part at least.
      built: likewise, as far as they have been made.
      report: called with the updates made, of all unfinished runs together, since it was last called.

    Returns:
      For each job of the part what it need not do any more.

    Raises:
      InputError: if the runs cannot be made.
    """
    waiting = [number for number in part.numbers if ahead[number].record is None]
    found = {number: ahead[number] for number in part.numbers}
    if not waiting:
        return found
    tasks = {number: ahead[number].task for number in part.numbers}
    settings, lanes = tasks[waiting[0]].replay_settings, sum(len(tasks[number].seeds) for number in waiting)
    devices.prepare_jax(tasks[waiting[0]].config, lanes)
    missing = {number: tasks[number] for number in waiting if number not in built}
    if missing:
        made, refused = build(missing)
        if refused:
            raise InputError("; ".join(refused.values()))
        built = {**built, **made}
    # A job that is finished leaves its lanes to another's run, whose results there nobody reads.
    filler = built[waiting[0]]
    runs = [
        run_of(built[number] if number in waiting else dataclasses.replace(filler, seeds=tasks[number].seeds))
        for number in part.numbers
    ]
    results = replay_batch(
        runs,
        settings,
        num_lanes=part.num_lanes,
        capacity=part.capacity,
        varying=part.varying,
        report=lambda updates: report(updates * lanes),
        checkpoint=checkpoint(part, jobs, ahead),
    )
    for number, result in zip(part.numbers, results, strict=True):
        if number in waiting:
            found[number] = Ahead(tasks[number], made=(built[number].problem, result))
    return found


def checkpoint(part: Part, jobs: Mapping[int, Job], ahead: Mapping[int, Ahead]) -> Checkpoint | None:
    """Returns where a part is kept on its way, if it is: in the folder of its first job, under what is in its lanes."""
    tasks = [ahead[number].task for number in part.numbers]
    lanes = json.dumps([[task.fingerprint for task in tasks], part.num_lanes, part.capacity, part.varying])
    tag = hashlib.sha256(lanes.encode()).hexdigest()
    return experiment.checkpoint_of(tasks[0].config, jobs[part.numbers[0]].folder, tag)
