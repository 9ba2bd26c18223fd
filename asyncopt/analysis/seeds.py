"""Whether seeds can be treated as independent draws with tails that an interval can cope with."""

import math

import numpy as np
import scipy.stats
from jaxtyping import Float

from asyncopt.analysis import jackknife

# The skewness of S numbers is at most √S, if one number is all there is. Shares of it that are too much: on average
# over cells, and in one cell. Of lognormal(1) errors, 16 seeds have 0.45 on average; of lognormal(1.5) errors 0.6.
HEAVY_ON_AVERAGE, HEAVY_IN_A_CELL = 0.5, 0.85
# The chance to find correlation between some two of independent seeds.
_FALSE_ALARM = 1e-3
# Fewer independent numbers a seed show no correlation.
_FEWEST = 4.0


def dependent(values: Float[np.ndarray, "S C"], seeds: tuple[int, ...]) -> str:
    """Returns that two seeds are the same or correlated, with their names, or ""; non-finite cells do not count."""
    if len(seeds) < 3:
        return ""
    for i, row in enumerate(values):
        for j in range(i):
            if np.array_equal(row, values[j]):
                return f"seeds {seeds[j]} and {seeds[i]} have the same values in all cells"
    # Log-values, if possible, so that no cell counts more than another only because it is larger.
    usable = values[:, np.isfinite(values).all(axis=0)]
    logs = np.log(usable) if (usable > 0).all() else usable
    logs = logs[:, logs.std(axis=0) > 0]
    scores = (logs - logs.mean(axis=0)) / logs.std(axis=0)
    independent = _independent_numbers(scores)
    if independent <= _FEWEST:
        return ""
    length = np.linalg.norm(scores, axis=1)
    cosine = scores @ scores.T / np.maximum(np.outer(length, length), 1e-300)
    np.fill_diagonal(cosine, 0.0)
    i, j = np.unravel_index(np.argmax(cosine), cosine.shape)
    pairs = len(seeds) * (len(seeds) - 1) / 2
    limit = float(scipy.stats.norm.isf(_FALSE_ALARM / pairs))
    if math.atanh(min(cosine[i, j], 1 - 1e-12)) * math.sqrt(independent - 3) <= limit:
        return ""
    first, second = sorted((seeds[i], seeds[j]))
    return f"seeds {first} and {second} are correlated ({cosine[i, j]:.2f} over the cells)"


def heavy_tail(values: Float[np.ndarray, "S C"]) -> str:
    """Returns that the tail is too heavy to tell, or "".

    Sixteen seeds often miss what few seeds carry, and nothing in one cell shows it. Other cells do.
    """
    if len(values) < 3 or not values.shape[1]:
        return ""
    with np.errstate(over="ignore", invalid="ignore"):
        skewness = jackknife.pivot(jackknife.means(values)).skewness
    if np.mean(skewness) > HEAVY_ON_AVERAGE:
        return f"too heavy a tail to tell: skewness of {np.mean(skewness):.0%} of the largest possible on average"
    if np.max(skewness) > HEAVY_IN_A_CELL:
        return "too heavy a tail to tell: in some cell one seed outweighs all others"
    return ""


def _independent_numbers(scores: Float[np.ndarray, "S C"]) -> float:
    """Returns how many independent numbers would make sums of products over the cells as random as these cells do."""
    num_seeds, num_cells = scores.shape
    if num_cells < _FEWEST or num_seeds < 4:
        return 0.0
    covariance = scores.T @ scores / (num_seeds - 1)
    trace, squares = np.trace(covariance), np.sum(covariance**2)
    # Without the bias that few seeds give to the sum of squares.
    n = num_seeds - 1
    unbiased = (squares - trace**2 / n) * n**2 / ((n - 1) * (n + 2))
    return float(trace**2 / max(unbiased, trace**2 / num_cells))
