"""The inflation, how many times the updates a delay costs; and the threshold, the largest delay that costs little."""

import numpy as np
from jaxtyping import Float, Int

from asyncopt.analysis.fits import AT_LEAST, AT_MOST, EXACT

# A delay is harmless while it costs at most a tenth more updates.
ACCEPTED_INFLATION = 1.1
# By this factor the runs without delay are extrapolated beyond their horizons.
_REACH = 2.0


def inflation(
    reference_updates: Float[np.ndarray, " n"],
    reference: Float[np.ndarray, "... n"],
    num_updates: float,
    reached: Float[np.ndarray, "..."],
) -> tuple[Float[np.ndarray, "..."], Int[np.ndarray, "..."]]:
    """Returns K_ε(τ)/K_ε(0), the updates needed under delay over those needed without it, to reach the same ε.

    ε is what K updates under delay reached. K_ε(0) is read off the runs without delay, each with its own horizon and
    step size: straight lines between neighbours in log-log, made non-increasing. Up to a factor of 2 outside of their
    horizons their overall slope continues; an accuracy worse than that gives a lower limit of the inflation.

    Args:
      reference_updates: horizons of the runs without delay, increasing.
      reference: the accuracies that these runs reached, each above 0.
      num_updates: K of the run under delay.
      reached: the accuracy ε that this run reached, above 0; inf if it diverged.

    Returns:
      The inflation, and whether it is `EXACT` or `AT_LEAST`. NaN where the runs without delay do not improve with K.
    """
    log_k = np.log(np.asarray(reference_updates, float))
    curve = np.minimum.accumulate(np.log(reference), axis=-1)
    slope = (curve[..., -1] - curve[..., 0]) / (log_k[-1] - log_k[0])
    reach = np.log(_REACH)
    log_k = np.concatenate([[log_k[0] - reach], log_k, [log_k[-1] + reach]])
    curve = np.concatenate(
        [curve[..., :1] - slope[..., None] * reach, curve, curve[..., -1:] + slope[..., None] * reach], axis=-1
    )
    target = np.log(reached)
    # The first point at or below the target, and the point before it.
    right = np.clip(np.sum(curve > target[..., None], axis=-1), 1, len(log_k) - 1)
    high = np.take_along_axis(curve, right[..., None] - 1, axis=-1)[..., 0]
    low = np.take_along_axis(curve, right[..., None], axis=-1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(high > low, np.clip((high - target) / (high - low), 0, 1), 0.0)
    log_reference = log_k[right - 1] + part * (log_k[right] - log_k[right - 1])
    ratio = np.where(slope < 0, num_updates / np.exp(log_reference), np.nan)
    return ratio, np.where(target > curve[..., 0], AT_LEAST, EXACT)


def threshold(
    delays: Float[np.ndarray, " n"], inflations: Float[np.ndarray, "... n"]
) -> tuple[Float[np.ndarray, "..."], Int[np.ndarray, "..."]]:
    """Returns the largest delay whose inflation is at most `ACCEPTED_INFLATION`, between those tried in log-log.

    Args:
      delays: increasing, above 0, all at one K.
      inflations: the inflation at each delay. Lower limits from `inflation` count as values: all are above the
        accepted inflation.

    Returns:
      The threshold, and whether it is `EXACT`, `AT_LEAST` (the largest delay tried was harmless) or `AT_MOST` (the
      smallest was not).
    """
    limit = np.log(ACCEPTED_INFLATION)
    log_delay, log_inflation = np.log(delays), np.log(inflations)
    harmless = log_inflation <= limit
    last = np.where(harmless.any(axis=-1), len(delays) - 1 - np.argmax(harmless[..., ::-1], axis=-1), -1)
    left = np.clip(last, 0, len(delays) - 2) if len(delays) > 1 else np.zeros_like(last)
    right = np.minimum(left + 1, len(delays) - 1)
    low = np.take_along_axis(log_inflation, left[..., None], axis=-1)[..., 0]
    high = np.take_along_axis(log_inflation, right[..., None], axis=-1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.clip((limit - low) / (high - low), 0, 1)
    crossing = log_delay[left] + part * (log_delay[right] - log_delay[left])
    side = np.where(last < 0, AT_MOST, np.where(last == len(delays) - 1, AT_LEAST, EXACT))
    value = np.where(last < 0, delays[0], np.where(last == len(delays) - 1, delays[-1], np.exp(crossing)))
    return np.where(np.isnan(log_inflation).any(axis=-1), np.nan, value), side
