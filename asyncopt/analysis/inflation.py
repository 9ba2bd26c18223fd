"""The inflation: how many times as many updates a delay needs; the threshold: the largest delay that costs little."""

import numpy as np
from jaxtyping import Float, Int

from asyncopt.analysis.fits import AT_LEAST, AT_MOST, EXACT

# A delay is harmless if it needs at most a tenth more updates.
ACCEPTED_INFLATION = 1.1
# The runs without delay are extrapolated by this factor beyond their horizons.
_REACH = 2.0


def inflation(
    reference_updates: Float[np.ndarray, " n"], reference: Float[np.ndarray, "... n"],
    num_updates: float, reached: Float[np.ndarray, "..."],
) -> tuple[Float[np.ndarray, "..."], Int[np.ndarray, "..."]]:  # fmt: skip
    """Returns K_ε(τ)/K_ε(0), the updates needed under delay over those needed without it, to reach the same ε.

    ε is what K updates under delay reached. K_ε(0) is read from the runs without delay, each with its own horizon and
    step size, by straight lines in log-log, made non-increasing. Up to a factor of 2 outside the horizons the overall
    slope continues. An accuracy that is worse gives only a lower limit of the inflation.

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
    reach, change = np.log(_REACH), slope[..., None] * np.log(_REACH)
    log_k = np.concatenate([[log_k[0] - reach], log_k, [log_k[-1] + reach]])
    curve = np.concatenate([curve[..., :1] - change, curve, curve[..., -1:] + change], axis=-1)
    target = np.log(reached)
    # The first point at or below the target, and the point before it.
    right = np.clip(np.sum(curve > target[..., None], axis=-1), 1, len(log_k) - 1)
    high, low = _at(curve, right - 1), _at(curve, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.clip((high - target) / (high - low), 0, 1)
    log_reference = log_k[right - 1] + part * (log_k[right] - log_k[right - 1])
    ratio = np.where(slope < 0, num_updates / np.exp(log_reference), np.nan)
    return ratio, np.where(target > curve[..., 0], AT_LEAST, EXACT)


def threshold(
    delays: Float[np.ndarray, " n"], inflations: Float[np.ndarray, "... n"], squares: bool = False
) -> tuple[Float[np.ndarray, "..."], Int[np.ndarray, "..."]]:
    """Returns the largest delay whose inflation is at most `ACCEPTED_INFLATION`, interpolated in log-log.

    With ``squares`` the logarithm of the inflation is interpolated in the square of the delay, as it grows in theory.
    The second value is `EXACT`, `AT_LEAST` (the largest delay was harmless) or `AT_MOST` (the smallest was not).
    ``delays`` are those tried at one K, increasing, above 0. Lower limits in ``inflations`` count as values, since all
    exceed the accepted inflation.
    """
    limit = np.log(ACCEPTED_INFLATION)
    log_delay, log_inflation = np.log(delays), np.log(inflations)
    last_harmless = np.max(np.where(log_inflation <= limit, np.arange(len(delays)), -1), axis=-1)
    left = np.maximum(last_harmless, 0)
    right = np.minimum(left + 1, len(delays) - 1)
    low, high = _at(log_inflation, left), _at(log_inflation, right)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.clip((limit - low) / (high - low), 0, 1)
    place = delays**2 if squares else log_delay
    crossing = place[left] + part * (place[right] - place[left])
    crossing = np.sqrt(crossing) if squares else np.exp(crossing)
    side = np.where(last_harmless < 0, AT_MOST, np.where(last_harmless == len(delays) - 1, AT_LEAST, EXACT))
    value = np.select([side == AT_MOST, side == AT_LEAST], [delays[0], delays[-1]], crossing)
    return np.where(np.isnan(log_inflation).any(axis=-1), np.nan, value), side


def _at(values: Float[np.ndarray, "... n"], index: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]
