"""Reference loops: one function for each policy, which looks at all workers to find the next gradient.

They share nothing with `asyncopt.traces` but the clock's ``duration`` and ``step_seconds``. Each function is written
from the pseudo-code of its paper, for a server that takes up one gradient after another.
"""

import dataclasses
import math
from fractions import Fraction

import numpy as np


class Over(Exception):  # noqa: N818
    """The simulation has come to its end."""


@dataclasses.dataclass
class Job:
    """What a worker computes, or has computed."""

    worker: int
    number: int
    version: int
    begin: float
    arrival: float


class Server:
    """A server, its workers, and a list of the gradients that it used."""

    def __init__(self, clock, num_updates=None, until=None):
        self.clock, self.num_workers = clock, clock.num_workers
        self.num_updates = math.inf if num_updates is None else num_updates
        self.until = math.inf if until is None else until
        self.jobs = []  # begun, and not taken up
        self.begun = [0] * self.num_workers
        self.assigned = [[] for _ in range(self.num_workers)]  # jobs that a worker has not begun: second and version
        self.log = []  # all jobs, in the order in which they are begun here
        self.now, self.free, self.step_ends = 0.0, 0.0, []
        self.taken_up, self.num_cancelled, self.wasted = 0, 0, 0.0
        self.updates, self.costs = [], None

    def take_up(self):
        """Returns the job of the next gradient, in the order of (time, worker, job)."""
        job = min(self.jobs, key=lambda job: (job.arrival, job.worker, job.number))
        if job.arrival > self.until or job.arrival == math.inf:
            raise Over
        self.jobs.remove(job)
        self.now = max(job.arrival, self.free)
        self.taken_up += 1
        if self.assigned[job.worker]:  # it went on when it was done, or when it got the next job
            second, version = self.assigned[job.worker].pop(0)
            self.begin(job.worker, max(job.arrival, second), version)
        return job

    def ignore(self, job):
        """Drops a gradient."""
        self.wasted += job.arrival - job.begin

    def step(self, jobs, weights=None):
        """Makes a step with the gradients of these jobs."""
        end = self.now + self.clock.step_seconds(self.num_steps, 1)[0]
        if end > self.until:
            raise Over
        for number, job in enumerate(jobs):
            weight = 1 / len(jobs) if weights is None else weights[number]
            self.updates.append((job.worker, job.version, job.arrival, end, self.num_steps, weight, self.taken_up))
        self.step_ends.append(end)
        self.now = self.free = end
        self.costs = (self.taken_up, self.num_cancelled, self.wasted)
        if len(self.updates) >= self.num_updates:  # nobody begins after the last step
            raise Over

    @property
    def num_steps(self):
        """The steps made."""
        return len(self.step_ends)

    def begin(self, worker, second=None, version=None):
        """Lets an idle worker begin, by default now and from the newest iterate."""
        second = self.now if second is None else second
        version = self.num_steps if version is None else version
        number = self.begun[worker]
        self.begun[worker] += 1
        arrival = second + self.clock.duration(worker, number, second)
        self.jobs.append(Job(worker, number, version, second, arrival))
        self.log.append(self.jobs[-1])

    def restart(self, worker):
        """Stops a worker unless its gradient has come, and lets it begin anew."""
        for job in self.jobs:
            if job.worker == worker:
                if job.arrival <= self.now:
                    return
                self.jobs.remove(job)
                self.assigned[worker].clear()
                self.num_cancelled += 1
                self.wasted += self.now - job.begin
                break
        self.begin(worker)

    def assign(self, worker):
        """Gives a worker one more job, from the newest iterate of now."""
        if any(job.worker == worker for job in self.jobs):
            self.assigned[worker].append((self.now, self.num_steps))
        else:
            self.begin(worker)

    def restart_all(self):
        """Restarts all workers."""
        for worker in range(self.num_workers):
            self.restart(worker)


def serve(loop, clock, num_updates=None, until=None, **settings):
    """Runs one of the functions below to its end, and returns the server."""
    server = Server(clock, num_updates, until)
    try:
        loop(server, **settings)
    except Over:
        return server


def asynchronous(server, waits=True):
    server.restart_all()
    while True:
        job = server.take_up()
        server.step([job])
        if waits:
            server.begin(job.worker)
        else:
            done = sum(end <= job.arrival for end in server.step_ends)
            server.begin(job.worker, job.arrival, done)


def assignments(server, order="random", seed=0):
    generator = np.random.default_rng(seed)
    drawn = []
    for worker in range(server.num_workers):
        server.assign(worker)
    while True:
        server.step([server.take_up()])
        if not drawn and order == "random":
            drawn = generator.integers(server.num_workers, size=1024).tolist()
        elif not drawn:
            drawn = generator.permutation(server.num_workers).tolist()[::-1]
        server.assign(drawn.pop(0))


