"""Parameters in shared memory that workers read while the server writes."""

import time

import jax
import numpy as np
from jaxtyping import Int, PyTree

from asyncopt.engine.blocks import slices

# The version of a block that is being written.
_WRITING = -1


class SharedParams:
    """The newest iterate in blocks, for one writer and any number of readers, without a lock.

    A reader copies one block after another while the writer may write. So a copy may mix blocks of several iterates,
    which is the inconsistent read of lock-free methods. Each block is whole. It carries the number of its iterate, or
    the mark that it is being written. A reader compares the number before and after copying a block, and copies the
    block again if they differ (after Lamport).

    Args:
      params: iterate 0.
      num_blocks: B, at least 1.
      pause: seconds that a reader waits between two blocks; with 0 it lets other threads run.

    References:
      Lamport, Concurrent reading and writing, Comm. ACM 20(11), 1977.
    """

    def __init__(self, params: PyTree, num_blocks: int, pause: float) -> None:
        leaves, self._structure = jax.tree.flatten(params)
        self._shapes = [leaf.shape for leaf in leaves]
        self._leaves = [np.array(leaf).ravel() for leaf in leaves]
        self._block_slices = slices(tuple(leaf.size for leaf in self._leaves), num_blocks)
        self._version = [0] * num_blocks
        self._pause = pause
        self._is_closed = False

    def write(self, version: int, params: PyTree) -> None:
        """Writes an iterate, block by block."""
        new = [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(params)]
        for block, block_slices in enumerate(self._block_slices):
            self._version[block] = _WRITING
            for leaf, coordinates in block_slices:
                self._leaves[leaf][coordinates] = new[leaf][coordinates]
            self._version[block] = version
            time.sleep(0)  # lets a reader run

    def close(self) -> None:
        """Ends all reads, with an error: a block whose writing Ctrl-C has stopped keeps its mark, and has no reader."""
        self._is_closed = True

    def read(self) -> tuple[PyTree, Int[np.ndarray, " B"]]:
        """Returns a copy of the parameters, made block by block, and the iterate of each block.

        Raises:
          RuntimeError: after `close`.
        """
        copies = [np.empty_like(leaf) for leaf in self._leaves]
        versions = []
        for block, block_slices in enumerate(self._block_slices):
            while True:
                if self._is_closed:
                    raise RuntimeError("the shared memory is closed")
                before = self._version[block]
                for leaf, coordinates in block_slices:
                    copies[leaf][coordinates] = self._leaves[leaf][coordinates]
                if before == self._version[block] != _WRITING:
                    break
                time.sleep(0)
            versions.append(before)
            time.sleep(self._pause)
        shaped = [leaf.reshape(shape) for leaf, shape in zip(copies, self._shapes, strict=True)]
        return jax.tree.unflatten(self._structure, shaped), np.array(versions)
