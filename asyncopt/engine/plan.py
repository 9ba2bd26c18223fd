"""Decides, before the run, which iterate lives in which slot."""

import dataclasses

import numpy as np
from jaxtyping import Int

from asyncopt.traces import Trace


@dataclasses.dataclass(frozen=True)
class Plan:
    """Where the compiled loop finds the iterates it reads.

    The loop keeps a history of ``capacity`` slots, each one copy of the parameters. Iterate 0 starts in slot 0.
    Update k reads ``read_slot[k]`` and, after reading, writes iterate k + 1 to ``write_slot[k]``.

    Args:
      read_slot: int32[K]; int32[K, B] where reads are inconsistent: the slot of each of B blocks of the parameters.
      write_slot: int32[K]; an iterate that nobody reads goes to the scratch slot, the last of the history.
      num_slots: number of slots that hold an iterate to be read: exactly ``trace.live_versions``.
      capacity: number of slots that are allocated: at least one more, for scratch, rounded up to one of a few sizes so
        that traces share a compilation.
    """

    read_slot: Int[np.ndarray, " K"] | Int[np.ndarray, "K B"]
    write_slot: Int[np.ndarray, " K"]
    num_slots: int
    capacity: int


def plan(trace: Trace) -> Plan:
    """Gives each iterate that is read a slot from the update that makes it to its last reader.

    As a register allocator colours intervals, with the fewest slots S: the largest number of iterates alive at once.
    The first S iterates that are read get a slot each. The j-th iterate gets the slot that was freed as number j - S.
    When it is made, at most S iterates are alive with it, so that at least j + 1 - S slots have been freed.

    Every iterate from ``read_version[k]`` to ``read_end[k]`` is kept for update k, whichever its blocks come from.
    """
    num_slots = trace.live_versions
    kept = np.flatnonzero(trace.last_reader >= 0)  # in the order in which they are made
    freed = kept[np.argsort(trace.last_reader[kept], kind="stable")]  # in the order in which their slots become free
    number = np.full(trace.num_updates + 1, -1)  # of an iterate among those that are kept
    number[kept] = np.arange(len(kept))
    # Each iterate points to the one that had its slot before; the first S point to themselves. Pointers are followed
    # twice as far in each pass, so that 2^n iterates in a slot take n passes.
    slot = np.arange(len(kept))
    slot[num_slots:] = number[freed[: max(len(kept) - num_slots, 0)]]
    while not np.array_equal(before := slot[slot], slot):
        slot = before
    capacity = _rounded_up(num_slots + 1)
    slot_of = np.where(number >= 0, slot[number], capacity - 1).astype(np.int32)
    reads = trace.read_version if trace.block_version is None else trace.block_version
    return Plan(slot_of[reads], slot_of[1:], num_slots, capacity)


def done_after_each(trace: Trace) -> list[list[int]]:
    """Returns for each update the iterates that it is the last to read."""
    done: list[list[int]] = [[] for _ in range(trace.num_updates)]
    for version, reader in enumerate(trace.last_reader.tolist()):
        if reader >= 0:
            done[reader].append(version)
    return done


def _rounded_up(count: int) -> int:
    """Returns the next of 2, 3, 4, 6, 8, 12, 16, ...: at most half more than ``count``."""
    size = 2
    while size < count:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size