def rounds(server, take=None):
    p = server.num_workers
    if take is None:
        take = p
    elif take < 1:
        take = max(round(take * p), 1)
    server.restart_all()
    while True:
        round_number, gradients = server.num_steps, []
        while len(gradients) < take:
            job = server.take_up()
            if job.version == round_number:
                gradients.append(job)
            else:
                server.ignore(job)
                server.begin(job.worker)
        server.step(gradients)
        server.restart_all()


def ringmaster(server, max_delay, stops=True):
    def threshold(k):
        """⌈√(k + 1)⌉, without rounding."""
        return math.isqrt(k) + 1 if max_delay is None else max_delay

    server.restart_all()
    while True:
        job = server.take_up()
        k = server.num_steps
        if k - job.version >= threshold(k):
            server.ignore(job)
            server.begin(job.worker)
            continue
        server.step([job])
        k += 1
        if stops:
            for old in [other for other in server.jobs if k - other.version >= threshold(k)]:
                server.restart(old.worker)
        server.begin(job.worker)


def rennala(server, batch):
    server.restart_all()
    while True:
        k, gradients = server.num_steps, []
        while True:
            job = server.take_up()
            if job.version < k:
                server.ignore(job)
            else:
                gradients.append(job)
                if len(gradients) == batch:
                    break
            server.begin(job.worker)
        server.step(gradients)
        server.begin(job.worker)


def malenia(server, batch):
    p = server.num_workers
    server.restart_all()
    while True:
        k, gradients, counts = server.num_steps, [], [0] * p
        while True:
            job = server.take_up()
            if job.version < k:
                server.ignore(job)
            else:
                gradients.append(job)
                counts[job.worker] += 1
                if min(counts) and p / sum(Fraction(1, b) for b in counts) >= Fraction(batch, p):
                    break
            server.begin(job.worker)
        server.step(gradients, [1 / (p * counts[gradient.worker]) for gradient in gradients])
        server.begin(job.worker)


def buffered(server, size, exponent=0.5):
    server.restart_all()
    while True:
        gradients, weights = [], []
        while True:
            job = server.take_up()
            gradients.append(job)
            weights.append((1 + server.num_steps - job.version) ** -exponent / size)
            if len(gradients) == size:
                break
            server.begin(job.worker)
        server.step(gradients, weights)
        server.begin(job.worker)


def ringleader(server):
    p = server.num_workers
    table_of_next = []
    server.restart_all()
    while True:
        # Phase 1: until the table has a gradient of each worker.
        table, table_of_next = table_of_next, []
        while True:
            job = server.take_up()
            table.append(job)
            if len({gradient.worker for gradient in table}) == p:
                break
            server.begin(job.worker)
        server.step(table)
        server.begin(job.worker)
        # Phase 2: a step for each other worker.
        stepped = {job.worker}
        while len(stepped) < p:
            job = server.take_up()
            if job.worker in stepped:
                table_of_next.append(job)
            else:
                stepped.add(job.worker)
                server.step([job])
            server.begin(job.worker)


def by_chance(server, seed):
    """Holds, uses and ignores gradients, and restarts workers, by the numbers of a generator."""
    generator = np.random.default_rng(seed)
    held, number = {}, 0
    server.restart_all()
    while True:
        job = server.take_up()
        hold, step, weight, restart = draw_answer(generator, server.num_workers, number, list(held), job.worker)
        held[number] = job
        if not hold and number not in step:
            server.ignore(held.pop(number))
        if step:
            server.step([held.pop(i) for i in step], weight)
        for worker in restart:
            server.restart(worker)
        number += 1


def draw_answer(generator, num_workers, number, held, worker):
    """Returns what to do about gradient ``number`` of a worker: whether to hold it, a step, its weights, restarts."""
    hold = bool(generator.random() < 0.5)
    step = [i for i in held if generator.random() < 0.3]
    if generator.random() < 0.6:
        step.append(number)
    step = generator.permutation(step).astype(int).tolist() if generator.random() < 0.6 else []
    weight = generator.normal(size=len(step)).tolist() if step and generator.random() < 0.5 else None
    restart = [w for w in range(num_workers) if generator.random() < 0.1 or w == worker == 0]
    if worker not in restart and generator.random() < 0.8:
        restart.insert(0, worker)
    return hold, step, weight, restart


def assigned_by_chance(server, seed):
    """Makes a step with each gradient, assigns jobs, and stops workers; no worker waits for the server."""
    generator = np.random.default_rng(seed)
    for worker in range(server.num_workers):
        server.assign(worker)
    while True:
        job = server.take_up()
        assign, restart = draw_assignments(generator, server.num_workers, job.worker)
        server.step([job])
        for worker in restart:
            server.restart(worker)
        for worker in assign:
            server.assign(worker)


def draw_assignments(generator, num_workers, worker):
    """Returns workers that get jobs, perhaps several, and others that are stopped, when a worker's gradient has come.

    That worker is not stopped: it may have begun the next job in this second.
    """
    assign = generator.integers(num_workers, size=generator.integers(1, 3)).tolist()
    return assign, [w for w in range(num_workers) if w != worker and generator.random() < 0.1]
