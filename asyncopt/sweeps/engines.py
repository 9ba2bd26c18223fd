"""Engines: they send batches to other processes or machines, by joblib, submitit (Slurm) or Ray."""

import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from asyncopt import stopping
from asyncopt.checks import InputError
from asyncopt.runtime.ray_session import ray_session


class Engine(Protocol):
    """Runs functions elsewhere."""

    def run(self, functions: Sequence[Callable[[], Any]], folder: str) -> Iterator[tuple[int, Any]]:
        """Calls each function somewhere, and yields (index, what it returned or raised) as they end.

        Args:
          functions: functions that can be sent to another process.
          folder: the folder of the sweep.
        """
        ...


class Joblib:
    """Worker processes on this machine.

    Args:
      workers: number of processes; -1 for one a core.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, functions: Sequence[Callable[[], Any]], folder: str) -> Iterator[tuple[int, Any]]:
        """See `Engine`."""
        import joblib

        del folder
        missing = set(range(len(functions)))
        # Else its workers would do all that was sent to them, and then wait for minutes, if this process is killed.
        ends_with_this = {"initializer": stopping.end_with, "initargs": (os.getpid(),)}
        parallel = joblib.Parallel(
            self.workers, backend="loky", batch_size=1, return_as="generator_unordered", **ends_with_this
        )
        with stopping.kept_from_children():
            results = parallel(joblib.delayed(_call)(i, function) for i, function in enumerate(functions))
        try:
            for index, result in results:
                missing.remove(index)
                yield index, result
        except joblib.externals.loky.process_executor.TerminatedWorkerError as error:  # joblib gives up all the others
            yield from ((index, error) for index in sorted(missing))


class Submitit:
    """Jobs of a Slurm array, or processes on this machine.

    Args:
      cluster: "slurm"; or "local" or "debug", for trials on this machine.
      **parameters: parameters of submitit's executor: ``timeout_min``, ``slurm_partition`` and so on.
    """

    def __init__(self, cluster: str, **parameters: Any) -> None:
        self.cluster = cluster
        self.parameters = parameters

    def run(self, functions: Sequence[Callable[[], Any]], folder: str) -> Iterator[tuple[int, Any]]:
        """See `Engine`."""
        import submitit
        import submitit.core.utils
        import submitit.helpers

        try:
            executor = submitit.AutoExecutor(pathlib.Path(folder, ".submitit", "%j"), cluster=self.cluster)
            executor.update_parameters(**self.parameters)
        except (RuntimeError, ValueError, NameError, TypeError) as error:  # no such cluster here, or no such parameter
            raise InputError(f"hydra.launcher.engine: {error}") from error
        with executor.batch():
            jobs = [executor.submit(function) for function in functions]
        index_of = {job.job_id: index for index, job in enumerate(jobs)}
        for job in submitit.helpers.as_completed(jobs):
            try:
                yield index_of[job.job_id], job.result()
            except (submitit.core.utils.FailedJobError, submitit.core.utils.UncompletedJobError) as error:
                yield index_of[job.job_id], error


class Ray:
    """Tasks of a Ray cluster.

    Args:
      address: address of a running cluster, or "auto"; None starts one on this machine, for this machine only.
      num_cpus: CPUs that a batch occupies.
      num_gpus: GPUs that a batch occupies.
    """

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.address = address
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus

    def run(self, functions: Sequence[Callable[[], Any]], folder: str) -> Iterator[tuple[int, Any]]:
        """See `Engine`."""
        del folder
        with ray_session(self.address):
            import ray
            import ray.exceptions

            call = ray.remote(num_cpus=self.num_cpus, num_gpus=self.num_gpus)(_call)
            waiting = [call.remote(index, function) for index, function in enumerate(functions)]
            index_of = {task: index for index, task in enumerate(waiting)}
            while waiting:
                (done,), waiting = ray.wait(waiting, num_returns=1)
                try:
                    yield ray.get(done)
                except ray.exceptions.RayError as error:  # the worker process has ended
                    yield index_of[done], error


def _call(index: int, function: Callable[[], Any]) -> tuple[int, Any]:
    """Calls a function, and returns an error as a value: a batch that fails must not end the others."""
    try:
        return index, function()
    except Exception as error:
        return index, error
