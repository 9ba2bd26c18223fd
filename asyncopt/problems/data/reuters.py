"""The text data of the paper's convex experiment: the published file, or generated rows with its statistics."""

import dataclasses
import os

import numpy as np
import scipy.sparse

from asyncopt.checks import check_integer, check_seed
from asyncopt.problems.data.dataset import Dataset, split
from asyncopt.problems.data.libsvm import libsvm
from asyncopt.problems.data.source import find

NUM_ROWS, NUM_FEATURES = 20_242, 47_236
FILES = ("rcv1_train.binary", "rcv1_train.binary.bz2", "rcv1_train.binary.gz")
_HINT = "It is rcv1_train.binary of the LIBSVM data sets; data=rcv1_like generates rows like it"

# A generated document is a bag of words. With these numbers, rows have the published file's statistics: 74 distinct
# words on average, 52 % positive, and a linear classifier that is right on 97 % of held-out rows.
_MEDIAN_WORDS, _SPREAD_OF_WORDS, _FEWEST_WORDS = 60.0, 0.7, 6
_WORD_EXPONENT, _WORD_OFFSET = 1.05, 60.0
_CLASS_STRENGTH = 0.36
_POSITIVE = 0.52


def rcv1(root: str | os.PathLike[str] | None = None, test_fraction: float = 0.0, split_seed: int = 0) -> Dataset:
    """20,242 news articles as sparse rows of 47,236 word weights, two classes.

    Args:
      root: folder with ``rcv1_train.binary`` (or .bz2, .gz), or with a folder ``rcv1`` that holds it. Default: the
        environment variable ASYNCOPT_DATA.
      test_fraction: fraction of the rows held out, in [0, 1).
      split_seed: seed of the choice of these rows.

    Raises:
      InputError: if the file is missing, or damaged; the message names it.

    References:
      Lewis et al., `RCV1: a new benchmark collection for text categorization research
      <https://jmlr.org/papers/v5/lewis04a.html>`_, JMLR 5, 2004.
    """
    rows = libsvm(find(root, "rcv1", FILES, _HINT), NUM_FEATURES, False, test_fraction, split_seed)
    return dataclasses.replace(rows, name="rcv1")


def rcv1_like(num_rows: int = NUM_ROWS, test_fraction: float = 0.0, split_seed: int = 0, seed: int = 0) -> Dataset:
    """Generated rows with the shape and statistics of `rcv1`, for machines without the file.

    A row is a document on one of two topics. Its words are drawn from a Zipf-Mandelbrot distribution over 47,236
    words that the topic tilts; their number is lognormal. As in the published file (Lewis et al., 2004, section 6), a
    weight is (1 + log count) · log(rows / rows with the word), and rows have unit length.

    Args:
      num_rows: N, training and held-out rows together, at least 2.
      test_fraction: fraction of the rows held out, in [0, 1).
      split_seed: seed of the choice of these rows.
      seed: seed of the generated rows, at least 0.

    Raises:
      InputError: if a number is out of range.

    References:
      Mandelbrot, An informational theory of the statistical structure of language, 1953.
    """
    num_rows = check_integer("num_rows", num_rows, at_least=2)
    rng = np.random.default_rng(check_seed("seed", seed))
    labels = (np.arange(num_rows) < round(_POSITIVE * num_rows)).astype(np.int64)
    rng.shuffle(labels)
    drawn = rng.lognormal(np.log(_MEDIAN_WORDS), _SPREAD_OF_WORDS, num_rows)
    lengths = np.maximum(drawn.astype(np.int64), _FEWEST_WORDS)
    counts = _counts(rng, labels, lengths)
    documents = np.bincount(counts.indices, minlength=NUM_FEATURES)
    counts.data = (1 + np.log(counts.data)) * np.log(num_rows / documents[counts.indices])
    # A word in every row has no weight, so that with few rows, a norm may be 0.
    norms = np.maximum(np.sqrt(counts.multiply(counts).sum(axis=1)), 1e-12)
    counts.data /= np.repeat(norms, np.diff(counts.indptr))
    return split("rcv1_like", counts, labels, 2, test_fraction, split_seed)


def _counts(rng: np.random.Generator, labels: np.ndarray, lengths: np.ndarray) -> scipy.sparse.csr_array:
    """Returns float64[N, d], the number of times that each word is in each document."""
    popularity = (np.arange(NUM_FEATURES) + _WORD_OFFSET) ** -_WORD_EXPONENT
    tilt = _CLASS_STRENGTH * rng.normal(size=NUM_FEATURES)
    topics = np.repeat(labels, lengths)
    uniform = rng.random(len(topics))
    words = np.empty(len(topics), np.int64)
    for topic, sign in enumerate((-1, 1)):
        cumulative = np.cumsum(popularity * np.exp(sign * tilt))
        chosen = topics == topic
        words[chosen] = np.searchsorted(cumulative / cumulative[-1], uniform[chosen], side="right")
    rows = np.repeat(np.arange(len(lengths)), lengths)
    counts = scipy.sparse.coo_array((np.ones(len(words)), (rows, words)), shape=(len(lengths), NUM_FEATURES)).tocsr()
    counts.sum_duplicates()
    return counts
