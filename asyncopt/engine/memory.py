"""Whether a run fits into memory, asked before it starts."""

import os
import pathlib
from typing import Any

import jax

from asyncopt.checks import InputError
from asyncopt.engine.plan import Plan
from asyncopt.engine.state import LoopState

# A call of the compiled loop returns a new state while the one it began with is still there.
_COPIES = 2


def check_fits(state: LoopState, slots: Plan, num_runs: int) -> None:
    """Refuses a run that needs more memory than there is.

    Args:
      state: of one run; shapes and dtypes are enough.
      slots: its plan.
      num_runs: seeds, spread over the local devices.

    Raises:
      InputError: with the number of live versions, and the bytes needed and there.
    """
    device = jax.local_devices()[0]
    there = available_bytes(device)
    # A CPU's devices share its memory.
    runs_here = num_runs if device.platform == "cpu" else -(-num_runs // len(jax.local_devices()))
    needed = _COPIES * runs_here * bytes_of(state)
    if there is None or needed <= there:
        return
    version = bytes_of(state.params)
    dtype = jax.tree.leaves(state.history)[0].dtype
    raise InputError(
        f"the history does not fit into memory: {slots.num_slots:,} live versions of {_readable(version)} each,"
        f" in {slots.capacity:,} slots of {dtype}, and what an update needs besides, take {_readable(needed)} "
        f"({needed:,} bytes) for {runs_here} seeds, and there are {_readable(there)} ({there:,} bytes); expected fewer "
        "seeds or workers, shorter delays, or history_dtype=bfloat16"
    )


def bytes_of_run(state: LoopState, num_updates: int, num_blocks: int) -> int:
    """Returns what a run takes in memory that others do not share.

    Args:
      state: of one run; shapes and dtypes are enough.
      num_updates: each has three numbers in the schedule and a key of its mini-batch.
      num_blocks: of inconsistent reads, each of which has a number in the schedule; else 0.
    """
    return _COPIES * bytes_of(state) + num_updates * ((2 + max(num_blocks, 1)) * 4 + 8)


def available_bytes(device: Any) -> int | None:
    """Returns how much memory a device has to give, or None if nobody knows."""
    statistics = device.memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"]) - int(statistics.get("bytes_in_use", 0))
    return _available_on_host() if device.platform == "cpu" else None


def _available_on_host() -> int | None:
    """Returns the least of what Linux says is available and what the control group leaves, or None elsewhere."""
    found = [fields["MemAvailable:"] * 1024 for fields in [_numbers("/proc/meminfo")] if "MemAvailable:" in fields]
    group = pathlib.Path("/sys/fs/cgroup")
    limit = group / "memory.max"
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        # Files in memory that nobody uses are given up when memory is wanted.
        used = int((group / "memory.current").read_text()) - _numbers(group / "memory.stat").get("inactive_file", 0)
        found.append(max(int(text) - used, 0))
    return min(found, default=None)


def _numbers(path: str | os.PathLike[str]) -> dict[str, int]:
    """Returns the lines ``name number ...`` of a file of the kernel; nothing if there is no such file."""
    path = pathlib.Path(path)
    lines = [line.split() for line in path.read_text().splitlines()] if path.is_file() else []
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}


def bytes_of(tree: object) -> int:
    """Returns the size of a tree of arrays, of which shapes and dtypes are enough."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _readable(number: int) -> str:
    size, unit = float(number), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.3g} {unit}"
