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

from asyncopt.checks import check_integer, check_number
from asyncopt.files import npz
from asyncopt.shown import Shown
from asyncopt.traces import fields

if TYPE_CHECKING:  # reading a trace needs no matplotlib
    from matplotlib.figure import Figure

# The kind that a trace file carries.
FILE_KIND = "asyncopt.trace/1"
# Numbers that say what a trace cost, of the whole trace.
COSTS = ("arrivals", "cancelled", "wasted_seconds")


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
        read_version[k], and the newest read_end[k]. Default: where ``read_end`` is later, block b was read from the
        iterate next to read_version[k] + b (read_end[k] - read_version[k]) / (B - 1). None if every read is consistent.
      backward_version: int[K, B], the iterate that each block of the backward pass came from, block_version[k, b] to k;
        a pipeline without weight stashing takes its newest weights there. None: that of the forward pass.
      blocks: what a block is. "coordinates": of n coordinates (in the order of `jax.tree.leaves`, each ravelled),
        block b has those from ⌊b n / B⌋ to ⌊(b + 1) n / B⌋ - 1. "layers": of L layers of a network, block b has the
        layers l with ⌊l B / L⌋ = b, the stages of a pipeline.
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
    backward_version: Int[np.ndarray, "K B"] | None  # None if it is block_version
    blocks: str
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
        backward_version: ArrayLike | None = None,
        blocks: str = fields.COORDINATES,
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
        read = fields.reads(read_version, read_end, block_version, backward_version, blocks)
        num_updates = len(read.oldest)

        workers = np.zeros_like(read.oldest) if worker is None else fields.integers("worker", worker, num_updates)
        if num_workers is None:
            num_workers = int(workers.max()) + 1
        num_workers = check_integer("num_workers", num_workers, at_least=1)
        fields.check_range("worker", workers, 0, num_workers - 1, f"the trace has {num_workers} workers")

        samples = np.arange(num_updates) if sample is None else fields.integers("sample", sample, num_updates)
        fields.check_range("sample", samples, 0, fields.MAX_UPDATES, "samples are numbered with 31 bits")

        checked = {
            "read_version": read.oldest,
            "read_end": read.newest,
            "block_version": read.blocks,
            "backward_version": read.backward,
            "blocks": read.kind,
            "worker": workers,
            "time": None if time is None else fields.times(time, num_updates),
            "arrival": None if arrival is None else fields.arrivals(arrival, time, num_updates),
            "sample": samples,
            "step": None if step is None else fields.steps(step, num_updates),
            "weight": None if weight is None else fields.floats("weight", weight, num_updates),
            "computed": None if computed is None else fields.computed(computed, num_updates),
            "arrivals": None if arrivals is None else check_integer("arrivals", arrivals, at_least=num_updates),
            "cancelled": None if cancelled is None else check_integer("cancelled", cancelled, at_least=0),
            "wasted_seconds": None
            if wasted_seconds is None
            else check_number("wasted_seconds", wasted_seconds, at_least=0),
            "num_workers": num_workers,
        }
        for name, value in checked.items():
            if isinstance(value, np.ndarray):
                value = value.copy()
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    @classmethod
    def from_delays(cls, delays: ArrayLike, **others: Any) -> Self:
        """Returns the trace in which update k's gradient was computed ``delays[k]`` updates ago.

        Args:
          delays: int[K], 0 <= delays[k] <= k.
          **others: the other fields of the trace.

        Raises:
          InputError: if a delay is negative, fractional or not a number, or the gradient would be older than the
            start.
        """
        delays = fields.integers("delay", delays)
        updates = np.arange(len(delays))
        fields.check_range("delay", delays, 0, updates, "the gradient would be older than the start")
        return cls(updates - delays, **others)

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
        """int[K], the staleness of update k's gradient in updates, k - read_version[k]; that of the oldest block."""
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
        if self.blocks == fields.LAYERS:
            return self.block_last_reader.max(axis=1)
        # A read of iterates v to w is two runs of 2^n iterates, one from v and one to w. Runs are halved, from long to
        # short: the iterates of all reads together may be K^2 / 2.
        updates = np.arange(self.num_updates)
        exponents = np.frexp(self.read_end - self.read_version + 1)[1] - 1
        last = np.full(self.num_updates, -1)
        for exponent in range(exponents.max(), -1, -1):
            if exponent < exponents.max():  # `last` is that of runs twice as long
                half = 2**exponent
                last[half:] = np.maximum(last[half:], last[:-half].copy())
            here = updates[exponents == exponent]
            for first in (self.read_version[here], self.read_end[here] - 2**exponent + 1):
                np.maximum.at(last, first, here)
        return last

    @functools.cached_property
    def live_versions(self) -> int:
        """The largest number of iterates alive at once, which any replay of this trace has to hold.

        Iterate v is alive from update v until its last reader is done. An iterate without a reader is never alive.
        """
        return _most_alive(self.last_reader)

    @functools.cached_property
    def block_last_reader(self) -> Int[np.ndarray, "K B"]:
        """int[K, B], the last update that reads block b of iterate v, or -1; B is 1 where reads are consistent.

        A block of coordinates is kept as long as the whole iterate is.
        """
        if self.blocks == fields.COORDINATES or self.block_version is None:
            return np.repeat(self.last_reader[:, None], max(self.num_blocks, 1), axis=1)
        last = np.full(self.block_version.shape, -1)
        for versions in (self.block_version, self.backward_version):
            if versions is not None:
                for block, column in enumerate(versions.T):
                    np.maximum.at(last[:, block], column, np.arange(self.num_updates))
        return last

    @functools.cached_property
    def block_live_versions(self) -> tuple[int, ...]:
        """For each block, the largest number of iterates of which it is kept at once."""
        return tuple(_most_alive(last) for last in self.block_last_reader.T)

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
            ("backward_version", "<i8"),
            ("arrival", "<f8"),
            ("step", "<i8"),
            ("weight", "<f8"),
            ("computed", "<i8"),
        ):
            value = getattr(self, name)
            if value is not None:
                content.update(f"{name} {value.shape}".encode() + value.astype(dtype).tobytes())
        if self.blocks != fields.COORDINATES:
            content.update(self.blocks.encode())
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
        kept = {name: getattr(self, name) for name in names}
        if self.blocks == fields.COORDINATES:
            del kept["blocks"]
        npz.write(path, FILE_KIND, {name: value for name, value in kept.items() if value is not None})

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


def _most_alive(last_reader: Int[np.ndarray, " K"]) -> int:
    """Returns the largest number of versions alive at once, each from its own update until its last reader's."""
    with_reader = np.flatnonzero(last_reader >= 0)
    change = np.zeros(len(last_reader) + 1, dtype=np.int64)
    change[with_reader] += 1
    np.subtract.at(change, last_reader[with_reader] + 1, 1)
    return int(np.cumsum(change).max())


_Constructor = TypeVar("_Constructor", bound=Callable[..., Trace])


def staleness_setting(name: str) -> Callable[[_Constructor], _Constructor]:
    """Marks a function that makes traces: its argument ``name`` sets their staleness.

    The mark is the attribute ``staleness_setting`` of the function, which stays as it is otherwise.
    """

    def mark(constructor: _Constructor) -> _Constructor:
        vars(constructor)["staleness_setting"] = name
        return constructor

    return mark
