"""What is written of a run is what reports need, for kinds of things that nothing else has heard of."""

import hydra
import numpy as np
import pytest

import asyncopt
from asyncopt.analysis import studies
from asyncopt.run import execute, facts, task
from asyncopt.run.command_line import CONFIG_FOLDER
from asyncopt.traces import Trace


def lagged(num_updates, lag, seed=0):
    """A kind of trace of one's own, whose setting of the delay has a name of its own."""
    del seed
    return Trace.from_delays(np.minimum(lag, np.arange(num_updates)))


def composed(*overrides):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        return hydra.compose("config", ["progress=false", "plot=false", *overrides])


def test_a_new_kind_of_trace_works_in_reports(tmp_path, monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "1")
    for number, (num_updates, lag) in enumerate((k, lag) for k in (20, 40) for lag in (0, 3, 5)):
        config = composed("problem=quadratic", "seeds=2")
        config.trace = {"_target_": f"{__name__}.lagged", "num_updates": num_updates, "lag": lag, "seed": 0}
        execute.run(config, tmp_path / str(number))
    (study,) = studies(asyncopt.load_runs(tmp_path))
    assert study.rules == ["0", "lag = 3", "lag = 5"]
    assert study.name == "quadratic; APAM; lagged delays"
    assert list(study.cells["num_updates"]) == [20, 40] * 3


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"problem": "logistic regression on digits", "method": "APAM", "trace": "uniform", "clock": None}),
        (["+method=momentum_sgd"], {"optimizer": "SGD", "method": "SGD with momentum", "clock": "exponential times"}),
        (["+handling=drop_stale"], {"method": "APAM, drop stale", "handling": "drop stale"}),
        (
            ["+method=synchronous_amsgrad", "+clock=straggler", "trace.num_updates=800"],
            {"method": "synchronous AMSGrad", "clock": "exponential times, 1 straggler × 4"},
        ),
        (["trace=cluster", "trace.compute=2.5"], {"clock": "2.5 times"}),
        (["problem=quadratic", "+constraint=l2_ball"], {"problem": "quadratic", "constraint": "ball"}),
        (["problem=hard_instance"], {"problem": "hard instance", "constraint": "box", "data": None}),
        (["problem=lenet5", "data=fashion_mnist"], {"problem": "LeNet-5 on fashion mnist"}),
    ],
)
def test_labels(overrides, expected):
    settings = task.prepare(composed(*overrides)).settings
    name = settings["problem"]["_target_"].rpartition(".")[2]
    small = {
        "hard_instance": lambda: asyncopt.problems.hard_instance(100),
        "quadratic": lambda: asyncopt.problems.quadratic(3, constraint=asyncopt.L2Ball(1.0)),
    }
    labels = facts._labels(settings, small.get(name, lambda: _Titled(name))())
    assert {key: labels[key] for key in expected} == expected


class _Titled:
    """Stands in for problems whose data would have to be read."""

    def __init__(self, name):
        self.title = {"logistic": asyncopt.problems.Logistic.title, "lenet5": "LeNet-5"}[name]


@pytest.mark.parametrize(
    ("overrides", "label", "settings"),
    [
        (["trace=constant", "staleness=K**0.25"], "K^1/4", ["delay"]),
        (["trace=uniform", "trace.max_delay=7"], "max_delay = 7", ["max_delay"]),
        (["trace=pareto", "trace.mean_delay=2"], "mean_delay = 2", ["mean_delay"]),
        (["trace=cluster", "trace.num_workers=3"], "num_workers = 3", ["num_workers"]),
        (["trace=synchronous"], "0", []),
    ],
)
def test_the_rule_of_staleness(overrides, label, settings):
    prepared = task.prepare(composed(*overrides, "trace.num_updates=81"))
    staleness = facts._staleness(prepared.settings, prepared.trace)
    assert (staleness["label"], staleness["settings"]) == (label, settings)
