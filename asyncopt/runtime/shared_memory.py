"""Parameters in memory that is written while it is read."""

import time

import jax
import numpy as np
from jaxtyping import Int, PyTree

from asyncopt.engine.blocks import slices

_WRITING = -1


class SharedParams:
    """The newest iterate in blocks, for one writer and any number of readers, without a lock.

    A reader copies one block after another, whatever the writer does meanwhile, so that a copy may mix blocks of
    several iterates, which is the inconsistent read of lock-free methods. Each block is whole: it carries the number of
    its iterate, which reads as being written while it is, and a reader that finds another number after copying than
    before copies the block again (after Lamport).

    Args:
      params: iterate 0.
      num_blocks: B, at least 1.
      pause: seconds that a reader rests between two blocks; with 0 it lets other threads go first.

    References:
      Lamport, Concurrent reading and writing, Comm. ACM 20(11), 1977.
    """

    def __init__(self, params: PyTree, num_blocks: int, pause: float) -> None:
        leaves, self._structure = jax.tree.flatten(params)
        self._shapes = [leaf.shape for leaf in leaves]
        self._leaves = [np.array(leaf).ravel() for leaf in leaves]
        self._places = slices(tuple(leaf.size for leaf in self._leaves), num_blocks)
        self._version = [0] * num_blocks
        self._pause = pause

    def write(self, version: int, params: PyTree) -> None:
        """Puts an iterate there, block by block."""
        new = [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(params)]
        for block, places in enumerate(self._places):
            self._version[block] = _WRITING
            for leaf, where in places:
                self._leaves[leaf][where] = new[leaf][where]
            self._version[block] = version
            time.sleep(0)  # lets a reader in between

    def read(self) -> tuple[PyTree, Int[np.ndarray, " B"]]:
        """Returns what is there, block by block, and the iterate that each block is of."""
        found = [np.empty_like(leaf) for leaf in self._leaves]
        versions = []
        for block, places in enumerate(self._places):
            while True:
                before = self._version[block]
                for leaf, where in places:
                    found[leaf][where] = self._leaves[leaf][where]
                if before == self._version[block] != _WRITING:
                    break
                time.sleep(0)
            versions.append(before)
            time.sleep(self._pause)
        shaped = [leaf.reshape(shape) for leaf, shape in zip(found, self._shapes, strict=True)]
        return jax.tree.unflatten(self._structure, shaped), np.array(versions)
