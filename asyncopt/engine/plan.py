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

    Slots are reused as soon as they are free, as a register allocator colours intervals; for intervals, the
    greedy choice needs no more slots than the largest number alive at once.

    Every iterate from ``read_version[k]`` to ``read_end[k]`` is kept for update k, whichever its blocks come from.
    """
    num_updates = trace.num_updates
    last_reader = trace.last_reader.tolist()
    unread = -1
    slot_of = [unread] * num_updates
    write_slot = [unread] * num_updates
    slot_of[0] = 0
    num_slots = 1
    free: list[int] = []
    read_slot = []
    reads = trace.read_version if trace.block_version is None else trace.block_version
    done_after = done_after_each(trace)
    for k, read in enumerate(reads.tolist()):
        read_slot.append(slot_of[read] if isinstance(read, int) else [slot_of[version] for version in read])
        free.extend(slot_of[version] for version in done_after[k])
        newest = k + 1
        if newest < num_updates and last_reader[newest] >= 0:
            if free:
                slot_of[newest] = free.pop()
            else:
                slot_of[newest] = num_slots
                num_slots += 1
            write_slot[k] = slot_of[newest]
    capacity = _rounded_up(num_slots + 1)
    written = np.array(write_slot, np.int32)
    written[written == unread] = capacity - 1
    return Plan(np.array(read_slot, np.int32), written, num_slots, capacity)


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
