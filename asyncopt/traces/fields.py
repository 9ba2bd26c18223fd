"""Checks of a trace's fields: each returns its field as an array, or raises an error that names the update."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from asyncopt.checks import InputError

# What a block of an inconsistent read is: an equal part of the coordinates, or layers of a network.
BLOCKS = COORDINATES, LAYERS = "coordinates", "layers"
# The compiled loop counts updates in int32.
MAX_UPDATES = 2**31 - 1
# The most blocks given to a read that raced with writes, if only its oldest and newest iterate are known.
_MAX_SWEEP_BLOCKS = 64


def integers(name: str, values: ArrayLike, length: int | None = None) -> Int[np.ndarray, " K"]:
    """Returns a 1-D int64 array; accepts floats if each is a whole number."""
    _refuse_masked(name, values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} is not an array of integers: {error}") from error
    if array.ndim != 1:
        raise InputError(f"{name} has shape {array.shape}, expected one dimension")
    if length is not None and len(array) != length:
        raise InputError(f"{name} has {len(array)} entries, expected one for each of the {length} updates")
    if array.dtype.kind not in "iuf" and len(array):
        raise InputError(f"{name} has dtype {array.dtype}, expected integers")
    if array.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(array) | (array != np.floor(array)) | (np.abs(array) > 2**53))
        _refuse_first(name, array, bad, "expected a whole number")
    elif array.dtype.kind == "u":
        _refuse_first(name, array, np.flatnonzero(array > MAX_UPDATES), f"expected at most {MAX_UPDATES}")
    return array.astype(np.int64)


class Reads(NamedTuple):
    """From which iterates each update's gradient came; all int64."""

    oldest: Int[np.ndarray, " K"]  # read_version
    newest: Int[np.ndarray, " K"]  # read_end
    blocks: Int[np.ndarray, "K B"] | None  # block_version; None if every read is consistent
    backward: Int[np.ndarray, "K B"] | None  # backward_version; None if it is block_version
    kind: str  # what a block is, one of BLOCKS


def reads(
    read_version: ArrayLike,
    read_end: ArrayLike | None,
    block_version: ArrayLike | None,
    backward_version: ArrayLike | None,
    kind: str,
) -> Reads:
    """Returns the checked fields that say what updates read; equal reads have one form, however they are given."""
    versions = integers("read_version", read_version)
    num_updates = len(versions)
    if not 1 <= num_updates <= MAX_UPDATES:
        raise InputError(f"read_version has {num_updates} updates, expected 1 to {MAX_UPDATES}")
    updates = np.arange(num_updates)
    check_range("read_version", versions, 0, updates, "a gradient cannot be read from the future")
    if not isinstance(kind, str) or kind not in BLOCKS:
        raise InputError(f"blocks is {kind!r}, expected one of {list(BLOCKS)}")

    blocks = None if block_version is None else _blocks("block_version", block_version, num_updates)
    if read_end is not None:
        ends = integers("read_end", read_end, num_updates)
    else:
        ends = versions if blocks is None else blocks.max(axis=1)
    check_range("read_end", ends, versions, updates, "a read ends at or after its start, and by update k")
    if blocks is not None:
        _check_blocks("block_version", blocks, versions, ends, "of what the update reads")
        _check_equal("read_version", versions, blocks.min(axis=1), "the oldest block_version of its update")
        _check_equal("read_end", ends, blocks.max(axis=1), "the newest block_version of its update")
    backward = None if backward_version is None else _backward(backward_version, blocks, kind)
    if np.array_equal(versions, ends) and backward is None:
        return Reads(versions, ends, None, None, COORDINATES)
    if blocks is None:
        if kind == LAYERS:
            raise InputError(f"blocks is {LAYERS!r}, and block_version is not given, expected both")
        blocks = _swept(versions, ends)
    return Reads(versions, ends, blocks, backward, kind)


def _backward(values: ArrayLike, blocks: Int[np.ndarray, "K B"] | None, kind: str) -> Int[np.ndarray, "K B"] | None:
    """Returns ``backward_version`` as int64, or None if it equals ``block_version``, which is ``blocks``."""
    if kind != LAYERS or blocks is None:
        raise InputError(
            f"backward_version is given, blocks is {kind!r} and block_version is "
            f"{'not given' if blocks is None else 'given'}, expected blocks={LAYERS!r} and block_version"
        )
    backward = _blocks("backward_version", values, len(blocks))
    if backward.shape != blocks.shape:
        raise InputError(f"backward_version has shape {backward.shape}, expected that of block_version, {blocks.shape}")
    reason = "a backward pass follows its forward pass, and precedes its update"
    _check_blocks("backward_version", backward, blocks, np.arange(len(blocks))[:, None], reason)
    return None if np.array_equal(backward, blocks) else backward


def _blocks(name: str, values: ArrayLike, length: int) -> Int[np.ndarray, "K B"]:
    """Returns an iterate for each block as int64."""
    _refuse_masked(name, values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} is not an array of integers: {error}") from error
    if array.ndim != 2 or len(array) != length or array.shape[1] == 0 or array.dtype.kind not in "iu":
        raise InputError(
            f"{name} has shape {array.shape} and dtype {array.dtype}, "
            f"expected integers, a row for each of the {length} updates and a column for each block"
        )
    return array.astype(np.int64)


