"""Real runs whose server does what a policy says."""

import collections
import dataclasses
import threading
import time

import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, runtime
from asyncopt.engine import Checkpoint, stepwise
from asyncopt.runtime import Threads, WorkerFailure
from asyncopt.runtime.worker_pool import InterruptibleWait
from asyncopt.traces import answers as policy_answers
from asyncopt.traces import policies
from asyncopt.traces.policies import Answer
from tests.runtime.test_server import APAM, QUADRATIC, WRONG, Unreliable, check_replays

TABLE = asyncopt.optim.gradient_table(APAM, 4, rounds=True)
SLOW = [0.001, 0.001, 0.002, 0.02]  # seconds of four workers, the last of which is late
POLICIES = {
    "asynchronous": policies.asynchronous(),
    "does not wait": policies.asynchronous(waits=False),
    "assignments": policies.assignments(),
    "rounds": policies.rounds(),
    "the first two of a round": policies.rounds(2),
    "rennala": policies.rennala(5),
    "malenia": policies.malenia(9),
    "buffered": policies.buffered(4),
    "ringleader": policies.ringleader(),
    "ringmaster": policies.ringmaster(2),
    "ringmaster without stops": policies.ringmaster(2, stops=False),
    "ringmaster without a parameter": policies.ringmaster(None),
}


class Noted:
    """A policy that does what another one does, and keeps what it was asked and answered."""

    def __init__(self, policy):
        self.policy, self.asked = policy, []
        self.waits = getattr(policy, "waits", True)

    def start(self, num_workers):
        return self.policy.start(num_workers)

    def decide(self, arrival):
        answer = self.policy.decide(arrival)
        self.asked.append((arrival, answer))
        return answer


def check_trace(trace, asked):
    """Checks a recorded trace against what a policy was asked and answered, by a plain loop over that."""
    arrivals = [arrival for arrival, _ in asked]
    assert [arrival.number for arrival in arrivals] == list(range(len(asked)))
    steps = [
        (answer.step, answer.weight or [1 / len(answer.step)] * len(answer.step), number + 1)
        for number, (_, answer) in enumerate(asked)
        if len(answer.step)
    ]
    used = [arrivals[number] for step, _, _ in steps for number in step]
    step_of = [index for index, (step, _, _) in enumerate(steps) for _ in step]
    assert trace.worker.tolist() == [arrival.worker for arrival in used]
    assert trace.step.tolist() == step_of
    assert trace.step_delay.tolist() == [step - a.version for step, a in zip(step_of, used, strict=True)]
    assert trace.step_weight == pytest.approx([weight for _, weights, _ in steps for weight in weights])
    assert trace.computed.tolist() == [count for step, _, count in steps for _ in step]
    # A policy is asked when its gradient has come, and before the step; the steps made by then are those it was told.
    assert np.all(trace.arrival <= [arrival.time for arrival in used])
    for number, (step, _, _) in enumerate(steps):
        last = max(arrivals[i].time for i in step)
        assert last <= trace.time[step_of.index(number)]
    made = 0
    for arrival, answer in asked:
        assert arrival.step == made
        assert 0 <= arrival.version <= made
        made += len(answer.step) > 0


@pytest.mark.optimised
@pytest.mark.parametrize("name", POLICIES)
def test_a_run_is_what_its_policy_said_and_replays_bit_identically(name):
    policy = Noted(POLICIES[name])
    optimizer = TABLE if name == "ringleader" else APAM
    pool = Threads(4, compute=SLOW)
    recording = runtime.record(QUADRATIC, optimizer, pool, num_updates=101, eval_every=10, policy=policy)
    trace = recording.trace
    first_of_last_step = trace.step.tolist().index(trace.num_steps - 1)
    assert first_of_last_step < 101 <= trace.num_updates
    check_trace(trace, policy.asked)
    ends = {0, *(np.flatnonzero(trace.makes_step) + 1)}
    assert set(recording.result.step) <= ends
    assert recording.result.time[-1] == trace.time[-1]
    check_replays(recording, optimizer=optimizer, eval_every=10)


