"""How fast workers compute at each second: the universal computation model."""

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from asyncopt.checks import InputError


@dataclasses.dataclass(frozen=True, init=False, eq=False)
class Speed:
    r"""A speed v_w(t) for each worker w, constant between given seconds.

    A job of s seconds at speed 1 that begins at second b ends at the first second e with

    .. math:: \int_b^e v_w(t) \, dt = s.

    With jobs of one second, this is the universal computation model. A worker whose last speed is 0 may never finish.

    Args:
      start: float[T], the second from which each speed holds, increasing from 0. The last one holds for ever.
      value: float[T], the speed of all workers, or float[p, T]; at least 0.

    Raises:
      InputError: if they are not such arrays.

    References:
      Tyurin, `Tight time complexities in parallel stochastic optimization with arbitrary computation dynamics
      <https://arxiv.org/abs/2408.04929>`_, 2024.
    """

    start: Float[np.ndarray, " T"]
    value: Float[np.ndarray, "p T"]  # one row for all workers, or one for each
    done: Float[np.ndarray, "p T"]  # the integral of the speed from 0 to each start

    def __init__(self, start: ArrayLike, value: ArrayLike) -> None:
        starts, values = (_numbers(name, array) for name, array in (("start", start), ("value", value)))
        if starts.ndim != 1 or not len(starts) or starts[0] != 0 or (np.diff(starts) <= 0).any():
            raise InputError(f"start of the speeds is {starts}, expected seconds that increase from 0")
        if values.ndim not in (1, 2) or values.shape[-1] != len(starts) or (values < 0).any():
            raise InputError(
                f"value of the speeds has shape {values.shape}, expected numbers of at least 0, one for each of the "
                f"{len(starts)} starts, or a row of them for each worker"
            )
        values = np.atleast_2d(values)
        done = np.zeros(values.shape)
        done[:, 1:] = np.cumsum(values[:, :-1] * np.diff(starts), axis=1)
        for name, array in (("start", starts), ("value", values), ("done", done)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def check_workers(self, num_workers: int) -> None:
        """Raises an InputError unless there is one row of speeds, or one for each of the workers."""
        if len(self.value) not in (1, num_workers):
            raise InputError(
                f"speed has {len(self.value)} rows, expected one, or one for each of {num_workers} workers"
            )

    def end(self, worker: int, begin: float, seconds: float) -> float:
        """Returns the second at which a job ends; infinite if it never does.

        Args:
          worker: its worker.
          begin: the second at which it begins.
          seconds: how long it takes at speed 1.
        """
        if np.isinf(seconds):
            return np.inf
        row = worker if len(self.value) > 1 else 0
        value, done = self.value[row], self.done[row]
        piece = np.searchsorted(self.start, begin, side="right") - 1
        goal = done[piece] + value[piece] * (begin - self.start[piece]) + seconds
        # The first piece by whose end so much is done. Of pieces without speed the earlier one counts.
        last = np.searchsorted(done[piece + 1 :], goal, side="left") + piece
        left = goal - done[last]
        if last == piece:
            left, since = seconds, begin
        else:
            since = self.start[last]
        if left <= 0:
            return float(since)
        return float(since + left / value[last]) if value[last] > 0 else np.inf


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} of the speeds is not an array of numbers: {error}") from error
    if not np.isfinite(array).all():
        raise InputError(f"{name} of the speeds is {array}, expected finite numbers")
    return array
