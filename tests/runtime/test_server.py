"""Real runs by threads, and what the server does with workers that fail."""

import dataclasses
import json
import re
import sys
import threading
import time

import jax
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, runtime
from asyncopt.engine import Checkpoint, stepwise
from asyncopt.engine.stepwise import digest
from asyncopt.runtime import Threads, WorkerFailure, threads, worker_pool
from asyncopt.runtime.recording import final_leaves, load
from asyncopt.runtime.worker_pool import GradientRequest, InjectedLatency, InterruptibleWait

QUADRATIC = asyncopt.problems.quadratic(dimension=20)
APAM = asyncopt.apam(0.02)
IN_ROUNDS = asyncopt.optim.buffer_updates(APAM, size=4, exponent=0.0)
COMPENSATED = asyncopt.optim.compensate_delay(optax.sgd(0.01), strength=0.1)


def check_replays(recording, problem=QUADRATIC, optimizer=APAM, seed=0, rtol=1e-9, eval_every=None):
    """Checks the exact replay to the bit and the compiled loop to rounding; no gradient was applied twice."""
    trace = recording.trace
    assert len(set(trace.sample.tolist())) == trace.num_updates
    exact = asyncopt.replay(problem, optimizer, trace, seed=seed, exact=True, eval_every=eval_every)
    for real, replayed in zip(final_leaves(recording.result), final_leaves(exact), strict=True):
        np.testing.assert_array_equal(real, replayed)
    np.testing.assert_array_equal(exact.objective, recording.result.objective)
    assert int(recording.digests[-1]) == digest(exact.params)
    fast = asyncopt.replay(problem, optimizer, trace, seed=seed)
    np.testing.assert_allclose(fast.params, recording.result.params, rtol=rtol, atol=rtol)


@pytest.mark.optimised
@pytest.mark.parametrize("reads", ["consistent", "blocks"])
@pytest.mark.parametrize("optimizer", [APAM, COMPENSATED], ids=["apam", "compensated"])
def test_a_run_replays_bit_identically(reads, optimizer):
    pool = Threads(3, reads=reads, num_blocks=4, pause=2e-3)  # long enough for updates to come during a read
    recording = runtime.record(QUADRATIC, optimizer, pool, num_updates=150, seed=2)
    trace = recording.trace
    assert trace.num_updates == 150
    assert trace.num_workers == 3
    assert set(trace.worker.tolist()) == {0, 1, 2}
    assert 1 < trace.mean_delay <= 2  # p - 1, but for the start; blocks are read later than they are dispatched
    assert trace.is_consistent == (reads == "consistent")
    assert np.all(trace.arrival <= trace.time)
    assert np.all(recording.compute_seconds > 0)
    assert recording.result.time[-1] == trace.time[-1]
    check_replays(recording, optimizer=optimizer, seed=2)