@pytest.mark.optimised
def test_every_gradient_makes_a_step_as_without_a_policy():
    """With one worker both have the same trace, so the same parameters; sums of one gradient may round otherwise."""
    settings = {"num_updates": 40, "seed": 3}
    plain = runtime.record(QUADRATIC, APAM, Threads(1), **settings)
    asked = runtime.record(QUADRATIC, APAM, Threads(1), policy=policies.asynchronous(), **settings)
    np.testing.assert_array_equal(asked.trace.read_version, plain.trace.read_version)
    np.testing.assert_array_equal(asked.trace.sample, plain.trace.sample)
    np.testing.assert_allclose(asked.result.params, plain.result.params, rtol=1e-12)


def test_late_workers_are_stopped_and_no_gradient_is_too_old():
    """Worker 3 takes ten seconds for a gradient, and would never be used; it is stopped again and again."""
    policy = policies.ringmaster(3)
    began = time.perf_counter()
    pool = Threads(4, compute=[0.002, 0.002, 0.002, 10.0])
    trace = runtime.record(QUADRATIC, APAM, pool, num_updates=120, policy=policy).trace
    assert time.perf_counter() - began < 10
    assert 3 not in trace.worker
    assert trace.max_delay < 3
    assert trace.cancelled >= 20
    assert trace.wasted_seconds > 0
    assert trace.arrivals == 120


def test_without_stops_old_gradients_are_ignored():
    pool = Threads(4, compute=[0.001, 0.001, 0.001, 0.02])
    recording = runtime.record(QUADRATIC, APAM, pool, num_updates=120, policy=policies.ringmaster(3, stops=False))
    assert recording.trace.max_delay < 3
    assert recording.trace.cancelled == 0
    assert recording.trace.arrivals > 120
    assert 0 < recording.trace.wasted_seconds < 4 * recording.trace.time[-1]


def test_rounds_are_the_synchronous_method():
    rounds = runtime.record(QUADRATIC, APAM, Threads(4), num_updates=80, policy=policies.rounds())
    assert rounds.trace.num_steps == 20
    assert not rounds.trace.step_delay.any()
    assert all(set(rounds.trace.worker[rounds.trace.step == step]) == {0, 1, 2, 3} for step in range(20))
    check_replays(rounds)


def test_workers_have_data_of_their_own(digits):
    del digits
    data = asyncopt.problems.data.digits()
    problem = asyncopt.problems.logistic(asyncopt.problems.data.partition(data, 4, alpha=0.1), l2=1e-2)
    optimizer = asyncopt.optim.gradient_table(optax.sgd(0.05), 4, rounds=True)
    recording = runtime.record(
        problem, optimizer, Threads(4), num_updates=60, eval_every=20, policy=policies.ringleader()
    )
    check_replays(recording, problem, optimizer, rtol=1e-7, eval_every=20)


@pytest.mark.parametrize("name", ["ringmaster", "rennala", "the first two of a round", "assignments"])
def test_lost_workers_and_wrong_gradients(name, caplog):
    wrong = {number: lambda pool, message: WorkerFailure(message.worker, "gone") for number in (3, 10, 20, 33)}
    wrong |= dict.fromkeys((5, 17, 25), WRONG["not finite"][0])
    pool = Unreliable(4, wrong)
    recording = runtime.record(QUADRATIC, APAM, pool, num_updates=60, eval_every=10, policy=POLICIES[name])
    assert recording.summary()["workers_replaced"] == 4
    assert recording.summary()["gradients_refused"] == 3
    check_replays(recording, eval_every=10)


class Stopping(Threads):
    """Threads of a server that is stopped when so many gradients have come, and a step has been made.

    All take as long, so that no worker is left out on a busy machine.
    """

    def __init__(self, workers, after):
        super().__init__(workers, compute=0.002)
        self.left, self.version = after, 0

    def publish(self, version, params):
        self.version = version
        super().publish(version, params)

    def receive(self):
        if self.left <= 0 and self.version:
            raise KeyboardInterrupt
        self.left -= 1
        return super().receive()


