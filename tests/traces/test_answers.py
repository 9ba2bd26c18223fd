"""What a policy may answer, when a simulation ends, and what is refused."""

import math

import numpy as np
import pytest

from asyncopt import InputError
from asyncopt.traces import Clock, answers, policies, simulate
from asyncopt.traces.policies import Answer


class Own:
    """A policy with given answers."""

    def __init__(self, decide, start=None):
        self.answer, self.first = decide, start

    def start(self, num_workers):
        return self.first(num_workers) if self.first else Answer(restart=range(num_workers))

    def decide(self, arrival):
        return self.answer(arrival)


def use(arrival, **fields):
    """The answer of asynchronous training, but for some fields."""
    return Answer(**{"step": (arrival.number,), "restart": (arrival.worker,)} | fields)


@pytest.mark.parametrize(
    ("decide", "message"),
    [
        (lambda a: use(a, step=(a.number, a.number)), "step 0 uses gradient 0 twice"),
        (lambda a: use(a, step=(0,)), "step 1 uses gradient 0, expected numbers of gradients that are held"),
        (lambda a: use(a, step=(a.number + 1,)), "step 0 uses gradient 1, expected numbers of gradients that are held"),
        (lambda a: use(a, step=(-1,)), "step 0 uses gradient -1, expected"),
        (lambda a: use(a, step=(0.5,)), "step 0 uses gradient 0.5, expected"),
        (lambda a: use(a, step="0"), "step 0 uses gradient '0', expected"),
        (lambda a: use(a, step=() if a.number == 0 else (0,)), "step 0 uses gradient 0, expected .* held"),
        (lambda a: use(a, step=a.number + 1), "answered Answer.*step=1.*expected .* sequences of numbers"),
        (lambda a: None, "Own answered None, expected an asyncopt.traces.policies.Answer"),
        (lambda a: "step", "Own answered 'step', expected an asyncopt.traces.policies.Answer"),
        (lambda a: 3, "Own answered 3, expected an asyncopt.traces.policies.Answer"),
        (lambda a: (False, (0,)), r"Own answered \(False, \(0,\)\), expected an asyncopt.traces.policies.Answer"),
        (lambda a: use(a, restart=(3,)), r"restart is \(3,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=(-1,)), r"restart is \(-1,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=(1.5,)), r"restart is \(1.5,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=("0",)), r"restart is \('0',\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=np.array([0.0])), r"restart is array\(\[0.\]\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=range(4)), r"restart is range\(0, 4\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=None), "answered Answer.*restart=None.*expected .* sequences of numbers"),
        (lambda a: use(a, restart=(), assign=(3,)), r"assign is \(3,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=(), assign=(-1,)), r"assign is \(-1,\), expected workers from 0 to 2"),
        (lambda a: use(a, restart=(), assign=(1.5,)), r"assign is \(1.5,\), expected workers from 0 to 2"),
        (lambda a: use(a, weight=(1.0, 2.0)), r"weight of step 0 is \(1.0, 2.0\), expected one number for each of 1"),
        (lambda a: use(a, weight=()), r"weight of step 0 is \(\), expected one number for each of 1"),
        (lambda a: use(a, weight=(math.nan,)), r"weight of step 0 is \(nan,\), expected finite numbers"),
        (lambda a: use(a, weight=(math.inf,)), r"weight of step 0 is \(inf,\), expected finite numbers"),
        (lambda a: use(a, weight=("x",)), "policies.Answer with sequences of numbers"),
        (lambda a: use(a, restart=()), "no worker will finish after 3 steps and 3 arrivals"),
    ],
)  # fmt: skip
def test_refuses_an_answer(decide, message):
    """The message says which policy, what it answered, and what is expected."""
    with pytest.raises(InputError, match=f"policy Own.*{message}|policy {message}"):
        simulate(Own(decide), Clock(3, compute=[1.0, 1.5, 2.2]), 5)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (lambda p: None, "Own answered None"),
        (lambda p: Answer(), "no worker will finish after 0 steps and 0 arrivals"),
        (lambda p: Answer(restart=(p,)), r"restart is \(3,\), expected workers from 0 to 2"),
        (lambda p: Answer(assign=(-1,)), r"assign is \(-1,\), expected workers from 0 to 2"),
        (lambda p: Answer(step=(0,), restart=range(p)), "start uses a gradient, expected restart or assign alone"),
        (lambda p: Answer(hold=True, restart=range(p)), "start uses a gradient, expected restart or assign alone"),
    ],
)
def test_refuses_a_start(start, message):
    """Before the first gradient there is nothing to use."""
    with pytest.raises(InputError, match=message):
        simulate(Own(use, start), Clock(3), 5)


def test_weights_without_a_step_do_nothing():
    """They are not looked at."""
    clock = Clock(3)
    odd = simulate(Own(lambda a: use(a, weight=(math.nan,), step=()) if a.number % 3 == 0 else use(a)), clock, 20)
    plain = simulate(Own(lambda a: use(a, step=()) if a.number % 3 == 0 else use(a)), clock, 20)
    assert odd == plain


