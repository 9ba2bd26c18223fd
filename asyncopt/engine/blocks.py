"""Blocks of the parameters, which a read that races with writes may find at different iterates."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def block_of(sizes: Sequence[int], num_blocks: int) -> list[Int[np.ndarray, " n"]]:
    """Returns the block of each coordinate, for each leaf of the parameters.

    Block b of n coordinates has those from ⌊b n / B⌋ to ⌊(b + 1) n / B⌋ - 1, counted through all leaves.

    Args:
      sizes: the number of coordinates of each leaf, in the order of `jax.tree.leaves`.
      num_blocks: B.
    """
    total = sum(sizes)
    bounds = np.arange(num_blocks + 1) * total // num_blocks
    blocks = np.repeat(np.arange(num_blocks, dtype=np.int32), np.diff(bounds))
    return np.split(blocks, np.cumsum(sizes)[:-1])


@functools.lru_cache(maxsize=8)
def slices(sizes: tuple[int, ...], num_blocks: int) -> list[list[tuple[int, slice]]]:
    """Returns the places of each block: (number of the leaf, coordinates of the raveled leaf).

    The last results are cached, since a run needs the same ones in every update.
    """
    places: list[list[tuple[int, slice]]] = [[] for _ in range(num_blocks)]
    for leaf, blocks in enumerate(block_of(sizes, num_blocks)):
        for block in np.unique(blocks).tolist():
            first, end = np.searchsorted(blocks, [block, block + 1])
            places[block].append((leaf, slice(int(first), int(end))))
    return places
