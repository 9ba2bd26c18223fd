"""How many gradients a second p workers deliver: asynchronously to one server, and in synchronous rounds."""

import numpy as np

from asyncopt.checks import InputError, check_integer, check_number


def asynchronous_throughput(
    num_workers: int, compute: float, server: float, distribution: str = "exponential"
) -> float:
    r"""Returns how many gradients a second one server applies for p asynchronous workers.

    For exponential times it is the exact mean-value analysis of the machine-repairman model. When a worker is added,
    an arriving gradient finds the mean queue of the other workers:

    .. math:: R_p = s (1 + Q_{p-1}), \qquad X_p = \frac{p}{c + R_p}, \qquad Q_p = X_p R_p, \qquad Q_0 = 0.

    With constant times, workers queue only once, unless the server is always busy:
    :math:`X_p = \min(p / (c + s), 1 / s)`.

    Args:
      num_workers: p, at least 1.
      compute: c, mean seconds for one gradient, above 0.
      server: s, mean seconds to apply one gradient, at least 0.
      distribution: how both times are distributed, "exponential" or "constant".

    Raises:
      InputError: if a number is out of range, or for another distribution.

    References:
      Reiser and Lavenberg, `Mean-value analysis of closed multichain queuing networks
      <https://doi.org/10.1145/322186.322195>`_, J. ACM 27(2), 1980.
    """
    num_workers, compute, server = _checked(num_workers, compute, server, distribution)
    if distribution == "constant":
        return min(num_workers / (compute + server), 1 / server if server else np.inf)
    queue, throughput = 0.0, 0.0
    for workers in range(1, num_workers + 1):
        response = server * (1 + queue)
        throughput = workers / (compute + response)
        queue = throughput * response
    return throughput


def synchronous_throughput(
    num_workers: int, compute: float, server: float, distribution: str = "exponential", take: int | None = None
) -> float:
    r"""Returns how many gradients a second rounds apply, each as long as its m-th gradient plus one update.

    .. math:: \frac{m}{c (H_p - H_{p-m}) + s}, \qquad H_p = \sum_{j=1}^p \frac1j,

    since the m-th smallest of p independent exponential times of mean c is c (H_p - H_{p-m}) on average; with constant
    times, :math:`m / (c + s)`. The first three arguments and the errors are those of `asynchronous_throughput`, but s
    is the time to apply one round's average, and only computing times have the distribution.

    Args:
      num_workers: p.
      compute: c.
      server: s.
      distribution: as in `asynchronous_throughput`.
      take: m, the gradients of a round that are applied, from 1 to p; None for all p. The others are cancelled.

    References:
      Rényi, On the theory of order statistics, Acta Math. Acad. Sci. Hung. 4, 1953.
    """
    num_workers, compute, server = _checked(num_workers, compute, server, distribution)
    take = num_workers if take is None else check_integer("take", take, at_least=1)
    if take > num_workers:
        raise InputError(f"take is {take}, expected at most num_workers, {num_workers}")
    slowest = 1.0
    if distribution == "exponential":
        slowest = float(np.sum(1 / np.arange(num_workers - take + 1, num_workers + 1)))
    return take / (compute * slowest + server)


def _checked(num_workers: int, compute: float, server: float, distribution: str) -> tuple[int, float, float]:
    if distribution not in ("exponential", "constant"):
        raise InputError(f"distribution is {distribution!r}, expected exponential or constant")
    compute, server = check_number("compute", compute, above=0), check_number("server", server, at_least=0)
    return check_integer("num_workers", num_workers, at_least=1), compute, server
