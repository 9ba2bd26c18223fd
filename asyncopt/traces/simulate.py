"""The event loop: a policy meets the arrivals of a clock, and what it does with them is a trace."""

import itertools
import math
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.traces.answers import Answers, Workers, check_policy, read_versions, unless_means
from asyncopt.traces.clock import Clock
from asyncopt.traces.compiled_machine import COMPILED_FROM, compiled
from asyncopt.traces.machine import Machine
from asyncopt.traces.policies import Arrival, Policy
from asyncopt.traces.trace import Trace, staleness_setting

_STEPS_AHEAD = 1024  # durations of the server that are drawn together
_LOOKS_EVERY = 1 << 14  # arrivals between two looks at whether to compile the machine
_Gradient = tuple[int, int, float, float]  # worker, version, arrival, begin


def simulate(policy: Policy, clock: Clock, num_updates: int | None = None, until: float | None = None) -> Trace:
    """Runs a policy on a clock, and returns the gradients that it used as a trace.

    The server takes up one gradient after another, in the order in which they come: at equal times that of the smaller
    worker number, and of one worker the earlier job first. It takes up none while it makes a step; making a step takes
    the clock's ``server`` seconds. When the policy has answered, its step is made, and then the workers that it names
    begin. A worker whose gradient has come, and waits for the server, cannot be stopped. Nobody begins after the last
    step.

    What is ignored or cancelled is not in the trace. An update is one gradient that is used; those of one step follow
    each other, in the order of the answer. Update k's gradient has the delay of the newest iterate with the same
    value, so that the gradients of one step do not make each other stale.

    Args:
      policy: the server's decisions, as those of `asyncopt.traces.policies`.
      clock: the durations of all jobs.
      num_updates: K: end with the first step by which at least so many gradients have been used.
      until: end with the last step that is done by this second.

    Returns:
      A trace with ``worker``, ``time`` and ``arrival``; with ``computed``, ``arrivals``, ``cancelled`` and
      ``wasted_seconds``, which count what was taken up, or stopped, until the last step was made; with ``step`` if
      steps use several gradients, and with ``weight`` if they do not use their mean.

    Raises:
      InputError: if neither an end nor a valid policy or clock is given; if the policy gives an answer that cannot be
        followed; or if it comes to no end: no worker is at work, or no step is made for too long.
    """
    _check(policy, clock, num_updates, until)
    server = _Server(policy, clock)
    server.run(math.inf if num_updates is None else num_updates, math.inf if until is None else float(until))
    return server.trace()


@staleness_setting("num_workers")
def simulated(
    policy: Policy,
    num_workers: int,
    num_updates: int | None = 20_000,
    until: float | None = None,
    compute: Any = "exponential",
    server: Any = 0.0,
    network: Any = 0.0,
    stragglers: int = 0,
    slowdown: float = 4.0,
    speed: Any = None,
    seed: int = 0,
) -> Trace:
    """Returns `simulate` of a policy on the `Clock` with these settings: what ``trace=policy`` in ``conf/`` calls."""
    clock = Clock(num_workers, compute, network, server, stragglers, slowdown, speed, seed)
    return simulate(policy, clock, num_updates, until)


def _check(policy: Any, clock: Any, num_updates: Any, until: Any) -> None:
    check_policy(policy)
    if not isinstance(clock, Clock):
        raise InputError(f"clock is {clock!r}, expected an asyncopt.traces.Clock")
    if num_updates is None and until is None:
        raise InputError(
            "num_updates and until are both None, expected the number of gradients or the second to end at"
        )
    if num_updates is not None:
        check_integer("num_updates", num_updates, at_least=1)
    if until is not None:
        check_number("until", until, above=0)


