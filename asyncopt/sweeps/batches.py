"""Runs one batch of a sweep."""

import dataclasses
import hashlib
import json

from asyncopt.checks import InputError
from asyncopt.engine import Checkpoint, Result, Run, replay_batch
from asyncopt.engine.drive import Report
from asyncopt.run import devices, execute
from asyncopt.sweeps.plan import Batch, SweepPlan, build_all


def run_batch(batch: Batch, plan: SweepPlan, report: Report) -> dict[int, tuple[Run, Result]]:
    """Runs the unfinished jobs of a batch; returns their runs and results, by number.

    Args:
      batch: a batch of the plan.
      plan: the plan of the sweep.
      report: called with the number of updates that all unfinished runs have made since the last call, and the share of
        their time that went into evaluations.

    Raises:
      InputError: if the runs cannot be made.
    """
    waiting = [number for number in batch.numbers if number not in plan.finished]
    if not waiting:
        return {}
    tasks = plan.tasks
    lanes = sum(len(tasks[number].seeds) for number in waiting)
    devices.prepare_jax(tasks[waiting[0]].settings, lanes)
    missing = {number: tasks[number] for number in waiting if number not in plan.runs}
    if missing:
        runs, refused = build_all(missing)
        if refused:
            raise InputError("; ".join(refused.values()))
        plan.runs.update(runs)
    # The lanes of a finished job are filled with another job's run. Its results in these lanes are not used.
    filler = plan.runs[waiting[0]]
    results = replay_batch(
        [
            plan.runs[number] if number in waiting else dataclasses.replace(filler, seeds=tasks[number].seeds)
            for number in batch.numbers
        ],
        tasks[waiting[0]].measured,
        num_lanes=batch.num_lanes,
        capacity=batch.capacity,
        varying=batch.varying,
        report=lambda updates, evaluation_share: report(updates * lanes, evaluation_share),
        checkpoint=checkpoint(batch, plan),
    )
    return {
        number: (plan.runs[number], result)
        for number, result in zip(batch.numbers, results, strict=True)
        if number in waiting
    }


def checkpoint(batch: Batch, plan: SweepPlan) -> Checkpoint | None:
    """Returns the checkpoint of a batch, in its first job's folder and tagged by its lanes; None if none is kept."""
    tasks = [plan.tasks[number] for number in batch.numbers]
    lanes = json.dumps([[task.fingerprint for task in tasks], batch.num_lanes, batch.capacity, batch.varying])
    tag = hashlib.sha256(lanes.encode()).hexdigest()
    return execute.checkpoint_of(tasks[0], plan.jobs[batch.numbers[0]].folder, tag)
