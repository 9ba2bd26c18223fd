"""Synchronous rounds of p workers, on the clock of the cluster model."""

import numpy as np

from asyncopt.checks import InputError, check_integer
from asyncopt.traces.clock import compute_means
from asyncopt.traces.cluster import AnyDuration
from asyncopt.traces.durations import as_duration
from asyncopt.traces.trace import Trace


def rounds(
    num_updates: int,
    num_workers: int,
    compute: AnyDuration = "exponential",
    server: AnyDuration = 0.0,
    network: AnyDuration = 0.0,
    stragglers: int = 0,
    slowdown: float = 4.0,
    seed: int = 0,
) -> Trace:
    """Simulates synchronous training: in a round each of p workers computes one gradient at the same iterate.

    A round ends when its slowest gradient has come and the server has applied the average of all, once. The trace has
    one entry a gradient, so that K counts gradients as it does for `cluster`, and is made for an optimizer that steps
    with every p-th of them: ``asyncopt.optim.buffer_updates(optimizer, size=p, exponent=0)``, which leaves the iterate
    alone in between. So every delay is 0.

    Args:
      num_updates: K, gradients; a multiple of p.
      num_workers: p, at least 1.
      compute: seconds for one gradient, as in `cluster`.
      server: seconds for the server to apply one average, likewise.
      network: seconds for one message, likewise; a gradient costs its worker two messages a round.
      stragglers: how many workers are slow; never all.
      slowdown: how many times as long they take for a gradient, at least 1.
      seed: of all durations.

    Returns:
      A trace with ``worker``, ``arrival`` and ``time``, the simulated second at which a gradient's round was applied.

    Raises:
      InputError: for a number out of range, or a K that is no whole number of rounds.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    num_workers = check_integer("num_workers", num_workers, at_least=1)
    generator = np.random.default_rng(check_integer("seed", seed, at_least=0))
    compute, server = as_duration("compute", compute), as_duration("server", server)
    network = as_duration("network", network)
    num_rounds, left = divmod(num_updates, num_workers)
    if left:
        raise InputError(
            f"num_updates is {num_updates}, expected a multiple of num_workers, {num_workers}: whole rounds"
        )
    means = compute_means(compute, num_workers, stragglers, slowdown)
    # As many draws as `cluster` makes, so that the only worker there is takes the same time in both.
    draws = num_workers + num_updates
    computing = compute.unit_draws(generator, draws)[:num_updates].reshape(num_rounds, num_workers) * means
    messages = network.unit_draws(generator, 2 * draws).reshape(2, draws).sum(axis=0)[:num_updates]
    messages = messages.reshape(num_rounds, num_workers) * network.means("network", num_workers)
    taken = computing + messages
    slowest = np.max(taken, axis=1)
    service = server.unit_draws(generator, num_rounds) * server.means("server", 1)[0]
    ends = np.cumsum(slowest + service)
    starts = np.append(0.0, ends[:-1])
    updates = np.arange(num_updates)
    return Trace(
        updates,
        worker=updates % num_workers,
        time=np.repeat(ends, num_workers),
        arrival=(starts[:, None] + taken).ravel(),
        num_workers=num_workers,
    )
