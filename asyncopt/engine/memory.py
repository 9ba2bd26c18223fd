"""Checks, before a run, that memory is large enough for it."""

import os
import pathlib
from typing import Any

import jax

from asyncopt.checks import InputError
from asyncopt.engine.plan import Plan
from asyncopt.engine.state import LoopState

# A call of the compiled loop returns a new state while its input is still in memory.
_COPIES = 2


def check(state: LoopState, slots: Plan, num_runs: int) -> None:
    """Refuses a run that needs more memory than there is.

    Args:
      state: shapes and dtypes of what one run carries.
      slots: the plan of its history.
      num_runs: number of seeds, spread over the local devices.

    Raises:
      InputError: with the number of live versions, the bytes needed and the bytes available.
    """
    device = jax.local_devices()[0]
    available = available_bytes(device)
    # A CPU's devices share its memory.
    runs_here = num_runs if device.platform == "cpu" else -(-num_runs // len(jax.local_devices()))
    needed = _COPIES * runs_here * bytes_of(state)
    if available is None or needed <= available:
        return
    version = bytes_of(state.params)
    dtype = jax.tree.leaves(state.history)[0].dtype
    raise InputError(
        f"the history does not fit into memory: {slots.num_slots:,} live versions of {_readable(version)} each,"
        f" in {slots.largest_capacity:,} slots of {dtype}, and what an update needs besides, take {_readable(needed)} "
        f"({needed:,} bytes) for {runs_here} seeds, and {_readable(available)} ({available:,} bytes) are available; "
        "expected fewer seeds or workers, shorter delays, or history_dtype=bfloat16"
    )


def bytes_of_run(state: LoopState, num_updates: int, numbers: int) -> int:
    """Returns the bytes of memory that a run does not share with others.

    Args:
      state: shapes and dtypes of what one run carries.
      num_updates: number of updates; each has the key of its mini-batch.
      numbers: how many numbers the schedule has for each update.
    """
    return _COPIES * bytes_of(state) + num_updates * (numbers * 4 + 8)


def available_bytes(device: Any) -> int | None:
    """Returns how many bytes of memory a device has available, or None if it is unknown."""
    statistics = device.memory_stats()
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"]) - int(statistics.get("bytes_in_use", 0))
    return _available_on_host() if device.platform == "cpu" else None


def _available_on_host() -> int | None:
    """Returns the smaller of Linux's available memory and what the control group leaves; None elsewhere."""
    available = [lines["MemAvailable:"] * 1024 for lines in [_numbers("/proc/meminfo")] if "MemAvailable:" in lines]
    group = pathlib.Path("/sys/fs/cgroup")
    limit = group / "memory.max"
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        # The kernel frees the pages of files that nobody uses when memory is needed.
        used = int((group / "memory.current").read_text()) - _numbers(group / "memory.stat").get("inactive_file", 0)
        available.append(max(int(text) - used, 0))
    return min(available, default=None)


def _numbers(path: str | os.PathLike[str]) -> dict[str, int]:
    """Returns the lines ``name number ...`` of a file of the kernel; nothing if there is no such file."""
    path = pathlib.Path(path)
    lines = [line.split() for line in path.read_text().splitlines()] if path.is_file() else []
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}


def bytes_of(tree: object) -> int:
    """Returns the bytes of a tree of arrays, or of their shapes and dtypes."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _readable(number: int) -> str:
    size, unit = float(number), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.3g} {unit}"
