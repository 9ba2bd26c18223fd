"""Reads the answers of a policy: checks them, and keeps the gradients that they hold."""

import math
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from asyncopt.checks import InputError, check_flag
from asyncopt.traces.machine import COHORT
from asyncopt.traces.policies import Answer, Policy

_Gradient = TypeVar("_Gradient")
Workers = Sequence[int] | Int[np.ndarray, " n"]  # a list of a few, or an array of many
# Arrivals in a row without a step after which a policy is taken to make none: so many, or so many for each worker.
_PATIENCE, _PATIENCE_PER_WORKER = 100_000, 1_000


class Orders(NamedTuple, Generic[_Gradient]):
    """What an answer says."""

    used: Sequence[_Gradient]  # gradients that make a step now; none: no step
    weights: list[float] | None  # of each of them; None: the step takes their mean
    is_ignored: bool  # whether the gradient that has come is neither used nor held
    restart: Workers
    assign: Workers


class Answers(Generic[_Gradient]):
    """The gradients that a server holds, and what its policy's answers mean for them.

    Args:
      policy: the server's decisions.
      num_workers: p.
    """

    def __init__(self, policy: Policy, num_workers: int) -> None:
        self.name = f"policy {type(policy).__name__}"
        self.num_workers = num_workers
        self.waits = getattr(policy, "waits", True)  # see `Policy`
        check_flag(f"waits of {type(policy).__name__}", self.waits)
        self.patience = max(_PATIENCE, _PATIENCE_PER_WORKER * num_workers)
        self.held: dict[int, _Gradient] = {}  # by number

    def read(self, answer: Any, number: int, gradient: _Gradient, step: int) -> Orders[_Gradient]:
        """Returns what an answer to a gradient says; the gradient is held if it says so.

        Args:
          answer: what the policy has answered.
          number: of the gradient.
          gradient: what is kept of it.
          step: number of the step that is made now, if one is.

        Raises:
          InputError: if the answer cannot be followed.
        """
        used, weights, is_used = (), None, False
        try:
            if type(answer) is Answer:  # which is unpacked faster
                hold, wanted, weight, restart, assign = answer
            else:
                hold, wanted, weight = answer.hold, answer.step, answer.weight
                restart, assign = answer.restart, answer.assign
            if len(wanted):
                used, is_used = self._gradients(wanted, number, gradient, step), number in wanted
                weights = None if weight is None else self._weights(weight, len(wanted), step)
            if hold and not is_used:
                self.held[number] = gradient
            if len(restart):
                restart = self._workers("restart", restart)
            if len(assign):
                assign = self._workers("assign", assign)
            return Orders(used, weights, not is_used and not hold, restart, assign)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise self._explained(answer, error) from error

    def read_start(self, answer: Any) -> Orders[_Gradient]:
        """Returns what the answer of ``start`` says.

        Raises:
          InputError: if it uses a gradient, or cannot be followed.
        """
        try:
            if len(answer.step) or answer.hold:
                raise InputError(f"{self.name}: start uses a gradient, expected restart or assign alone")
            restart = self._workers("restart", answer.restart) if len(answer.restart) else ()
            assign = self._workers("assign", answer.assign) if len(answer.assign) else ()
            return Orders((), None, False, restart, assign)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise self._explained(answer, error) from error

    def _gradients(self, wanted: Sequence[int], number: int, gradient: _Gradient, step: int) -> list[_Gradient]:
        """Returns the gradients of a step, which are held no longer."""
        if len(wanted) == 1 and wanted[0] == number:
            return [gradient]
        used = []
        for one in wanted:
            item = gradient if one == number else self.held.pop(one, None)
            if item is None:
                raise InputError(
                    f"{self.name}: step {step} uses gradient {one!r}, expected numbers of gradients that are "
                    "held, or that of this arrival; each can be used once"
                )
            used.append(item)
        if number in wanted and len(set(wanted)) < len(used):
            raise InputError(f"{self.name}: step {step} uses gradient {number} twice, expected each once")
        return used

    def _weights(self, weight: Sequence[float], num_gradients: int, step: int) -> list[float]:
        """Returns the weights of a step's gradients."""
        if len(weight) != num_gradients:
            raise InputError(
                f"{self.name}: weight of step {step} is {weight!r}, expected one number for each of "
                f"{num_gradients} gradients"
            )
        weights = [float(one) for one in weight]
        if not math.isfinite(sum(weights)):
            raise InputError(f"{self.name}: weight of step {step} is {weight!r}, expected finite numbers")
        return weights

    def _workers(self, name: str, workers: Any) -> Workers:
        """Returns the workers of an answer: a list of a few, or an array of many; a restart names each once."""
        if len(workers) == 1 and type(workers[0]) is int and 0 <= workers[0] < self.num_workers:
            return workers
        are_ints = type(workers) is list and set(map(type, workers)) == {int}
        if are_ints and min(workers) >= 0 and max(workers) < self.num_workers:  # short lists come often
            if len(workers) < COHORT:
                return list(dict.fromkeys(workers)) if name == "restart" else workers
            return np.array(sorted(set(workers)) if name == "restart" else workers)
        is_range = isinstance(workers, range)
        array = np.arange(workers.start, workers.stop, workers.step) if is_range else np.asarray(workers)
        if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= self.num_workers:
            raise InputError(f"{self.name}: {name} is {workers!r}, expected workers from 0 to {self.num_workers - 1}")
        if len(array) < COHORT:
            return list(dict.fromkeys(array.tolist())) if name == "restart" else array.tolist()
        return np.unique(array) if name == "restart" and (np.diff(array) <= 0).any() else array

    def _explained(self, answer: Any, error: Exception) -> Exception:
        """Returns the error of an answer that cannot be followed."""
        if isinstance(error, InputError):
            return error
        return InputError(
            f"{self.name} answered {answer!r}, expected an asyncopt.traces.policies.Answer with sequences of numbers "
            f"({error})"
        )

    def no_step(self, so_far: str) -> InputError:
        """Returns the error of a policy that has made no step for too many arrivals."""
        return InputError(
            f"{self.name}: no step in the last {self.patience:,} arrivals, after {so_far}, expected that it makes steps"
        )


def check_policy(policy: Any) -> None:
    """Refuses what is no policy."""
    if isinstance(policy, type) or not isinstance(policy, Policy):
        hint = ", an object and not a class" if isinstance(policy, type) else ""
        raise InputError(f"policy is {policy!r}, expected one with the methods start and decide{hint}")


def read_versions(step: Int[np.ndarray, " K"], version: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
    """Returns the iterate that each update's gradient was taken at.

    Iterates within a step are equal; the newest of them counts as the one that was read.

    Args:
      step: the step of each update.
      version: the steps made before the gradient's worker began.
    """
    last_of_step = np.append(np.flatnonzero(np.diff(step)), len(step) - 1)
    return np.minimum(np.arange(len(step)), last_of_step[version])


def unless_means(weight: Float[np.ndarray, " K"], step: Int[np.ndarray, " K"]) -> Float[np.ndarray, " K"] | None:
    """Returns the weights of gradients in their steps; None if each step takes the mean, as a trace does by default."""
    return None if np.array_equal(weight, 1 / np.bincount(step)[step]) else weight
