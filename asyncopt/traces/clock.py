"""A clock: how long each job of each worker takes, whatever the server decides."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int

from asyncopt.checks import InputError, check_integer, check_seed
from asyncopt.shown import Shown
from asyncopt.traces.durations import AnyDuration, Total, as_total
from asyncopt.traces.keyed_draws import UNIT_MEAN, KeyedDraws
from asyncopt.traces.speed import Speed
from asyncopt.traces.worker_times import straggler_factors

# What is drawn for a clock; each has independent numbers. The terms of a sum follow each other.
_COMPUTE, _NETWORK, _SERVER = 0, 1000, 2000
_MESSAGES = 2  # a job costs its worker the message with the iterate, and the one with the gradient

Seconds = Callable[[int, int], float]


class Clock(Shown):
    """The seconds that each job of p workers takes, and each step of the server.

    Job j of worker w takes a time that depends on (seed, w, j) alone, whatever happened before; with ``speed``, on the
    second at which it begins, too. So every policy meets the same machine, and policies can be compared job by job.

    Args:
      num_workers: p, at least 1.
      compute: seconds for one gradient. A `Duration`, a sum of them (`asyncopt.traces.durations.total`), or a mapping
        with their fields; the name of a distribution (mean 1 s); a number (constant), or one number for each worker;
        an array [worker, job], whose entries may be infinite; or a function (worker, job) -> seconds, which is called
        once for each job, in the order in which the jobs begin.
      network: seconds for one message, in one of these forms but the last two. A job takes two messages.
      server: seconds for the server to make one step, in one of these forms.
      stragglers: how many workers, the last ones, are slow; never all.
      slowdown: how many times as long a slow worker computes, at least 1.
      speed: speeds that change over time; ``compute`` is then the time at speed 1. None: always 1.
      seed: seed of all durations.

    Raises:
      InputError: if a number is out of range, or there are means for another number of workers.
    """

    def __init__(
        self,
        num_workers: int,
        compute: AnyDuration | Total | np.ndarray | Seconds = "exponential",
        network: AnyDuration | Total = 0.0,
        server: AnyDuration | Total = 0.0,
        stragglers: int = 0,
        slowdown: float = 4.0,
        speed: Speed | Mapping | None = None,
        seed: int = 0,
    ) -> None:
        self.num_workers = check_integer("num_workers", num_workers, at_least=1)
        self.seed = check_seed("seed", seed)
        factors = straggler_factors(self.num_workers, stragglers, slowdown)
        self._compute = _source("compute", compute, self.num_workers, factors, self.seed)
        self._network = _Drawn("network", as_total("network", network), self.num_workers, self.seed, _NETWORK)
        self._server = _Drawn("server", as_total("server", server), 1, self.seed, _SERVER)
        if isinstance(speed, Mapping):
            if set(speed) != {"start", "value"}:
                raise InputError(f"speed is {dict(speed)!r}, expected start and value")
            speed = Speed(**speed)
        self.speed = speed
        if self.speed is not None:
            if not isinstance(self.speed, Speed):
                raise InputError(f"speed is {speed!r}, expected an asyncopt.traces.Speed, or None")
            self.speed.check_workers(self.num_workers)

    def duration(self, worker: int, job: int, begin: float = 0.0) -> float:
        """Returns the seconds from the beginning of a job to the arrival of its gradient; infinite if it never comes.

        Args:
          worker: 0..p - 1.
          job: the number of the job among those that this worker has begun, from 0.
          begin: the second at which it begins; it counts only where speeds change over time.

        Raises:
          InputError: if there is no such worker, or ``compute`` gives no valid duration for the job.
        """
        worker, job = check_integer("worker", worker, at_least=0), check_integer("job", job, at_least=0)
        if worker >= self.num_workers:
            raise InputError(f"worker is {worker}, expected at most {self.num_workers - 1}")
        return float(self.durations(np.array([worker]), np.array([job]), begin)[0])

    def durations(
        self, worker: Int[np.ndarray, " n"], job: Int[np.ndarray, " n"], begin: float = 0.0
    ) -> Float[np.ndarray, " n"]:
        """Returns `duration` of many jobs that begin at one time."""
        seconds = self._compute(worker, job)
        if self.speed is not None:
            ends = [self.speed.end(w, begin, s) for w, s in zip(worker.tolist(), seconds.tolist(), strict=True)]
            seconds = np.array(ends) - begin
        if self._network.takes_time:
            for message in range(_MESSAGES):
                seconds = seconds + self._network(worker, _MESSAGES * job + message)
        return seconds

    @property
    def can_look_ahead(self) -> bool:
        """Whether the durations of any number of jobs may be asked for before they begin."""
        return self.speed is None and isinstance(self._compute, _Drawn)

    def ahead(self, worker: int, job: int, number: int, begin: float) -> list[float]:
        """Returns `duration` of a job, and of jobs after it that are known before they begin; ``number`` at most."""
        if self.speed is None and isinstance(self._compute, _Listed):
            number = max(min(number, self._compute.num_jobs - job), 1)
        elif not self.can_look_ahead:
            number = 1
        return self.durations(np.full(number, worker), np.arange(job, job + number), begin).tolist()

    def step_seconds(self, first: int, number: int) -> Float[np.ndarray, " number"]:
        """Returns the seconds that the server takes for each of ``number`` steps, from step ``first`` on."""
        if not self._server.takes_time:
            return np.zeros(number)
        return self._server(np.zeros(number, np.int64), np.arange(first, first + number))

    def _facts(self) -> list[str]:
        return [f"{self.num_workers} workers", self._compute.label, f"seed {self.seed}"]


class _Drawn:
    """Durations that are drawn from distributions."""

    def __init__(
        self, name: str, total: Total, num_workers: int, seed: int, first: int, factors: np.ndarray | None = None
    ):
        factors = np.ones(num_workers) if factors is None else factors
        self._terms = [
            (
                UNIT_MEAN[term.distribution],
                KeyedDraws(seed, first + number),
                term.shape or 0.0,
                term.means(name, num_workers) * factors,
            )
            for number, term in enumerate(total.terms)
        ]
        self.takes_time = any((means > 0).any() for *_, means in self._terms)
        self.label = f"{' + '.join(term.distribution for term in total.terms)} times"

    def __call__(self, worker: Int[np.ndarray, " n"], job: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        seconds = np.zeros(len(worker))
        for draw, draws, shape, means in self._terms:
            seconds += draw(draws, shape, worker, job) * means[worker]
        return seconds


class _Listed:
    """Durations that an array [worker, job] lists."""

    label = "listed times"

    def __init__(self, seconds: np.ndarray, num_workers: int, factors: np.ndarray):
        if seconds.ndim != 2 or len(seconds) != num_workers:
            raise InputError(
                f"compute has shape {seconds.shape}, expected a row of seconds for each of {num_workers} workers"
            )
        self._seconds = seconds.astype(np.float64) * factors[:, None]
        bad = np.argwhere(np.isnan(self._seconds) | (self._seconds < 0))
        if len(bad):
            worker, job = bad[0]
            raise InputError(
                f"compute of job {job} of worker {worker} is {seconds[worker, job]}, expected seconds of at least 0"
            )

    def __call__(self, worker: Int[np.ndarray, " n"], job: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        num_jobs = self._seconds.shape[1]
        if len(job) and job.max() >= num_jobs:
            place = int(job.argmax())
            raise InputError(
                f"compute has {num_jobs} durations for each worker, but worker {worker[place]} begins job "
                f"{job[place]}; expected an array with a column for each job"
            )
        return self._seconds[worker, job]

    @property
    def num_jobs(self) -> int:
        """The number of jobs of each worker."""
        return self._seconds.shape[1]


class _Called:
    """Durations that a function returns; each is asked for once, in the order in which jobs begin."""

    label = "times of a function"

    def __init__(self, function: Seconds, num_workers: int, factors: np.ndarray):
        self._function, self._factors = function, factors
        self._known: list[list[float]] = [[] for _ in range(num_workers)]

    def __call__(self, worker: Int[np.ndarray, " n"], job: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return np.array([self._seconds(w, j) for w, j in zip(worker.tolist(), job.tolist(), strict=True)])

    def _seconds(self, worker: int, job: int) -> float:
        known = self._known[worker]
        while len(known) <= job:
            try:
                seconds = self._function(worker, len(known))
            except Exception as error:  # whatever it is, it is the function's
                raise InputError(f"compute({worker}, {len(known)}) raised {type(error).__name__}: {error}") from error
            try:
                number = float(seconds)
            except (TypeError, ValueError, OverflowError):
                number = np.nan
            if not number >= 0:
                raise InputError(f"compute({worker}, {len(known)}) is {seconds!r}, expected at least 0 seconds")
            known.append(number * self._factors[worker])
        return known[job]


def _source(name: str, value: Any, num_workers: int, factors: np.ndarray, seed: int) -> "_Drawn | _Listed | _Called":
    if callable(value):
        return _Called(cast(Seconds, value), num_workers, factors)
    if hasattr(value, "__array__") or _has_rows(value):
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"{name} is not an array of seconds: {error}") from error
        if array.ndim > 1:
            return _Listed(array, num_workers, factors)
        value = array.tolist()
    return _Drawn(name, as_total(name, value), num_workers, seed, _COMPUTE, factors)


def _has_rows(value: Any) -> bool:
    """Whether a list has a row of seconds for each worker, as a list or an array."""
    first = value[0] if isinstance(value, list | tuple) and value else None
    return isinstance(first, list | tuple) or getattr(first, "ndim", 0) > 0
