"""Blocks of the parameters, which one update may read from different iterates."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int, PyTree

from asyncopt.checks import InputError, check_integer
from asyncopt.problems import Problem
from asyncopt.traces import Trace
from asyncopt.traces.fields import LAYERS

# What the user may say of a trace's blocks: None, "layers", or a function from the path of a leaf to its block.
Blocks = str | Callable[[str], int] | None


def block_of(sizes: Sequence[int], num_blocks: int) -> list[Int[np.ndarray, " n"]]:
    """Returns the block of each coordinate, an array of int32 for each leaf of the parameters.

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


def has_layers(trace: Trace, blocks: Blocks) -> bool:
    """Whether the blocks of a trace are leaves of the parameters, so that each leaf has a history of its own."""
    return trace.num_blocks > 0 and (blocks is not None or trace.blocks == LAYERS)


def leaf_blocks(problem: Problem, params: PyTree, trace: Trace, blocks: Blocks) -> tuple[int, ...] | None:
    """Returns the block of each leaf of the parameters; None if the trace's blocks are coordinates, or it has none.

    Args:
      problem: its ``layer_numbers`` says which layer each leaf belongs to. Without, consecutive leaves of one
        container, such as weight and bias, are a layer.
      params: an iterate, or its shapes and dtypes.
      trace: its B blocks.
      blocks: None for what the trace says, "layers", or a function that is given the path of a leaf, such as
        ".blocks[0].weight", and returns its block, 0 to B - 1.

    Raises:
      InputError: if the parameters have fewer layers than the trace has blocks, or the function returns something else.
    """
    if blocks is not None and blocks != LAYERS and not callable(blocks):
        raise InputError(f"blocks is {blocks!r}, expected None, {LAYERS!r}, or a function of the path of a leaf")
    if not has_layers(trace, blocks):
        return None
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(params)]
    if callable(blocks):
        return tuple(_check_block(blocks, path, trace.num_blocks) for path in paths)
    numbers = getattr(problem, "layer_numbers", None)
    if numbers is not None:
        layers = [
            check_integer("a leaf of layer_numbers of the problem", number, at_least=0)
            for number in jax.tree.leaves(numbers(params))
        ]
        if len(layers) != len(paths):
            raise InputError(f"layer_numbers of the problem has {len(layers)} leaves, its parameters {len(paths)}")
    else:
        layers = _containers(params)
    num_layers = max(layers) + 1
    if num_layers < trace.num_blocks:
        raise InputError(
            f"the trace has {trace.num_blocks} stages, and the problem {num_layers} layers, expected at most as many "
            "stages"
        )
    return tuple(layer * trace.num_blocks // num_layers for layer in layers)


def _check_block(blocks: Callable[[str], int], path: str, num_blocks: int) -> int:
    block = check_integer(f"blocks of leaf {path}", blocks(path), at_least=0)
    if block >= num_blocks:
        raise InputError(f"blocks of leaf {path} is {block}, expected at most {num_blocks - 1}")
    return block


def _containers(params: PyTree) -> list[int]:
    """Returns a number for each leaf: the same for consecutive leaves of one container."""
    containers: list[Any] = [path[:-1] for path, _ in jax.tree.leaves_with_path(params)]
    starts = [i > 0 and containers[i] != containers[i - 1] for i in range(len(containers))]
    return np.cumsum(starts).tolist()
