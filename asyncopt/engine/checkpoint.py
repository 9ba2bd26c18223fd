"""Keeps long runs on disk while they run, so that they can be stopped and resumed."""

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
    """A run between two updates: everything that it takes to resume it as if it had never stopped."""

    state: LoopState
    evaluations: tuple[Evaluation, ...]  # so far, in parts; NumPy arrays whose last axis counts evaluations
    made: int  # updates made
    evaluated: int  # updates made when it was last evaluated
    seconds: float  # wall-clock time, compilation excluded
    told: int = 0  # evaluations that `on_evaluation` was called for
    rows: PyTree = None  # what a real run records of each update; NumPy arrays whose last axis counts updates

    def in_one_part(self) -> "Snapshot":
        """Returns the same snapshot with its evaluations in one part."""
        together = jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *self.evaluations)
        return self._replace(evaluations=(together,))


@dataclasses.dataclass
class Checkpoint:
    """Where, how often and under which tag a run is kept while it runs.

    Args:
      path: the file, ending in ``.npz``; it is written whole or not at all. The caller removes it at the end.
      tag: identifies the run; a file with another tag is not read.
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
        """Writes the file. A failed write only warns; the run continues."""
        leaves = {f"leaf_{i}": plain(leaf) for i, leaf in enumerate(jax.tree.leaves(snapshot.in_one_part()))}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            npz.write(self.path, _KIND, {"tag": np.array(self.tag), **leaves}, compressed=False)
        except OSError as error:
            warnings.warn(f"{self.path}: no checkpoint was written: {error}", stacklevel=2)
        self._written = time.monotonic()

    def load(self, start: Snapshot) -> Snapshot | None:
        """Returns the snapshot in the file, placed on devices as ``start`` is; None without a file of this run.

        Args:
          start: the same run at its start, evaluated once; it has the structure, shapes and dtypes to expect.
        """
        if not self.path.is_file():
            return None
        try:
            fields = npz.read(self.path, _KIND)
        except InputError as error:
            warnings.warn(f"{error}; the run starts over", stacklevel=2)
            return None
        like, structure = jax.tree.flatten(start)
        leaves = [fields.get(f"leaf_{i}") for i in range(len(like))]
        if str(fields.get("tag")) != self.tag or len(fields) != len(like) + 1 or not _are_like(leaves, like):
            return None
        return jax.tree.unflatten(structure, map(_placed, leaves, like))

    def remove(self) -> None:
        """Deletes the file, if there is one."""
        self.path.unlink(missing_ok=True)


def plain(leaf: Any) -> np.ndarray:
    """Returns a leaf as an array that NumPy's file format can store: keys as their bits, bfloat16 as bytes."""
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array if array.dtype.isbuiltin == 1 else array.view(np.dtype(f"u{array.dtype.itemsize}"))


def _are_like(leaves: Sequence[np.ndarray | None], like: Sequence[Any]) -> bool:
    """Whether arrays have a run's shapes and dtypes. The last axis of NumPy arrays may have any length."""
    return all(
        leaf is not None
        and leaf.dtype == expected.dtype
        and (leaf.shape == expected.shape or (type(original) is np.ndarray and leaf.shape[:-1] == expected.shape[:-1]))
        for leaf, expected, original in zip(leaves, map(plain, like), like, strict=True)
    )


def _placed(leaf: Any, like: Any) -> PyTree:
    if not isinstance(like, jax.Array):
        return leaf.view(like.dtype) if isinstance(like, np.ndarray) else type(like)(leaf)
    leaf = jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like)) if _is_key(like) else leaf.view(like.dtype)
    return jax.device_put(leaf, like.sharding)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
