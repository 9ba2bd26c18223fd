"""Long runs kept on disk while they run, so that they can be stopped and go on."""

import dataclasses
import pathlib
import time
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from asyncopt.checks import InputError
from asyncopt.engine.state import Evaluation, LoopState
from asyncopt.files import npz

_KIND = "checkpoint of asyncopt"


class Snapshot(NamedTuple):
    """A run on its way: all that must be kept for it to go on as if it had never stopped."""

    state: LoopState
    evaluations: tuple[Evaluation, ...]  # so far, in parts; NumPy arrays whose last axis counts them
    made: int  # updates
    evaluated: int  # updates made when it was last evaluated
    seconds: float  # of wall-clock time, compilation excluded
    rows: PyTree = None  # what a real run noted of each update; NumPy arrays whose last axis counts updates

    def in_one_part(self) -> "Snapshot":
        """Returns the same with its evaluations put together."""
        together = jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *self.evaluations)
        return self._replace(evaluations=(together,))


@dataclasses.dataclass
class Checkpoint:
    """Where, how often and under what name a run is kept while it runs.

    Args:
      path: of the file, ending in ``.npz``; it is written whole or not at all, and removed by whoever has the results.
      tag: says which run it is; a file with another tag is left unread.
      every: seconds between two writes.
    """

    path: pathlib.Path
    tag: str
    every: float

    def __post_init__(self) -> None:
        self._written = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last write."""
        return time.monotonic() - self._written >= self.every

    def save(self, snapshot: Snapshot) -> None:
        """Writes the file; a disk that cannot take it costs a warning, since the run itself goes well."""
        leaves = {f"leaf_{i}": plain(leaf) for i, leaf in enumerate(jax.tree.leaves(snapshot.in_one_part()))}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            npz.write(self.path, _KIND, {"tag": np.array(self.tag), **leaves}, compressed=False)
        except OSError as error:
            warnings.warn(f"{self.path}: no checkpoint was written: {error}", stacklevel=2)
        self._written = time.monotonic()

    def load(self, start: Snapshot) -> Snapshot | None:
        """Returns what the file holds, placed on devices as ``start`` is; None if it is not there or not of this run.

        Args:
          start: the same run at its start, once evaluated; it says what structure, shapes and dtypes to expect.
        """
        if not self.path.is_file():
            return None
        try:
            fields = npz.read(self.path, _KIND)
        except InputError as error:
            warnings.warn(f"{error}; the run starts over", stacklevel=2)
            return None
        like, structure = jax.tree.flatten(start)
        found = [fields.get(f"leaf_{i}") for i in range(len(like))]
        if str(fields.get("tag")) != self.tag or len(fields) != len(like) + 1 or not _fit(found, like):
            return None
        return jax.tree.unflatten(structure, [_placed(leaf, wanted) for leaf, wanted in zip(found, like, strict=True)])

    def remove(self) -> None:
        """Deletes the file, if there is one."""
        self.path.unlink(missing_ok=True)


def plain(leaf: Any) -> np.ndarray:
    """Returns a leaf as an array that NumPy's format knows: keys as their bits, bfloat16 as bytes."""
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array if array.dtype.isbuiltin == 1 else array.view(np.dtype(f"u{array.dtype.itemsize}"))


def _fit(found: Sequence[np.ndarray | None], like: Sequence[Any]) -> bool:
    """Whether arrays are those of the same run; of NumPy's, which count evaluations or updates, any number will do."""
    expected = [plain(wanted) for wanted in like]
    return all(
        leaf is not None
        and leaf.dtype == wanted.dtype
        and (leaf.shape == wanted.shape or (type(original) is np.ndarray and leaf.shape[:-1] == wanted.shape[:-1]))
        for leaf, wanted, original in zip(found, expected, like, strict=True)
    )


def _placed(leaf: Any, like: Any) -> PyTree:
    if not isinstance(like, jax.Array):
        return leaf.view(like.dtype) if isinstance(like, np.ndarray) else type(like)(leaf)
    leaf = jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like)) if _is_key(like) else leaf.view(like.dtype)
    return jax.device_put(leaf, like.sharding)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