def _check_blocks(name: str, values: np.ndarray, low: np.ndarray, high: np.ndarray, reason: str) -> None:
    """Refuses the first version out of range; ``low`` and ``high`` are [K], or [K, B]."""
    low, high = (np.broadcast_to(x if x.ndim == 2 else x[:, None], values.shape) for x in (low, high))
    for block in range(values.shape[1]):
        check_range(f"{name}, block {block},", values[:, block], low[:, block], high[:, block], reason)


def _swept(versions: Int[np.ndarray, " K"], ends: Int[np.ndarray, " K"]) -> Int[np.ndarray, "K B"]:
    """Returns ``block_version`` of reads that swept from their oldest to their newest iterate at a steady rate."""
    num_blocks = min(int(np.max(ends - versions)) + 1, _MAX_SWEEP_BLOCKS)
    numbers = np.arange(num_blocks)
    return versions[:, None] + (2 * (ends - versions)[:, None] * numbers + num_blocks - 1) // (2 * (num_blocks - 1))


def arrivals(values: ArrayLike, time: ArrayLike | None, length: int) -> Float[np.ndarray, " K"]:
    """Returns ``arrival`` as float64, each at most the time of its update."""
    if time is None:
        raise InputError("arrival is given and time is not, expected both, or time alone")
    arrival = _seconds("arrival", values, length)
    times = np.asarray(time)
    late = np.flatnonzero(arrival > times)
    if len(late):
        k = late[0]
        raise InputError(f"arrival of update {k} is {arrival[k]!s} s, expected at most its time, {times[k]} s")
    return arrival


def steps(values: ArrayLike, length: int) -> Int[np.ndarray, " K"]:
    """Returns ``step`` as int64: from 0, each the same as the one before or the next."""
    steps = integers("step", values, length)
    if steps[0] != 0:
        raise InputError(f"step of update 0 is {steps[0]}, expected 0")
    check_range("step", steps[1:], steps[:-1], steps[:-1] + 1, "that of the update before, or the next", first=1)
    return steps


def computed(values: ArrayLike, length: int) -> Int[np.ndarray, " K"]:
    """Returns ``computed`` as int64: non-decreasing, and at least one for each update that came before."""
    computed = integers("computed", values, length)
    backwards = np.flatnonzero(np.diff(computed) < 0) + 1
    _refuse_first("computed", computed, backwards, "expected at least that of the update before")
    least = np.arange(1, length + 1)
    check_range("computed", computed, least, MAX_UPDATES, "each update uses one")
    return computed


def times(values: ArrayLike, length: int) -> Float[np.ndarray, " K"]:
    """Returns ``time`` as float64, finite and non-decreasing."""
    time = _seconds("time", values, length)
    backwards = np.flatnonzero(np.diff(time) < 0) + 1
    if len(backwards):
        k = backwards[0]
        raise InputError(f"time runs backwards at update {k}: {time[k]!s} s after {time[k - 1]!s} s")
    return time


def _seconds(name: str, values: ArrayLike, length: int) -> Float[np.ndarray, " K"]:
    """Returns seconds as a finite float64 array."""
    return floats(name, values, length, "second", "expected a finite number of seconds")


def floats(
    name: str, values: ArrayLike, length: int, unit: str = "number", finite: str = "expected a finite number"
) -> Float[np.ndarray, " K"]:
    """Returns a finite float64 array; messages call an entry by its unit, and say what is expected of it."""
    _refuse_masked(name, values)
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not an array of {unit}s: {error}") from error
    if array.shape != (length,):
        raise InputError(f"{name} has shape {array.shape}, expected one {unit} for each of the {length} updates")
    _refuse_first(name, array, np.flatnonzero(~np.isfinite(array)), finite)
    return array


def check_range(name: str, values: np.ndarray, low: ArrayLike, high: ArrayLike, reason: str, first: int = 0) -> None:
    """Refuses the first value out of range; ``first`` is the update of the first value."""
    low, high = np.broadcast_to(low, values.shape), np.broadcast_to(high, values.shape)
    bad = np.flatnonzero((values < low) | (values > high))
    if len(bad):
        k = bad[0]
        raise InputError(f"{name} of update {first + k} is {values[k]}, expected {low[k]} to {high[k]}: {reason}")


def _refuse_masked(name: str, values: ArrayLike) -> None:
    """Refuses an array with masked entries: NumPy would take what is below the mask."""
    if np.ma.is_masked(values):
        raise InputError(f"{name} has masked entries, expected a number for each update")


def _check_equal(name: str, values: np.ndarray, wanted: np.ndarray, reason: str) -> None:
    bad = np.flatnonzero(values != wanted)
    if len(bad):
        raise InputError(f"{name} of update {bad[0]} is {values[bad[0]]}, expected {wanted[bad[0]]}, {reason}")


def _refuse_first(name: str, values: np.ndarray, bad: np.ndarray, expected: str) -> None:
    if len(bad):
        raise InputError(f"{name} of update {bad[0]} is {values[bad[0]]!s}, {expected}")
