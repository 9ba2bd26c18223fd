"""The random seconds of a simulated cluster, all drawn before the simulation starts."""

import numpy as np
from jaxtyping import Float, Int

from asyncopt.checks import check_integer, check_seed, warn_of_idle_workers
from asyncopt.traces.durations import AnyDuration, as_duration
from asyncopt.traces.worker_times import WorkerTimes


class Seconds:
    """Random seconds for the D = p + K dispatches of p workers, and for the server.

    Dispatch d < p is the first of worker d, and dispatch p + k follows update k. Its worker is not known before the
    simulation, so the draws for a dispatch have mean 1; they are multiplied by the means of its worker.

    Args:
      num_updates: K, at least 1.
      times: seconds of each worker for one gradient.
      transfer: the argument's name, and seconds of one transfer between a worker and the server.
      service: the argument's name, and seconds that the server takes to apply an update.
      seed: seed of all draws.
      num_transfers: transfers in each dispatch.
      updates_per_service: updates that the server applies at once.

    Raises:
      InputError: if an argument is out of range.
    """

    def __init__(
        self,
        num_updates: int,
        times: WorkerTimes,
        transfer: tuple[str, AnyDuration],
        service: tuple[str, AnyDuration],
        seed: int,
        num_transfers: int = 1,
        updates_per_service: int = 1,
    ) -> None:
        num_updates = check_integer("num_updates", num_updates, at_least=1)
        warn_of_idle_workers(times.num_workers, num_updates, 4)
        generator = np.random.default_rng(check_seed("seed", seed))
        transfers, services = as_duration(*transfer), as_duration(*service)
        self.num_workers = times.num_workers
        self.compute_means = times.means
        self.transfer_means = transfers.means(transfer[0], self.num_workers)
        # Traces depend on the order of these three draws.
        size = self.num_workers + num_updates
        self.compute_draws = times.unit_draws(generator, size)
        self.transfer_draws = transfers.unit_draws(generator, num_transfers * size).reshape(-1, size).sum(axis=0)
        self.service = services.unit_draws(generator, num_updates // updates_per_service)
        self.service *= services.means(service[0], 1)[0]

    def transfer(self, dispatch: Int[np.ndarray, " n"], worker: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Returns the seconds of all transfers in each of these dispatches."""
        return self.transfer_draws[dispatch] * self.transfer_means[worker]

    def away(self, dispatch: Int[np.ndarray, " n"], worker: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Returns the seconds from each of these dispatches to the arrival of its gradient."""
        return self.compute_draws[dispatch] * self.compute_means[worker] + self.transfer(dispatch, worker)
