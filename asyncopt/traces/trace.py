"""The trace: when, and from which iterate, each gradient of an asynchronous run came."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.files import npz
from asyncopt.shown import Shown

if TYPE_CHECKING:  # reading a trace needs no matplotlib
    from matplotlib.figure import Figure

# The kind that a trace file carries.
FILE_KIND = "asyncopt.trace/1"
# The compiled loop counts updates in int32.
_MAX_UPDATES = 2**31 - 1
# Numbers that say what a trace cost, of the whole trace.
COSTS = ("arrivals", "cancelled", "wasted_seconds")
# The most blocks given to a read that raced with writes, if only its oldest and newest iterate are known.
_MAX_SWEEP_BLOCKS = 64


@dataclasses.dataclass(frozen=True, init=False, eq=False, repr=False)
class Trace(Shown):
    """One asynchronous schedule of K updates, immutable and valid by construction.

    Iterate 0 is the start. Update k (from 0) turns iterate k into iterate k + 1, with a gradient taken at iterate
    ``read_version[k]``. The arrays are read-only, and int64; those of seconds are float64.

    Args:
      read_version: int[K], the iterate that update k's gradient was computed at, the oldest if there are several;
        0 <= read_version[k] <= k.
      read_end: int[K], the newest iterate that a coordinate of that read comes from, at most k. It is later than
        ``read_version`` if the read raced with writes in shared memory. Default: the newest in ``block_version``, or
        else ``read_version``, a consistent read.
      block_version: int[K, B], the iterate that each of B blocks of the parameters was read from: the oldest is
        read_version[k], and the newest read_end[k]. Of n coordinates (in the order of `jax.tree.leaves`, each
        ravelled), block b has those from ⌊b n / B⌋ to ⌊(b + 1) n / B⌋ - 1. Default: where ``read_end`` is later, the
        read swept from the first coordinate to the last while iterates followed each other at a steady rate.
      worker: int[K], the worker that computed gradient k, in 0..num_workers - 1. Default: all 0.
      time: float[K], the simulated or measured second at which update k was applied, non-decreasing, or None.
      arrival: float[K], the second at which gradient k had come to the server, at most time[k], or None.
      sample: int[K], which draw of the mini-batch ξ update k uses. Default: k, so that update k sees the same
        mini-batch under every trace.
      step: int[K], which optimizer step gradient k belongs to: 0 at first, then the same or the next. The last update
        of a step makes it, with the sum of its weighted gradients; iterates within a step are equal. None: each
        gradient makes a step.
      weight: float[K], the factor of gradient k in the sum of its step. None: each step takes the mean.
      computed: int[K], how many gradients the server had taken up when update k was applied, used or not; at least
        k + 1, non-decreasing; or None.
      arrivals: the gradients that the server had taken up at the last update, or None.
      cancelled: the gradients whose computing was stopped until then, or None.
      wasted_seconds: the seconds of computing whose gradients were ignored or cancelled until then, or None.
      num_workers: the number of workers. Default: one more than the largest ``worker``.

    Raises:
      InputError: if a field is not as described; the message names the field, the update and the value.
    """

    read_version: Int[np.ndarray, " K"]
    read_end: Int[np.ndarray, " K"]
    block_version: Int[np.ndarray, "K B"] | None  # None if every read is consistent
    worker: Int[np.ndarray, " K"]
    time: Float[np.ndarray, " K"] | None
    arrival: Float[np.ndarray, " K"] | None
    sample: Int[np.ndarray, " K"]
    step: Int[np.ndarray, " K"] | None  # None if each gradient makes a step
    weight: Float[np.ndarray, " K"] | None
    computed: Int[np.ndarray, " K"] | None
    arrivals: int | None
    cancelled: int | None
    wasted_seconds: float | None
    num_workers: int

    def __init__(
        self,
        read_version: ArrayLike,
        *,
        read_end: ArrayLike | None = None,
        block_version: ArrayLike | None = None,
        worker: ArrayLike | None = None,
        time: ArrayLike | None = None,
        arrival: ArrayLike | None = None,
        sample: ArrayLike | None = None,
        step: ArrayLike | None = None,
        weight: ArrayLike | None = None,
        computed: ArrayLike | None = None,
        arrivals: int | None = None,
        cancelled: int | None = None,
        wasted_seconds: float | None = None,
        num_workers: int | None = None,
    ):
        versions = _integers("read_version", read_version)
        num_updates = len(versions)
        if not 1 <= num_updates <= _MAX_UPDATES:
            raise InputError(f"read_version has {num_updates} updates, expected 1 to {_MAX_UPDATES}")
        updates = np.arange(num_updates)
        _check_range("read_version", versions, 0, updates, "a gradient cannot be read from the future")

        blocks = None if block_version is None else _blocks(block_version, num_updates)
        if read_end is not None:
            ends = _integers("read_end", read_end, num_updates)
        else:
            ends = versions if blocks is None else blocks.max(axis=1)
        _check_range("read_end", ends, versions, updates, "a read ends at or after its start, and by update k")
        if blocks is not None:
            for block in range(blocks.shape[1]):
                name = f"block_version, block {block},"
                _check_range(name, blocks[:, block], versions, ends, "of what the update reads")
            _check_equal("read_version", versions, blocks.min(axis=1), "the oldest block_version of its update")
            _check_equal("read_end", ends, blocks.max(axis=1), "the newest block_version of its update")
        if np.array_equal(versions, ends):
            blocks = None
        elif blocks is None:
            blocks = _sweep(versions, ends)

        workers = np.zeros_like(versions) if worker is None else _integers("worker", worker, num_updates)
        if num_workers is None:
            num_workers = int(workers.max()) + 1
        num_workers = check_integer("num_workers", num_workers, at_least=1)
        _check_range("worker", workers, 0, num_workers - 1, f"the trace has {num_workers} workers")

        samples = updates if sample is None else _integers("sample", sample, num_updates)
        _check_range("sample", samples, 0, _MAX_UPDATES, "samples are numbered with 31 bits")

        fields = {
            "read_version": versions,
            "read_end": ends,
            "block_version": blocks,
            "worker": workers,
            "time": None if time is None else _times(time, num_updates),
            "arrival": None if arrival is None else _arrivals(arrival, time, num_updates),
            "sample": samples,
            "step": None if step is None else _steps(step, num_updates),
            "weight": None if weight is None else _floats("weight", weight, num_updates),
            "computed": None if computed is None else _computed(computed, num_updates),
            "arrivals": None if arrivals is None else check_integer("arrivals", arrivals, at_least=num_updates),
            "cancelled": None if cancelled is None else check_integer("cancelled", cancelled, at_least=0),
            "wasted_seconds": None
            if wasted_seconds is None
            else check_number("wasted_seconds", wasted_seconds, at_least=0),
            "num_workers": num_workers,
        }
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                value = value.copy()
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    @classmethod
    def from_delays(cls, delays: ArrayLike, **fields: Any) -> Self:
        """Returns the trace in which update k's gradient was computed ``delays[k]`` updates ago.

        Args:
          delays: int[K], 0 <= delays[k] <= k.
          **fields: the other fields of the trace.

        Raises:
          InputError: if a delay is negative, fractional or not a number, or the gradient would be older than the
            start.
        """
        delays = _integers("delay", delays)
        updates = np.arange(len(delays))
        _check_range("delay", delays, 0, updates, "the gradient would be older than the start")
        return cls(updates - delays, **fields)

    @property
    def num_updates(self) -> int:
        """K, the number of updates."""
        return len(self.read_version)

    @property
    def num_blocks(self) -> int:
        """B, the number of blocks of an inconsistent read; 0 if all reads are consistent."""
        return 0 if self.block_version is None else self.block_version.shape[1]

    @property
    def delay(self) -> Int[np.ndarray, " K"]:
        """int[K], the staleness of update k's gradient in updates, k - read_version[k]."""
        return np.arange(self.num_updates) - self.read_version

    @property
    def max_delay(self) -> int:
        """The largest delay, τ in the bounds."""
        return int(self.delay.max())

    @property
    def mean_delay(self) -> float:
        """The mean delay."""
        return float(self.delay.mean())

    @property
    def mean_square_delay(self) -> float:
        """The mean of delay², the only statistic of the delay in the convex bound."""
        return float(np.mean(self.delay.astype(float) ** 2))

    @property
    def num_steps(self) -> int:
        """The number of optimizer steps; K if each gradient makes one."""
        return self.num_updates if self.step is None else int(self.step[-1]) + 1

    @property
    def step_delay(self) -> Int[np.ndarray, " K"]:
        """int[K], the staleness of update k's gradient in optimizer steps; `delay` if each gradient makes one."""
        return self.delay if self.step is None else self.step - self.step[self.read_version]

    @property
    def makes_step(self) -> np.ndarray:
        """bool[K], whether update k is the last of its step."""
        if self.step is None:
            return np.ones(self.num_updates, np.bool_)
        return np.append(np.diff(self.step) > 0, True)

    @property
    def step_weight(self) -> Float[np.ndarray, " K"]:
        """float[K], the factor of gradient k in the sum of its step."""
        if self.weight is not None:
            return self.weight
        if self.step is None:
            return np.ones(self.num_updates)
        return 1 / np.bincount(self.step)[self.step]

    @property
    def updates_per_second(self) -> float | None:
        """Updates per second from the first update to the last; None if the trace has no clock or took no time."""
        if self.time is None or self.time[-1] == self.time[0]:
            return None
        return (self.num_updates - 1) / float(self.time[-1] - self.time[0])

    @property
    def is_consistent(self) -> bool:
        """Whether each gradient was computed at one iterate, not at a mixture of several."""
        return bool(np.array_equal(self.read_version, self.read_end))

    @functools.cached_property
    def last_reader(self) -> Int[np.ndarray, " K"]:
        """int[K], the last update that reads iterate v (v in 0..K - 1), or -1 if no update does."""
        last = np.full(self.num_updates, -1)
        widths = self.read_end - self.read_version + 1
        readers = np.repeat(np.arange(self.num_updates), widths)
        first_of_read = np.repeat(np.cumsum(widths) - widths, widths)
        versions = self.read_version[readers] + np.arange(len(readers)) - first_of_read
        np.maximum.at(last, versions, readers)
        return last

    @functools.cached_property
    def live_versions(self) -> int:
        """The largest number of iterates alive at once, which any replay of this trace has to hold.

        Iterate v is alive from update v until its last reader is done. An iterate without a reader is never alive.
        """
        with_reader = np.flatnonzero(self.last_reader >= 0)
        change = np.zeros(self.num_updates + 1, dtype=np.int64)
        change[with_reader] += 1
        np.subtract.at(change, self.last_reader[with_reader] + 1, 1)
        return int(np.cumsum(change).max())

    @property
    def digest(self) -> str:
        """SHA-256 of the trace's content, equal for equal traces on every machine."""
        content = hashlib.sha256(f"asyncopt.trace 1 {self.num_workers}".encode())
        for name, dtype in (
            ("read_version", "<i8"),
            ("read_end", "<i8"),
            ("worker", "<i8"),
            ("time", "<f8"),
            ("sample", "<i8"),
        ):
            value = getattr(self, name)
            content.update(name.encode() + (b"-" if value is None else value.astype(dtype).tobytes()))
        # Most traces have none of these.
        for name, dtype in (
            ("block_version", "<i8"),
            ("arrival", "<f8"),
            ("step", "<i8"),
            ("weight", "<f8"),
            ("computed", "<i8"),
        ):
            value = getattr(self, name)
            if value is not None:
                content.update(f"{name} {value.shape}".encode() + value.astype(dtype).tobytes())
        for name in COSTS:
            value = getattr(self, name)
            if value is not None:
                content.update(f"{name} {value!r}".encode())
        return content.hexdigest()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the trace to a file whose name ends in ``.npz``, for `asyncopt.traces.load`.

        Raises:
          InputError: if the name ends otherwise.
          OSError: if the file cannot be written.
        """
        names = (field.name for field in dataclasses.fields(self))
        fields = {name: getattr(self, name) for name in names}
        npz.write(path, FILE_KIND, {name: value for name, value in fields.items() if value is not None})

    def plot(self) -> "Figure":
        """Draws the delay of each update, and how often each delay comes.

        Returns:
          A matplotlib figure, which a notebook shows. ``.savefig(path)`` writes it.
        """
        from asyncopt.drawing import delays

        workers = "1 worker" if self.num_workers == 1 else f"{self.num_workers:,} workers"
        return delays.delays(self.delay, f"{self.num_updates:,} updates of {workers}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def _facts(self) -> list[str]:
        steps = "" if self.step is None else f" in {self.num_steps} steps"
        delay = f"delay {self.mean_delay:.3g} mean, {self.max_delay} max"
        updates, workers = f"{self.num_updates} updates{steps}", f"{self.num_workers} workers"
        return [updates, workers, delay, f"{self.live_versions} live versions"]


_Constructor = TypeVar("_Constructor", bound=Callable[..., Trace])


def staleness_setting(name: str) -> Callable[[_Constructor], _Constructor]:
    """Marks a function that makes traces: its argument ``name`` sets their staleness.

    The mark is the attribute ``staleness_setting`` of the function, which stays as it is otherwise.
    """

    def mark(constructor: _Constructor) -> _Constructor:
        vars(constructor)["staleness_setting"] = name
        return constructor

    return mark


def _integers(name: str, values: ArrayLike, length: int | None = None) -> Int[np.ndarray, " K"]:
    """Returns a 1-D int64 array; accepts floats if each is a whole number."""
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
        _refuse_first(name, array, np.flatnonzero(array > _MAX_UPDATES), f"expected at most {_MAX_UPDATES}")
    return array.astype(np.int64)


def _blocks(values: ArrayLike, length: int) -> Int[np.ndarray, "K B"]:
    """Returns ``block_version`` as int64."""
    array = np.asarray(values)
    if array.ndim != 2 or len(array) != length or array.shape[1] == 0 or array.dtype.kind not in "iu":
        raise InputError(
            f"block_version has shape {array.shape} and dtype {array.dtype}, "
            f"expected integers, a row for each of the {length} updates and a column for each block"
        )
    return array.astype(np.int64)


def _sweep(versions: Int[np.ndarray, " K"], ends: Int[np.ndarray, " K"]) -> Int[np.ndarray, "K B"]:
    """Returns ``block_version`` of reads that swept from their oldest to their newest iterate at a steady rate."""
    num_blocks = min(int(np.max(ends - versions)) + 1, _MAX_SWEEP_BLOCKS)
    blocks = np.arange(num_blocks)
    return versions[:, None] + (2 * (ends - versions)[:, None] * blocks + num_blocks - 1) // (2 * (num_blocks - 1))


def _arrivals(values: ArrayLike, time: ArrayLike | None, length: int) -> Float[np.ndarray, " K"]:
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


def _steps(values: ArrayLike, length: int) -> Int[np.ndarray, " K"]:
    """Returns ``step`` as int64: from 0, each the same as the one before or the next."""
    steps = _integers("step", values, length)
    if steps[0] != 0:
        raise InputError(f"step of update 0 is {steps[0]}, expected 0")
    _check_range("step", steps[1:], steps[:-1], steps[:-1] + 1, "that of the update before, or the next", first=1)
    return steps


def _computed(values: ArrayLike, length: int) -> Int[np.ndarray, " K"]:
    """Returns ``computed`` as int64: non-decreasing, and at least one for each update that came before."""
    computed = _integers("computed", values, length)
    backwards = np.flatnonzero(np.diff(computed) < 0) + 1
    _refuse_first("computed", computed, backwards, "expected at least that of the update before")
    least = np.arange(1, length + 1)
    _check_range("computed", computed, least, _MAX_UPDATES, "each update uses one")
    return computed


def _times(values: ArrayLike, length: int) -> Float[np.ndarray, " K"]:
    """Returns ``time`` as float64, finite and non-decreasing."""
    time = _seconds("time", values, length)
    backwards = np.flatnonzero(np.diff(time) < 0) + 1
    if len(backwards):
        k = backwards[0]
        raise InputError(f"time runs backwards at update {k}: {time[k]!s} s after {time[k - 1]!s} s")
    return time


def _seconds(name: str, values: ArrayLike, length: int) -> Float[np.ndarray, " K"]:
    """Returns seconds as a finite float64 array."""
    return _floats(name, values, length, "second", "expected a finite number of seconds")


def _floats(
    name: str, values: ArrayLike, length: int, unit: str = "number", finite: str = "expected a finite number"
) -> Float[np.ndarray, " K"]:
    """Returns a finite float64 array; messages call an entry by its unit, and say what is expected of it."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is not an array of {unit}s: {error}") from error
    if array.shape != (length,):
        raise InputError(f"{name} has shape {array.shape}, expected one {unit} for each of the {length} updates")
    _refuse_first(name, array, np.flatnonzero(~np.isfinite(array)), finite)
    return array


def _check_range(name: str, values: np.ndarray, low: ArrayLike, high: ArrayLike, reason: str, first: int = 0) -> None:
    """Refuses the first value out of range; ``first`` is the update of the first value."""
    low, high = np.broadcast_to(low, values.shape), np.broadcast_to(high, values.shape)
    bad = np.flatnonzero((values < low) | (values > high))
    if len(bad):
        k = bad[0]
        raise InputError(f"{name} of update {first + k} is {values[k]}, expected {low[k]} to {high[k]}: {reason}")


def _check_equal(name: str, values: np.ndarray, wanted: np.ndarray, reason: str) -> None:
    bad = np.flatnonzero(values != wanted)
    if len(bad):
        raise InputError(f"{name} of update {bad[0]} is {values[bad[0]]}, expected {wanted[bad[0]]}, {reason}")


def _refuse_first(name: str, values: np.ndarray, bad: np.ndarray, expected: str) -> None:
    if len(bad):
        raise InputError(f"{name} of update {bad[0]} is {values[bad[0]]!s}, {expected}")
