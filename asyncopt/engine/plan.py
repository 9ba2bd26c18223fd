"""Decides, before the run, which iterate lives in which slot."""

import dataclasses
from collections.abc import Iterable

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
      num_slots: number of slots that hold an iterate to be read: exactly ``trace.live_versions``. Where blocks are
        layers, that is the number of the block with the most.
      capacity: number of slots that are allocated: at least one more, for scratch, rounded up to one of a few sizes so
        that traces share a compilation.
      backward_slot: int32[K, n], what the backward pass reads; None if it is what the forward pass reads.

    Where the blocks of reads are layers, each of the n leaves of the parameters has a history of its own:
    ``read_slot`` and ``write_slot`` are int32[K, n], and ``capacity`` has a number for each leaf.
    """

    read_slot: Int[np.ndarray, " K"] | Int[np.ndarray, "K B"] | Int[np.ndarray, "K n"]
    write_slot: Int[np.ndarray, " K"] | Int[np.ndarray, "K n"]
    num_slots: int
    capacity: int | tuple[int, ...]
    backward_slot: Int[np.ndarray, "K n"] | None = None

    @property
    def largest_capacity(self) -> int:
        """The largest number of slots of a leaf."""
        return self.capacity if isinstance(self.capacity, int) else max(self.capacity)


def plan(trace: Trace, leaf_blocks: tuple[int, ...] | None = None) -> Plan:
    """Gives each iterate that is read a slot from the update that makes it to its last reader.

    As a register allocator colours intervals, with the fewest slots S, the largest number of iterates alive at once.
    The first S iterates that are read get a slot each. The j-th iterate gets the slot that was freed as number j - S.
    When it is made, at most S iterates are alive with it, so that at least j + 1 - S slots have been freed.

    Every iterate from ``read_version[k]`` to ``read_end[k]`` is kept for update k, whichever its blocks come from.
    Where blocks are layers, each is kept by itself, as long as it is read.

    Args:
      trace: the schedule.
      leaf_blocks: the block of each leaf, where blocks are layers.
    """
    if leaf_blocks is not None:
        return _plan_of_leaves(trace, leaf_blocks)
    slot_of, capacity = _slots(trace.last_reader, trace.live_versions)
    reads = trace.read_version if trace.block_version is None else trace.block_version
    return Plan(slot_of[reads], slot_of[1:], trace.live_versions, capacity)


def largest(capacities: Iterable[int | tuple[int, ...]]) -> int | tuple[int, ...]:
    """Returns the capacity that histories of several plans have in common, leaf by leaf if they have one each."""
    several = list(capacities)
    if all(isinstance(capacity, int) for capacity in several):
        return max(several)  # type: ignore[type-var]
    leaves = max(len(capacity) for capacity in several if not isinstance(capacity, int))
    by_leaf = [(capacity,) * leaves if isinstance(capacity, int) else capacity for capacity in several]
    return tuple(map(max, zip(*by_leaf, strict=True)))


def _plan_of_leaves(trace: Trace, leaf_blocks: tuple[int, ...]) -> Plan:
    """Returns the plan in which each block is kept by itself."""
    forward, backward = trace.block_version, trace.backward_version
    assert forward is not None
    live = trace.block_live_versions
    slots = [_slots(last, live[block]) for block, last in enumerate(trace.block_last_reader.T)]

    def read(versions):
        return np.stack([slots[block][0][versions[:, block]] for block in leaf_blocks], axis=1)

    return Plan(
        read(forward),
        np.stack([slots[block][0][1:] for block in leaf_blocks], axis=1),
        trace.live_versions,
        tuple(slots[block][1] for block in leaf_blocks),
        None if backward is None else read(backward),
    )


def _slots(last_reader: Int[np.ndarray, " K"], num_slots: int) -> tuple[Int[np.ndarray, " K+1"], int]:
    """Returns the slot of each iterate 0..K, int32, and the capacity; an unread iterate has the scratch slot."""
    kept = np.flatnonzero(last_reader >= 0)  # in the order in which they are made
    freed = kept[np.argsort(last_reader[kept], kind="stable")]  # in the order in which their slots become free
    number = np.full(len(last_reader) + 1, -1)  # of an iterate among those that are kept
    number[kept] = np.arange(len(kept))
    # Each iterate points to the one that had its slot before; the first S point to themselves. Pointers are followed
    # twice as far in each pass, so that 2^n iterates in a slot take n passes.
    slot = np.arange(len(kept))
    slot[num_slots:] = number[freed[: max(len(kept) - num_slots, 0)]]
    while not np.array_equal(before := slot[slot], slot):
        slot = before
    capacity = _rounded_up(num_slots + 1)
    return np.where(number >= 0, slot[number], capacity - 1).astype(np.int32), capacity


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
