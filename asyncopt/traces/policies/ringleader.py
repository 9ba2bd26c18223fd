"""One step for each worker in each round, with a table of all workers' gradients (Ringleader)."""

import dataclasses

from asyncopt.traces.policies.policy import Answer, Arrival


@dataclasses.dataclass
class Ringleader:
    """Gathers a gradient of each worker, and then makes one step for each worker; no gradient is lost.

    A round has two phases. In the first, gradients are gathered until each worker has sent one; workers go on at the
    newest iterate. The gradient that completes them makes a step, and its worker gets the new iterate. In the second
    phase, each other worker's next gradient joins the table and makes a step, and the worker gets the new iterate. A
    worker that comes again before the round ends goes on; its gradients wait for the next round. So no gradient is
    more than 2p - 2 steps old.

    The policy says which gradients make which step. That a step takes the mean over workers of each one's mean gradient
    in the round is the part of the optimizer: ``asyncopt.optim.gradient_table(optimizer, p, rounds=True)``. A
    configuration with another optimizer is refused. `asyncopt.replay` takes any: a trace does not say what made it.

    References:
      Maranjyan and Richtárik, `Ringleader ASGD: the first asynchronous SGD with optimal time complexity under data
      heterogeneity <https://arxiv.org/abs/2509.22860>`_, 2025.
    """

    def start(self, num_workers: int) -> Answer:
        """Lets all workers begin."""
        self._num_workers = num_workers
        self._gathered: list[int] = []  # numbers of the gradients for the next step
        self._missing = set(range(num_workers))  # in the first phase: workers that have sent none in this round
        self._waiting: set[int] = set()  # in the second phase: workers that have had no step in this round
        self._next: list[tuple[int, int]] = []  # number and worker of the gradients for the next round
        self._is_first = True
        return Answer(restart=range(num_workers))

    def decide(self, arrival: Arrival) -> Answer:
        """Holds the gradient, or makes a step with it and those that are held for this round."""
        number, worker = arrival.number, arrival.worker
        if self._is_first and arrival.step % self._num_workers:  # a resumed run: the second phase of a round
            self._waiting = set(range(self._num_workers))
        self._is_first = False
        if self._waiting and worker not in self._waiting:
            self._next.append((number, worker))
            return Answer(hold=True, restart=(worker,))
        self._gathered.append(number)
        if not self._waiting:
            self._missing.discard(worker)
            if self._missing:
                return Answer(hold=True, restart=(worker,))
            self._waiting = set(range(self._num_workers))
        self._waiting.remove(worker)
        step, self._gathered = self._gathered, []
        if (arrival.step + 1) % self._num_workers == 0:  # the next round begins with the gradients that wait for it
            self._gathered = [number for number, _ in self._next]
            self._missing = set(range(self._num_workers)) - {sender for _, sender in self._next}
            self._waiting, self._next = set(), []
        return Answer(step=step, restart=(worker,))