@pytest.mark.parametrize("name", ["ringmaster", "rennala", "buffered", "ringleader", "malenia"])
@pytest.mark.parametrize("after", [23, 36])
def test_a_stopped_run_resumes(name, after, tmp_path, caplog):
    optimizer = TABLE if name == "ringleader" else APAM
    settings = {"num_updates": 70, "eval_every": 7, "policy": POLICIES[name]}
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "one", 1e9)
    with pytest.raises(KeyboardInterrupt):
        runtime.record(QUADRATIC, optimizer, Stopping(4, after), checkpoint=checkpoint, **settings)
    recording = runtime.record(QUADRATIC, optimizer, Threads(4), checkpoint=checkpoint, **settings)
    assert "the run resumes from its checkpoint" in caplog.text
    trace = recording.trace
    assert np.all(np.diff(trace.time) >= 0)
    assert trace.arrivals >= trace.num_updates
    assert len(set(np.diff(trace.step))) <= 2
    check_replays(recording, optimizer=optimizer, eval_every=7)
    if name == "ringleader":  # its rounds stay those of the table: but for one, each worker makes a step in each
        last = trace.worker[trace.makes_step]
        whole = [set(last[first : first + 4]) for first in range(0, len(last) - 3, 4)]
        assert sum(len(workers) < 4 for workers in whole) <= 1


class InTurn(Threads):
    """Threads whose gradients are taken up in the order of the requests: none is late, however busy the machine is."""

    def __init__(self, workers, **settings):
        super().__init__(workers, **settings)
        self.order, self.early = collections.deque(), {}

    def dispatch(self, worker, request):
        self.order.append(worker)
        super().dispatch(worker, request)

    def receive(self):
        while self.order[0] not in self.early:
            message, moment = super().receive()
            self.early[message.worker] = message, moment
        return self.early.pop(self.order.popleft())


class StoppingInTurn(Stopping, InTurn):
    """Threads in turn, whose server is stopped."""


def test_a_resumed_run_stops_nobody_who_is_in_time(tmp_path):
    settings = {"num_updates": 120, "policy": policies.ringmaster(50)}
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", "one", 1e9)
    with pytest.raises(KeyboardInterrupt):
        runtime.record(QUADRATIC, APAM, StoppingInTurn(4, 60), checkpoint=checkpoint, **settings)
    trace = runtime.record(QUADRATIC, APAM, InTurn(4), checkpoint=checkpoint, **settings).trace
    assert (trace.num_updates, trace.cancelled) == (120, 0)


class Odd:
    """A policy whose first answers are asynchronous, and whose further ones are given."""

    def __init__(self, *answers, start=None):
        self.answers, self.begin = answers, start

    def start(self, num_workers):
        return Answer(restart=range(num_workers)) if self.begin is None else self.begin

    def decide(self, arrival):
        if arrival.number < 5:
            return Answer(step=[arrival.number], restart=[arrival.worker])
        return self.answers[(arrival.number - 5) % len(self.answers)]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (policies.Rennala, "expected one with the methods start and decide, an object and not a class"),
        ("ringmaster", "policy is 'ringmaster', expected one with the methods start and decide"),
        (Odd(Answer()), "policy Odd: no worker is at work after 5 steps and 8 arrivals, expected that some go on"),
        (Odd(Answer(step=[3])), "policy Odd: step 5 uses gradient 3, expected numbers of gradients that are held"),
        (Odd(Answer(step=[5, 5])), "policy Odd: step 5 uses gradient 5 twice, expected each once"),
        (Odd(Answer(step=[5], weight=[1.0, 2.0])), "policy Odd: weight of step 5 is .*, expected one number for each"),
        (
            Odd(Answer(step={5: 1, 6: 1})),
            "policy Odd: step 5 uses gradient 6, expected numbers of gradients that are held",
        ),
        (Odd(Answer(step=[5], weight={"a": 1.0})), "policy Odd answered .*could not convert"),
        (Odd(Answer(step=[5], restart=[9])), r"policy Odd: restart is \[9\], expected workers from 0 to 2"),
        (Odd("step"), "policy Odd answered 'step', expected an asyncopt.traces.policies.Answer"),
        (Odd(start=Answer(step=[0])), "policy Odd: start uses a gradient, expected restart or assign alone"),
        (Odd(start=Answer()), "policy Odd: no worker is at work after 0 steps and 0 arrivals"),
    ],
)
def test_refuses(policy, message):
    with pytest.raises(InputError, match=message):
        runtime.record(QUADRATIC, APAM, Threads(3), num_updates=40, policy=policy)


