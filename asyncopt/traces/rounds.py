"""Synchronous rounds of p workers, on the clock of the cluster model."""

import numbers

import numpy as np

from asyncopt.checks import InputError, check_integer
from asyncopt.traces.durations import AnyDuration
from asyncopt.traces.seconds import Seconds
from asyncopt.traces.trace import Trace, staleness_setting
from asyncopt.traces.worker_times import WorkerTimes


@staleness_setting("num_workers")
def rounds(
    num_updates: int,
    num_workers: int,
    compute: AnyDuration = "exponential",
    server: AnyDuration = 0.0,
    network: AnyDuration = 0.0,
    stragglers: int = 0,
    slowdown: float = 4.0,
    seed: int = 0,
    take: int | float | None = None,
) -> Trace:
    """Simulates synchronous training: in a round each of p workers computes a gradient at the same iterate.

    A round ends when its first m gradients have come and the server has applied their average, once. The other p - m
    gradients are cancelled: when the new iterate is there, all p workers start again from it. The trace has one entry
    for each gradient that was applied, so K counts gradients as it does for `cluster`. The optimizer must step with
    every m-th gradient, and leave the iterate alone in between:
    ``asyncopt.optim.buffer_updates(optimizer, size=m, exponent=0)``. So every delay is 0.

    Args:
      num_updates: K, the number of gradients; a multiple of m.
      num_workers: p, at least 1.
      compute: seconds for one gradient, as in `cluster`.
      server: seconds for the server to apply one average, as in `cluster`.
      network: seconds for one message, as in `cluster`; a gradient costs its worker two messages.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long a slow worker computes, at least 1.
      seed: seed of all durations.
      take: m, the gradients of a round that are applied: a whole number from 1 to p; or a share of p above 0 and below
        1, rounded to the nearest whole number and at least 1; None applies all p.

    Returns:
      A trace with ``worker``, ``arrival`` and ``time``, the simulated second at which a gradient's round was applied.
      The entries of a round are in the order of arrival if m is below p, and in the order of the workers otherwise.

    Raises:
      InputError: if a number is out of range, or K is not a multiple of m.

    References:
      Chen, Pan, Monga, Bengio and Jozefowicz, `Revisiting distributed synchronous SGD
      <https://arxiv.org/abs/1604.00981>`_, 2016 (workers beyond m are their backup workers).
    """
    times = WorkerTimes(num_workers, compute, stragglers, slowdown)
    num_taken = gradients_a_round(num_workers, take)
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    if num_updates % num_taken:
        of_what = "num_workers" if num_taken == num_workers else "the gradients taken in a round"
        raise InputError(f"num_updates is {num_updates}, expected a multiple of {of_what}, {num_taken}: whole rounds")
    dispatches = np.arange(num_updates // num_taken * num_workers)
    seconds = Seconds(len(dispatches), times, ("network", network), ("server", server), seed, 2, num_workers)
    # The draws of dispatch k, as in `cluster`: with one worker the two models take the same time.
    away = seconds.away(dispatches, dispatches % num_workers).reshape(-1, num_workers)
    worker = np.broadcast_to(np.arange(num_workers), away.shape)
    if num_taken < num_workers:
        worker = np.argsort(away, axis=1, kind="stable")[:, :num_taken]  # of equal ones the smaller worker number
        away = np.take_along_axis(away, worker, axis=1)
    ends = np.cumsum(away.max(axis=1) + seconds.service)
    starts = np.append(0.0, ends[:-1])
    return Trace(
        np.arange(num_updates),
        worker=worker.ravel(),
        time=np.repeat(ends, num_taken),
        arrival=(starts[:, None] + away).ravel(),
        num_workers=num_workers,
    )


def gradients_a_round(num_workers: int, take: int | float | None) -> int:
    """Returns m, the number of gradients that a round of p workers applies; ``take`` is as in `rounds`.

    Raises:
      InputError: if ``take`` is neither None, nor a whole number from 1 to p, nor a share above 0 and below 1.
    """
    if take is None:
        return num_workers
    if isinstance(take, float) and 0 < take < 1:
        return max(round(take * num_workers), 1)
    if isinstance(take, numbers.Integral) and not isinstance(take, bool) and 1 <= take <= num_workers:
        return int(take)
    raise InputError(
        f"take is {take!r}, expected a whole number of gradients from 1 to num_workers, {num_workers}, or a share of "
        "them above 0 and below 1, or None for all of them"
    )
