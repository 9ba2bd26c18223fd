"""What is printed at the end of a run: a short table, or a line if it is one of many."""

from collections.abc import Mapping

import numpy as np

from asyncopt.drawing import words
from asyncopt.files.records import Record

_ROWS = {
    "gap": "gap F - F* at the end", "average_gap": "gap F - F* of the average",
    "train_accuracy": "accuracy on the training rows", "test_accuracy": "accuracy on held-out rows",
    "objective": "F at the end", "average_objective": "F of the average",
}  # fmt: skip
_INCIDENTS = {"workers replaced": "workers_replaced", "gradients refused": "gradients_refused"}


def line(record: Record) -> str:
    """Returns the line printed at the end of a job of a sweep: means over seeds at the last update."""
    num_updates, timing = record.summary["trace"]["num_updates"], record.summary["timing"]
    last = _at_the_end(record)
    diverged = sum(update >= 0 for update in record.summary["diverged_at"].values())
    parts = [f"{num_updates:,} updates, {words.seeds(len(last['step']))}"]
    parts += [f"{_ROWS[column]} {_over_seeds(last[column])[0]:.5g}" for column in _shown(last)[:2]]
    parts += [f"{diverged} diverged"] if diverged else []
    return ", ".join([*parts, f"{timing['updates_per_second']:,.0f} updates a second"])


def _at_the_end(record: Record) -> dict[str, np.ndarray]:
    """Returns the measurements after the last update, an entry for each seed."""
    is_last = np.asarray(record.columns["step"]) == record.summary["trace"]["num_updates"]
    return {name: np.asarray(record.columns[name])[is_last] for name in record.columns}


@np.errstate(invalid="ignore")  # inf - inf
def _over_seeds(values: np.ndarray) -> tuple[float, float, float]:
    """Returns the mean of values, the smallest and the largest."""
    return float(np.mean(values)), float(np.min(values)), float(np.max(values))


def _shown(last: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the columns that are shown: gaps, or F where its minimum is unknown, and accuracies."""
    return [name for name in _ROWS if name in last and not ("gap" in last and name.endswith("objective"))]


def table(record: Record) -> str:
    """Returns the short table printed at the end of a run: means over seeds, and their range."""
    trace, timing = record.summary["trace"], record.summary["timing"]
    last = _at_the_end(record)
    title = f"{trace['num_updates']:,} updates, {words.seeds(len(last['step']))}"
    lines = [f"{title:34}{'mean':>12}{'smallest':>12}{'largest':>12}"]
    for column in _shown(last):
        mean, smallest, largest = _over_seeds(last[column])
        lines.append(f"{_ROWS[column]:34}{mean:12.5g}{smallest:12.5g}{largest:12.5g}")
    lines.append(f"{'delay, in updates':34}{trace['mean_delay']:12.5g}{'':12}{trace['max_delay']:12d}")
    lines.append(f"{'updates a second, all seeds':34}{timing['updates_per_second']:12,.0f}")
    if "evaluation_seconds" in timing:
        share = 100 * timing["evaluation_seconds"] / timing["seconds"]
        lines.append(f"{'evaluations, % of the time':34}{share:12.1f}")
    real = record.summary.get("runtime")
    if real is not None:
        if real["updates_per_second"] is not None:  # else all updates were made in one step
            lines.append(f"{'updates a second on the real clock':34}{real['updates_per_second']:12,.1f}")
        lines += [f"{name:34}{real[key]:12d}" for name, key in _INCIDENTS.items() if real[key]]
    lines += [_certificate(name, seeds) for name, seeds in record.summary.get("certificates", {}).items()]
    diverged = {seed: k for seed, k in record.summary["diverged_at"].items() if k >= 0}
    if diverged:
        lines.append("diverged: " + ", ".join(f"seed {seed} at update {k:,}" for seed, k in diverged.items()))
    return "\n".join(lines)


def _certificate(name: str, broken_at: Mapping[str, int | None]) -> str:
    """Returns whether a certificate held after every update, or where it was first broken."""
    broken = {seed: update for seed, update in broken_at.items() if update is not None and update >= 0}
    if broken:
        places = ", ".join(f"seed {seed} first at update {update:,}" for seed, update in broken.items())
        return f"certificate broken ({name}): {places}"
    held = sum(update == -1 for update in broken_at.values())
    return f"{f'certificate ({name}) holds for':34}{f'{held} of {len(broken_at)} seeds':>12}"