def test_refuses_what_does_not_go_together():
    rounds, feedback = policies.rounds(), asyncopt.optim.error_feedback(optax.sgd(0.1), 3)
    with pytest.raises(InputError, match=r"does not take steps of several gradients.*error_feedback needs worker="):
        runtime.record(QUADRATIC, feedback, Threads(3), num_updates=40, policy=policies.asynchronous())
    with pytest.raises(InputError, match="synchronous is true and a policy is given, expected one of them"):
        runtime.record(QUADRATIC, APAM, Threads(3), num_updates=40, policy=rounds, synchronous=True)
    with pytest.raises(InputError, match="policy: workers read shared memory in blocks, expected consistent reads"):
        runtime.record(QUADRATIC, APAM, Threads(3, reads="blocks"), num_updates=40, policy=rounds)
    with pytest.raises(InputError, match="probes record what theorems need"):
        runtime.record(QUADRATIC, APAM, Threads(3), num_updates=40, policy=rounds, record_bounds=True)


class NeverStarted(Threads):
    def start(self, *arguments):
        raise AssertionError("workers start")


@pytest.mark.parametrize(
    "policy", [policies.buffered(3), policies.malenia(4), policies.buffered(3, exponent=0)], ids=str
)
def test_refuses_an_optimizer_that_ignores_weights_before_workers_start(policy):
    with pytest.raises(
        InputError if policy.weighs else AssertionError,
        match=r"the trace has weights, which an optimizer that takes each gradient by itself|workers start",
    ):
        runtime.record(QUADRATIC, TABLE, NeverStarted(4), num_updates=40, policy=policy)


def test_refuses_weights_of_an_own_policy_at_the_first_step():
    class Own(policies.Buffered):
        weighs = False  # it does not say so

    with pytest.raises(InputError, match="the trace has weights"):
        runtime.record(QUADRATIC, TABLE, Threads(4), num_updates=40, policy=Own(3))


def test_a_policy_that_never_steps_ends(monkeypatch):
    class Idle(Odd):
        def decide(self, arrival):
            return Answer(restart=[arrival.worker])

    monkeypatch.setattr(policy_answers, "_PATIENCE", 50)
    monkeypatch.setattr(policy_answers, "_PATIENCE_PER_WORKER", 1)
    with pytest.raises(InputError, match="policy Idle: no step in the last 50 arrivals"):
        runtime.record(QUADRATIC, APAM, Threads(2), num_updates=10, policy=Idle())


def test_divergence_ends_the_run():
    with pytest.raises(InputError, match=r"the run diverged: iterate \d+ is not finite"):
        runtime.record(QUADRATIC, optax.sgd(1e150), Threads(2), num_updates=200, policy=policies.rennala(2))


def test_a_wait_that_is_stopped_ends_and_later_ones_do_not():
    delay = InterruptibleWait()
    delay.stop(4)
    began = time.perf_counter()
    delay.wait(began + 30, 4)  # stopped before it began
    threading.Timer(0.05, delay.stop, [6]).start()
    delay.wait(began + 30, 6)  # stopped while it waits
    assert time.perf_counter() - began < 20
    began = time.perf_counter()
    delay.wait(began + 0.05, 7)
    threading.Timer(0.05, delay.stop, [9]).start()
    delay.wait(1e300, 8)  # longer than a timeout may be
    assert time.perf_counter() - began >= 0.05


def test_the_recorded_steps_are_checked_by_replays():
    """The check above can fail: a recording whose steps are changed does not replay to the same bits."""
    recording = runtime.record(QUADRATIC, APAM, Threads(4), num_updates=60, policy=policies.rennala(3))
    check_replays(recording, eval_every=None)
    weight = recording.trace.step_weight.copy()
    weight[10] *= 1.5
    changed = dataclasses.replace(recording, trace=dataclasses.replace(recording.trace, weight=weight))
    with pytest.raises(AssertionError):
        check_replays(changed)


def test_evaluations_planned_within_one_step_are_made_once(monkeypatch):
    calls = []
    evaluate = stepwise._evaluate
    monkeypatch.setattr(stepwise, "_evaluate", lambda *args: calls.append(args) or evaluate(*args))
    recording = runtime.record(QUADRATIC, APAM, Threads(2), num_updates=40, eval_every=3, policy=policies.rennala(10))
    assert recording.result.step.tolist() == [0, 10, 20, 30, 40]
    assert len(calls) == 5