@pytest.mark.parametrize("end", [{"num_updates": 5}, {"until": 1e9}])
def test_a_policy_that_makes_no_step_comes_to_an_end(monkeypatch, end):
    """After many arrivals without a step there is an error, rather than no answer."""
    monkeypatch.setattr(answers, "_PATIENCE", 50)
    monkeypatch.setattr(answers, "_PATIENCE_PER_WORKER", 1)
    with pytest.raises(InputError, match="policy Own: no step in the last 50 arrivals, after 0 steps"):
        simulate(Own(lambda a: Answer(hold=True, restart=(a.worker,))), Clock(3), **end)


def test_ends():
    """By the number of gradients or by the second, whichever comes first."""
    clock = Clock(3, compute=[1.0, 2.0, 3.5])
    assert simulate(policies.rounds(2), clock, 5).num_updates == 6  # whole steps
    assert simulate(policies.asynchronous(), clock, until=3.0).time.tolist() == [1.0, 2.0, 2.0, 3.0]
    assert simulate(policies.asynchronous(), clock, 2, until=3.0).num_updates == 2
    assert simulate(policies.asynchronous(), clock, 9, until=3.0).num_updates == 4
    # A policy whose workers all stop may have an end in seconds.
    idle = simulate(Own(lambda a: Answer(step=(a.number,))), clock, until=100.0)
    assert idle.time.tolist() == [1.0, 2.0, 3.5]
    # What comes after the last step does not count.
    late = simulate(Own(lambda a: use(a, step=() if a.number else (0,))), clock, until=50.0)
    assert (late.num_updates, late.arrivals, late.wasted_seconds) == (1, 1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": policies.Rennala}, "policy is <class .*Rennala.*, an object and not a class"),
        ({"policy": policies.Ringleader}, "policy is <class .*Ringleader.*, an object and not a class"),
        ({"policy": "rennala"}, "policy is 'rennala', expected one with the methods start and decide"),
        ({"policy": None}, "policy is None"),
        ({"clock": None}, "clock is None, expected an asyncopt.traces.Clock"),
        ({"clock": 3}, "clock is 3, expected an asyncopt.traces.Clock"),
        ({"num_updates": None}, "num_updates and until are both None"),
        ({"num_updates": 0}, "num_updates is 0, expected an integer of at least 1"),
        ({"num_updates": True}, "num_updates is True"),
        ({"num_updates": 2.0}, "num_updates is 2.0"),
        ({"until": 0}, "until is 0, expected a finite number > 0"),
        ({"until": math.nan}, "until is nan"),
        ({"until": math.inf}, "until is inf"),
        ({"until": True}, "until is True"),
        ({"until": 0.5}, "no step was made until the end, after 0 arrivals"),
        ({"policy": policies.rounds(9)}, "take is 9, expected a whole number of gradients from 1 to num_workers, 3"),
        ({"policy": policies.rounds(1.0)}, "take is 1.0, expected a whole number"),
        ({"clock": Clock(3, compute=np.full((3, 9), np.inf))}, "no worker will finish after 0 steps and 0 arrivals"),
        ({"clock": Clock(3, compute=np.ones((3, 2)))}, "compute has 2 durations .* but worker 0 begins job 2"),
        ({"clock": Clock(3, compute=lambda w, j: None)}, r"compute\(0, 0\) is None, expected at least 0 seconds"),
        ({"clock": Clock(3, compute=lambda w, j: 1.0 - 2 * j)}, r"compute\(0, 1\) is -1.0, expected at least 0"),
        ({"clock": Clock(3, compute=lambda w, j: math.nan)}, r"compute\(0, 0\) is nan"),
    ],
)
def test_simulate_refuses(arguments, message):
    """The message names the argument."""
    usual = {"policy": policies.asynchronous(), "clock": Clock(3, compute=1.0), "num_updates": 10}
    with pytest.raises(InputError, match=message):
        simulate(**usual | arguments)


def test_a_step_with_the_mean_of_its_gradients_has_no_weights():
    trace = simulate(policies.rennala(3), Clock(4), num_updates=30)
    assert trace.num_steps == 10
    assert trace.weight is None


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ringmaster", (0,), "max_delay is 0, expected an integer of at least 1"),
        ("ringmaster", (2.5,), "max_delay is 2.5"),
        ("ringmaster", (math.nan,), "max_delay is nan"),
        ("ringmaster", (2, 1), "stops is 1, expected true or false"),
        ("rennala", (2.5,), "batch is 2.5, expected an integer of at least 1"),
        ("malenia", (0,), "batch is 0"),
        ("buffered", (0,), "size is 0"),
        ("buffered", (2, -0.5), "exponent is -0.5"),
        ("rounds", (0,), "take is 0"),
        ("rounds", (True,), "take is True"),
        ("rounds", ("all",), "take is 'all'"),
        ("assignments", ("x",), "order is 'x', expected random or shuffled"),
        ("assignments", ("random", -1), "seed is -1"),
        ("asynchronous", (1,), "waits is 1, expected true or false"),
    ],
)
def test_a_policy_refuses(name, arguments, message):
    """The message names the parameter."""
    with pytest.raises(InputError, match=message):
        getattr(policies, name)(*arguments)
