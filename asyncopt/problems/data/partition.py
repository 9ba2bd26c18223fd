"""Data of their own for workers: each gets as many rows, of all classes or of few."""

import dataclasses

import numpy as np
from jaxtyping import Int

from asyncopt.checks import InputError, check_integer, check_number, check_seed
from asyncopt.problems.data.dataset import Dataset
from asyncopt.problems.data.images import ImageData

_WAYS = ("label", "shard", "random")


def partition(
    dataset: Dataset | ImageData,
    num_workers: int,
    by: str = "label",
    alpha: float = 0.1,
    seed: int = 0,
    shards: int = 2,
) -> Dataset | ImageData:
    """Divides the training rows among workers, and returns them in the order of the workers.

    Each worker gets as many rows, so that F, the mean over the rows that are kept, is the mean of the workers' own
    objectives. Fewer than p rows are left out, or fewer than ``shards`` · p. Held-out rows stay as they are.

    Args:
      dataset: rows or images with classes.
      num_workers: p, at least 1, at most N.
      by: "label": each worker draws shares of the classes from a symmetric Dirichlet distribution, and takes rows in
        these shares. When none is left of its classes, it takes rows of the others. "shard": rows are sorted by class
        and cut into ``shards`` · p pieces, and each worker gets ``shards`` of them, drawn at random. "random": rows are
        drawn at random.
      alpha: the parameter of the Dirichlet distribution, above 0. If it is small, a worker has few classes; if it is
        large, all workers have the same.
      seed: seed of all draws.
      shards: pieces for each worker, at least 1.

    Raises:
      InputError: if a value is out of range, or there are more workers than rows.

    References:
      Hsu, Qi and Brown, `Measuring the effects of non-identical data distribution
      <https://arxiv.org/abs/1909.06335>`_, 2019 (Dirichlet); McMahan et al., `Communication-efficient learning of deep
      networks from decentralized data <https://arxiv.org/abs/1602.05629>`_, 2017 (shards).
    """
    if not isinstance(dataset, Dataset | ImageData):
        raise InputError(f"dataset is {type(dataset).__name__}, expected a Dataset or ImageData, which have classes")
    num_workers = check_integer("num_workers", num_workers, at_least=1)
    alpha, shards = check_number("alpha", alpha, above=0), check_integer("shards", shards, at_least=1)
    if by not in _WAYS:
        raise InputError(f"by is {by!r}, expected one of {_WAYS}")
    num_rows = len(dataset.labels)
    pieces = num_workers * (shards if by == "shard" else 1)
    if pieces > num_rows:
        wanted = "num_workers · shards" if by == "shard" else "num_workers"
        raise InputError(f"{wanted} is {pieces}, expected at most {num_rows}, the rows of {dataset.name}")
    generator = np.random.default_rng(check_seed("seed", seed))
    if by == "label":
        rows = _by_label(dataset.labels, dataset.num_classes, num_workers, alpha, generator)
    elif by == "shard":
        size = num_rows // pieces
        in_order = np.argsort(dataset.labels, kind="stable")[: size * pieces].reshape(pieces, size)
        rows = in_order[generator.permutation(pieces)].ravel()
    else:
        rows = generator.permutation(num_rows)[: num_rows // num_workers * num_workers]
    values = "features" if isinstance(dataset, Dataset) else "images"
    taken = {values: getattr(dataset, values)[rows], "labels": dataset.labels[rows]}
    return dataclasses.replace(dataset, **taken, num_workers=num_workers)


def _by_label(
    labels: Int[np.ndarray, " N"], num_classes: int, num_workers: int, alpha: float, generator: np.random.Generator
) -> Int[np.ndarray, " n"]:
    """Returns row numbers: those of worker 0, of worker 1, ... Workers take turns, a row at a time."""
    shares = generator.dirichlet(np.full(num_classes, alpha), num_workers)
    stock = [list(generator.permutation(np.flatnonzero(labels == c))) for c in range(num_classes)]
    left = np.array([len(rows) for rows in stock])
    size = len(labels) // num_workers
    rows = np.zeros((num_workers, size), np.int64)
    for place in range(size):
        for worker in generator.permutation(num_workers):
            cumulated = np.cumsum(shares[worker] * (left > 0))
            if cumulated[-1] <= 0:  # its classes are used up
                cumulated = np.cumsum(left)
            chosen = int(np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right"))
            rows[worker, place] = stock[chosen].pop()
            left[chosen] -= 1
    return rows.ravel()