def test_in_float32(digits):
    problem = jax.tree.map(lambda x: x.astype(np.float32) if x.dtype == np.float64 else x, digits)
    recording = runtime.record(problem, APAM, Threads(2), num_updates=60, param_dtype="float32")
    exact = asyncopt.replay(problem, APAM, recording.trace, param_dtype="float32", exact=True)
    assert int(recording.digests[-1]) == digest(exact.params)
    fast = asyncopt.replay(problem, APAM, recording.trace, param_dtype="float32")
    for a, b in zip(jax.tree.leaves(fast.params), jax.tree.leaves(recording.result.params), strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_one_worker_is_the_plain_loop():
    recording = runtime.record(QUADRATIC, APAM, Threads(1), num_updates=40)
    assert not recording.trace.delay.any()
    plain = asyncopt.replay(QUADRATIC, APAM, asyncopt.traces.synchronous(40))
    np.testing.assert_allclose(recording.result.params, plain.params, rtol=1e-11)


def test_rounds_are_those_of_the_synchronous_method():
    recording = runtime.record(QUADRATIC, IN_ROUNDS, Threads(4), num_updates=80, synchronous=True)
    assert not recording.trace.delay.any()
    np.testing.assert_array_equal(recording.trace.worker, np.arange(80) % 4)
    check_replays(recording, optimizer=IN_ROUNDS)
    rounds = asyncopt.replay(QUADRATIC, IN_ROUNDS, asyncopt.traces.rounds(80, 4))
    np.testing.assert_allclose(recording.result.params, rounds.params, rtol=1e-11)
    with pytest.raises(InputError, match="it stepped within a round, expected one that steps once a round"):
        runtime.record(QUADRATIC, APAM, Threads(4), num_updates=80, synchronous=True)
    with pytest.raises(InputError, match="num_updates is 81, expected a multiple of the 4 workers"):
        runtime.record(QUADRATIC, IN_ROUNDS, Threads(4), num_updates=81, synchronous=True)


class Unreliable(Threads):
    """Threads whose messages are changed on the way, now and then.

    ``wrong`` maps the number of a message, from 0, to the function that changes it.
    """

    def __init__(self, workers, wrong):
        super().__init__(workers)
        self.wrong, self.count, self.sent = wrong, -1, []

    def receive(self):
        message, moment = super().receive()
        self.count += 1
        self.sent.append(message)
        if self.count in self.wrong:
            message = self.wrong[self.count](self, message)
        return message, moment


WRONG = {
    "not finite": (lambda pool, m: dataclasses.replace(m, gradient=m.gradient * np.nan), "that is not finite"),
    "shape": (lambda pool, m: dataclasses.replace(m, gradient=m.gradient[:-1]), r"shape \(19,\) of float64, expected"),
    "dtype": (lambda pool, m: dataclasses.replace(m, gradient=m.gradient.astype(np.float32)), "of float32, expected"),
    "structure": (lambda pool, m: dataclasses.replace(m, gradient=(m.gradient,)), "a gradient of structure"),
    "unknown version": (lambda pool, m: dataclasses.replace(m, version=m.version + 1), "a gradient of sample"),
    "unknown worker": (lambda pool, m: dataclasses.replace(m, worker=17), "expected none"),
    "unknown sample": (lambda pool, m: dataclasses.replace(m, sample=m.sample + 1000), "a gradient of sample"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_refused_and_the_run_continues(name, caplog):
    change, reason = WRONG[name]
    pool = Unreliable(3, {4: change, 11: change})
    recording = runtime.record(QUADRATIC, APAM, pool, num_updates=60)
    assert [incident["what"] for incident in recording.incidents] == ["refused", "refused"]
    workers = [17] * 2 if name == "unknown worker" else [pool.sent[number].worker for number in (4, 11)]
    assert [incident["worker"] for incident in recording.incidents] == workers
    assert recording.summary()["gradients_refused"] == 2
    refused = {pool.sent[number].sample for number in (4, 11)}
    assert not refused & set(recording.trace.sample.tolist())
    with pytest.raises(AssertionError, match="was not refused for"):  # the check below can fail
        _check_reasons(caplog, recording, "something else")
    _check_reasons(caplog, recording, reason)
    check_replays(recording)


def _check_reasons(caplog, recording, reason):
    for incident in recording.incidents:
        assert re.search(reason, incident["reason"]), f"was not refused for {reason}"
        assert f"worker {incident['worker']} refused" in caplog.text


def test_an_answer_without_a_request_is_not_applied():
    pool = Unreliable(3, {5: lambda pool, message: pool.sent[4]})
    recording = runtime.record(QUADRATIC, APAM, pool, num_updates=60)
    assert [incident["what"] for incident in recording.incidents] == ["refused"]
    check_replays(recording)


def test_lost_workers_are_replaced(caplog):
    lose = {number: lambda pool, message: WorkerFailure(message.worker, "gone") for number in (3, 10, 20)}
    recording = runtime.record(QUADRATIC, APAM, Unreliable(3, lose), num_updates=60)
    assert recording.summary()["workers_replaced"] == 3
    assert caplog.text.count("lost: gone") == 3
    check_replays(recording)


def test_a_worker_that_raises_is_replaced(caplog):
    class Failing(Threads):
        def _answer(self, worker, request, least_seconds):
            if request.sample in (5, 9):
                raise RuntimeError("out of memory")
            return super()._answer(worker, request, least_seconds)

    recording = runtime.record(QUADRATIC, APAM, Failing(3), num_updates=40)
    assert [incident["reason"] for incident in recording.incidents] == ["RuntimeError: out of memory"] * 2
    assert recording.summary()["workers_replaced"] == 2
    check_replays(recording)


def test_workers_that_always_fail_end_the_run():
    pool = Unreliable(2, dict.fromkeys(range(100), WRONG["not finite"][0]))
    with pytest.raises(InputError, match=r"no gradient could be applied 11 times in a row; worker \d: .*not finite"):
        runtime.record(QUADRATIC, APAM, pool, num_updates=20)


def test_divergence_ends_the_run_with_the_reason():
    with pytest.raises(InputError, match=r"the run diverged: iterate .* is not finite, expected a smaller step size"):
        runtime.record(QUADRATIC, optax.sgd(1e150), Threads(2), num_updates=200)


def test_a_stopped_run_resumes(tmp_path, caplog):
    """The trace is joined, and replays as one."""

    class Stopping(Threads):
        def receive(self):
            if len(self.received) == 25:
                raise KeyboardInterrupt
            self.received.append(super().receive())
            return self.received[-1]

    def checkpoint(tag="one"):
        return Checkpoint(tmp_path / "checkpoint.npz", tag, 1e9)

    stopped = Stopping(3, reads="blocks", num_blocks=2)
    stopped.received = []
    with pytest.raises(KeyboardInterrupt):
        runtime.record(QUADRATIC, APAM, stopped, num_updates=60, checkpoint=checkpoint())
    pool = Threads(3, reads="blocks", num_blocks=2)
    recording = runtime.record(QUADRATIC, APAM, pool, num_updates=60, checkpoint=checkpoint())
    assert "update 25: the run resumes from its checkpoint" in caplog.text
    assert recording.trace.sample[:25].tolist() == [message.sample for message, _ in stopped.received]
    assert np.all(np.diff(recording.trace.time) >= 0)
    assert recording.trace.read_version[25:].min() >= 25  # new workers read the checkpoint's iterate, or later
    check_replays(recording)
    other = runtime.record(QUADRATIC, APAM, Threads(3), num_updates=60, checkpoint=checkpoint("another"))
    assert other.trace.read_version[25:].min() < 25  # what was on its way then was read before


@pytest.mark.parametrize("number", [2, 3, 5])
def test_a_run_that_was_stopped_while_it_evaluated_resumes(number, tmp_path, monkeypatch):
    evaluate, calls = stepwise._evaluate, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(stepwise, "_evaluate", interrupted)
    for workers, optimizer, synchronous in ((3, APAM, False), (4, IN_ROUNDS, True)):
        calls.clear()
        settings = {"num_updates": 40, "eval_every": 10, "synchronous": synchronous}
        checkpoint = Checkpoint(tmp_path / f"{workers}.npz", "one", 0.0)
        with pytest.raises(KeyboardInterrupt):
            runtime.record(QUADRATIC, optimizer, Threads(workers), **settings, checkpoint=checkpoint)
        recording = runtime.record(QUADRATIC, optimizer, Threads(workers), **settings, checkpoint=checkpoint)
        assert recording.result.step.tolist() == [0, 10, 20, 30, 40]
        assert recording.result.objective.shape == (5,)
        check_replays(recording, optimizer=optimizer, eval_every=10)


def test_a_recording_is_saved_whole_and_damage_is_reported(tmp_path):
    recording = runtime.record(QUADRATIC, APAM, Threads(2), num_updates=30)
    recording.save(tmp_path)
    saved = load(tmp_path)
    assert saved.trace == recording.trace
    np.testing.assert_array_equal(saved.digests, recording.digests)
    json.dumps(recording.summary())
    (tmp_path / "recording.npz").write_bytes((tmp_path / "recording.npz").read_bytes()[:100])
    with pytest.raises(InputError, match=r"recording\.npz: not a readable \.npz"):
        load(tmp_path)
    (tmp_path / "recording.npz").unlink()
    with pytest.raises(InputError, match=r"no recorded run, it has no recording\.npz"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers is 0, expected an integer of at least 1"),
        ({"workers": 2, "reads": "some"}, "reads is 'some', expected 'consistent' or 'blocks'"),
        ({"workers": 2, "num_blocks": 0}, "num_blocks is 0"),
        ({"workers": 2, "pause": -1.0}, "pause is -1.0"),
        ({"workers": 2, "compute": {"distribution": "normal"}}, "compute: distribution is 'normal', expected one of"),
        ({"workers": 3, "compute": [1.0, 2.0]}, "compute has 2 means, expected one, or one for each of the 3 workers"),
        ({"workers": 2, "slowdown": 0.5}, "slowdown is 0.5"),
        ({"workers": 2, "seed": -1}, "seed is -1"),
    ],
)
def test_threads_refuse(arguments, message):
    with pytest.raises(InputError, match=message):
        Threads(**arguments)


def test_a_thread_that_does_not_end_is_named_and_not_waited_for(monkeypatch, caplog):
    """It computes for longer than anyone waits: once when it is replaced, and once when the run ends."""
    monkeypatch.setattr(threads, "_PATIENCE", 0.2)
    may_end = threading.Event()

    class Endless(Threads):
        def _answer(self, worker, request, least_seconds):
            if worker == 1:
                may_end.wait()
            return super()._answer(worker, request, least_seconds)

    pool, params = Endless(3), np.zeros(20)
    pool.start(QUADRATIC, 0, params)
    first = pool._threads[1]
    for worker in range(3):
        pool.dispatch(worker, GradientRequest(0, worker, params))
    pool.replace(1)
    pool.dispatch(1, GradientRequest(0, 3, params))
    second = pool._threads[1]
    pool.close()
    reason = "the threads of workers 1 did not end within 0.2 s; nobody waits for them; they end with the process"
    assert [record.getMessage() for record in caplog.records] == [reason] * 2
    may_end.set()
    for thread in (first, second):
        thread.join(30)
        assert not thread.is_alive()


def test_ctrl_c_at_any_line_of_the_start_leaves_no_thread():
    pool, params = Threads(2), np.zeros(20)
    pool.start(QUADRATIC, 0, params)
    pool.close()
    number = 0
    while interrupted(pool.start, QUADRATIC, 0, params, at=number, event="line", files=[threads.__file__]):
        pool.close()
        number += 1
    pool.close()
    assert number > 10
    assert not [thread for thread in threading.enumerate() if "asyncopt worker" in thread.name]


def test_ctrl_c_at_any_moment_of_a_stop_lets_the_worker_end():
    """A lock that is left held would keep the worker for ever."""
    number, is_interrupted = 0, True
    files = [worker_pool.__file__, threading.__file__]
    while is_interrupted:
        delay = InterruptibleWait()
        is_interrupted = interrupted(delay.stop, 4, at=number, event="opcode", files=files)
        delay.stop(5)
        worker = threading.Thread(target=delay.wait, args=(time.perf_counter() + 1e9, 5), daemon=True)
        worker.start()
        worker.join(10)
        assert not worker.is_alive(), f"instruction {number}"
        number += 1
    assert number > 2


def interrupted(function, *arguments, at, event, files):
    """Calls a function, and raises KeyboardInterrupt at one of its lines or instructions in some files, from 0.

    Returns whether that one was reached.
    """
    left = at

    def trace(frame, kind, _):
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        frame.f_trace_opcodes = event == "opcode"
        if kind == event:
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = event == "opcode"  # Python 3.12 looks for it when tracing begins
    sys.settrace(trace)
    try:
        function(*arguments)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_injected_seconds_are_those_of_the_distribution():
    latency = InjectedLatency(3, compute=[0.5, 1.0, 2.0], stragglers=1, slowdown=4.0)
    assert [next(latency.draws(worker)) for worker in range(3)] == [0.5, 1.0, 8.0]
    random = InjectedLatency(2, compute="exponential", seed=3)
    draws = random.draws(1)
    values = [next(draws) for _ in range(2000)]
    assert np.mean(values) == pytest.approx(1.0, abs=0.1)
    assert values[:5] == [value for value, _ in zip(random.draws(1), range(5), strict=False)]
    assert values[0] != next(random.draws(1, num_replaced=1))
    pool = Threads(2, compute=0.02)
    recording = runtime.record(QUADRATIC, APAM, pool, num_updates=20)
    assert np.all(recording.compute_seconds >= 0.02)