class _Server:
    """Takes up arrivals, does what the policy answers, and notes what each step used."""

    def __init__(self, policy: Policy, clock: Clock) -> None:
        self.policy, self.workers = policy, Machine(clock)
        self.answers: Answers[_Gradient] = Answers(policy, clock.num_workers)
        self.made = 0  # steps
        self.done = 0  # steps that were done when the last arrival came
        self.arrivals = 0  # gradients that were taken up
        # Arrays of numbers: Python's garbage collector would look through millions of tuples.
        self.used_workers, self.used_versions = array("q"), array("q")  # of each update
        self.used_arrivals = array("d")  # of each update
        self.sizes, self.ends, self.counts = array("q"), array("d"), array("q")  # of each step; arrivals by then
        self.weights: dict[int, list[float]] = {}  # of the steps that do not take the mean
        self.wasted_at_end, self.cancelled_at_end = 0.0, 0  # at the last step

    def run(self, num_updates: float, until: float) -> None:
        """Simulates to the end."""
        workers, decide, read, patience = self.workers, self.policy.decide, self.answers.read, self.answers.patience
        next_arrival, restart, waits, seconds = (
            workers.next_arrival,
            workers.restart,
            self.answers.waits,
            self._service(),
        )
        start = self.answers.read_start(self.policy.start(self.answers.num_workers))
        self._begin(start.restart, start.assign, 0.0)
        free, last = 0.0, 0  # when the server has made its last step, and the arrivals by then
        latest, moved = -1.0, 0  # the second of the last arrival, and the arrivals before that second
        while True:
            event = next_arrival()
            if event is None:
                if until < math.inf:
                    return
                raise InputError(
                    f"{self.answers.name}: no worker will finish after {self._so_far}, expected that some go on"
                )
            arrival, worker, began, version = event
            if arrival > until:
                return
            number = self.arrivals
            if not number % _LOOKS_EVERY and number + workers.cancelled >= COMPILED_FROM:
                self.workers = workers = compiled(workers)
                next_arrival, restart = workers.next_arrival, workers.restart
            if arrival > latest:
                latest, moved = arrival, number
            now = arrival if arrival > free else free
            self.arrivals = number + 1
            gradient = worker, version, arrival, began
            used, weights, is_ignored, restarted, assigned = read(
                decide(Arrival(number, worker, version, self.made, now)), number, gradient, self.made
            )
            if is_ignored:
                workers.wasted += arrival - began
            if used:
                done = now + next(seconds)
                if done > until:
                    return
                self._step(used, weights, done)
                if len(self.used_workers) >= num_updates:
                    return
                now, free, last = done, done, number + 1
            if not waits:
                restart([worker], arrival, self._steps_by(arrival))
            self._begin(restarted, assigned, now)
            if number - last >= patience:
                raise self.answers.no_step(self._so_far)
            if number - moved >= patience and until < math.inf:
                raise InputError(
                    f"{self.answers.name}: {patience:,} gradients came in second {arrival:g}, expected a clock that "
                    "takes time"
                )

    def _step(self, used: Sequence[_Gradient], weights: list[float] | None, done: float) -> None:
        """Makes a step, which is done at this second."""
        for worker, version, arrival, _ in used:
            self.used_workers.append(worker)
            self.used_versions.append(version)
            self.used_arrivals.append(arrival)
        self.sizes.append(len(used))
        self.ends.append(done)
        self.counts.append(self.arrivals)
        if weights is not None:
            self.weights[self.made] = weights
        self.made += 1
        self.wasted_at_end, self.cancelled_at_end = self.workers.wasted, self.workers.cancelled

    def _begin(self, restart: Workers, assign: Workers, now: float) -> None:
        """Lets the workers begin that an answer names."""
        if len(restart):
            self.workers.restart(restart, now, self.made)
        if len(assign):
            self.workers.assign(assign, now, self.made)

    def _steps_by(self, time: float) -> int:
        """Returns how many steps are done by this second."""
        while self.done < self.made and self.ends[self.done] <= time:  # arrivals come in order
            self.done += 1
        return self.done

    def _service(self) -> Iterator[float]:
        """Yields the seconds that the server takes for one step after the other."""
        for first in itertools.count(0, _STEPS_AHEAD):
            yield from self.workers.clock.step_seconds(first, _STEPS_AHEAD).tolist()

    @property
    def _so_far(self) -> str:
        return f"{self.made} steps and {self.arrivals} arrivals"

    def trace(self) -> Trace:
        """Returns what has been done so far as a trace."""
        if not self.used_workers:
            raise InputError(
                f"{self.answers.name}: no step was made until the end, after {self.arrivals} arrivals; expected one"
            )
        sizes = np.array(self.sizes)
        step = np.repeat(np.arange(self.made), sizes)
        weight, firsts = np.repeat(1 / sizes, sizes), np.cumsum(sizes) - sizes
        for number, given in self.weights.items():
            weight[firsts[number] : firsts[number] + len(given)] = given
        return Trace(
            read_versions(step, np.array(self.used_versions)),
            worker=np.array(self.used_workers),
            time=np.repeat(self.ends, sizes),
            arrival=np.array(self.used_arrivals),
            step=step if (sizes > 1).any() else None,
            weight=unless_means(weight, step),
            computed=np.repeat(self.counts, sizes),
            arrivals=self.counts[-1],
            cancelled=self.cancelled_at_end,
            wasted_seconds=self.wasted_at_end,
            num_workers=self.answers.num_workers,
        )
