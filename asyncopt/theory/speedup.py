"""How many gradients a second p workers deliver: asynchronously to one server, and in synchronous rounds."""

import numpy as np

from asyncopt.checks import check_integer, check_number


def asynchronous_throughput(num_workers: int, compute: float, server: float) -> float:
    r"""Returns gradients applied a second by p workers and one server, both with exponential times.

    Exact mean-value analysis of the machine-repairman model: with one more worker, an arriving gradient sees the
    queue that the others leave on average,

    .. math:: R_p = s (1 + Q_{p-1}), \qquad X_p = \frac{p}{c + R_p}, \qquad Q_p = X_p R_p, \qquad Q_0 = 0.

    Args:
      num_workers: p, at least 1.
      compute: c, mean seconds for one gradient, above 0.
      server: s, mean seconds to apply one, at least 0.

    Raises:
      InputError: if a number is out of range.

    References:
      Reiser and Lavenberg, `Mean-value analysis of closed multichain queuing networks
      <https://doi.org/10.1145/322186.322195>`_, J. ACM 27(2), 1980.
    """
    compute, server = check_number("compute", compute, above=0), check_number("server", server, at_least=0)
    queue, throughput = 0.0, 0.0
    for workers in range(1, check_integer("num_workers", num_workers, at_least=1) + 1):
        response = server * (1 + queue)
        throughput = workers / (compute + response)
        queue = throughput * response
    return throughput


def synchronous_throughput(num_workers: int, compute: float, server: float) -> float:
    r"""Returns gradients applied a second in rounds, each as long as its slowest worker plus one update.

    .. math:: \frac{p}{c H_p + s}, \qquad H_p = \sum_{j=1}^p \frac1j,

    since the largest of p independent exponential times of mean c is c H_p on average.

    Args:
      num_workers: p, at least 1.
      compute: c, mean seconds for one gradient, exponential, above 0.
      server: s, mean seconds to apply one round's average, at least 0.

    Raises:
      InputError: if a number is out of range.

    References:
      Rényi, On the theory of order statistics, Acta Math. Acad. Sci. Hung. 4, 1953.
    """
    num_workers = check_integer("num_workers", num_workers, at_least=1)
    compute, server = check_number("compute", compute, above=0), check_number("server", server, at_least=0)
    return num_workers / (compute * float(np.sum(1 / np.arange(1, num_workers + 1))) + server)
