"""Intervals over seeds, by a bootstrap that draws whole seeds: all cells of a seed stay together."""

import functools
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float, Int

NUM_RESAMPLES = 4000
LEVEL = 0.95
# If a larger share of the replicates is undefined, there is no interval.
_MAX_UNDEFINED = 0.05


class Estimate(NamedTuple):
    """A number with its 95 % interval over seeds; NaN where there is none."""

    value: float
    low: float
    high: float


def resampled_means(values: Float[np.ndarray, "S C"], num_resamples: int = NUM_RESAMPLES) -> Float[np.ndarray, "R C"]:
    """Returns the means over seeds, a row for each draw of S seeds with replacement; all columns share the draws.

    The draws are the same in every call, so the same runs give the same table.
    """
    # Seed by seed, not as one matrix product, whose rounding depends on how BLAS splits it.
    total = np.zeros((num_resamples, values.shape[1]))
    for drawn, of_seed in zip(_draws(len(values), num_resamples).T[..., None], values, strict=True):
        with np.errstate(invalid="ignore"):  # 0 · ∞: a diverged seed counts only where it is drawn
            total += np.where(drawn > 0, drawn * of_seed, 0.0)
    return total / len(values)


def means(values: Float[np.ndarray, "S C"]) -> Float[np.ndarray, "R C"]:
    """Returns the means over the seeds themselves in row 0, and `resampled_means` in the other rows."""
    return np.concatenate([values.mean(axis=0, keepdims=True), resampled_means(values)])


@functools.lru_cache(maxsize=4)
def _draws(num_seeds: int, num_resamples: int) -> Int[np.ndarray, "R S"]:
    """Returns how often each seed is drawn in each resample."""
    return np.random.default_rng(0).multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), num_resamples)


def estimate(value: float, replicates: Float[np.ndarray, " R"], num_seeds: int) -> Estimate:
    """Returns a statistic with its expanded percentile interval.

    The plain percentile interval of a small sample is too short: by √((n - 1)/n), and because it uses the normal
    distribution instead of Student's. Percentiles further out correct both.

    Args:
      value: the statistic of the seeds themselves.
      replicates: the statistic of each resample of the seeds; NaN where undefined, ±inf allowed.
      num_seeds: n; below 2 there is no interval.

    References:
      Hesterberg, `What teachers should know about the bootstrap <https://doi.org/10.1080/00031305.2015.1089789>`_,
      The American Statistician 69(4), 2015, section 5.3.
    """
    undefined = np.isnan(replicates)
    if np.isnan(value) or num_seeds < 2 or undefined.mean() > _MAX_UNDEFINED:
        return Estimate(float(value), np.nan, np.nan)
    quantile = scipy.stats.t.ppf((1 + LEVEL) / 2, num_seeds - 1) * np.sqrt(num_seeds / (num_seeds - 1))
    tail = scipy.stats.norm.cdf(-quantile)
    # Order statistics, not interpolated: between ±inf there is nothing to interpolate.
    ordered = np.sort(replicates[~undefined])
    index = int(np.floor(tail * len(ordered)))
    return Estimate(float(value), float(ordered[index]), float(ordered[-1 - index]))
