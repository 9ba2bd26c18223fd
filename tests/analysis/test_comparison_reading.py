"""From run folders to trials: which runs of a setting are pooled, and what is said of those that are not."""

import types

import numpy as np
import pandas as pd
import pytest

from asyncopt import InputError
from asyncopt.analysis import settings
from asyncopt.analysis.comparison_reading import _ours, comparisons
from asyncopt.files.records import Record


def run(method="APAM", rate=0.1, *, workers=2, seeds=range(4), loss=0.0, distribution="constant", mean=1.0, **trace):
    """A run whose loss is ten times its seed and a bit more, evaluated at 0, 10 and 20 gradients."""
    values = 10.0 * np.array(seeds)[:, None] + loss + np.array([2.0, 1.0, 0.0])
    frame = pd.DataFrame(
        {
            "seed": np.repeat(seeds, 3),
            "step": np.tile([0, 10, 20], len(seeds)),
            "time": np.tile([0.0, 5.0, 10.0], len(seeds)),
            "objective": values.ravel(),
        }
    )
    trace = {"num_workers": workers, "compute": {"distribution": distribution, "mean": mean}, "server": 0.0, **trace}
    config = {"optimizer": {"_target_": method, "learning_rate": rate}, "trace": trace}
    labels = {"problem": "bowl", "method": method, "clock": "times", "trace": "cluster"}
    return Record(config, frame, {"labels": labels})


def read(*runs, **settings):
    return comparisons(((str(number), one) for number, one in enumerate(runs)), **settings)


def test_runs_of_one_seed_each_are_pooled():
    """The last of two that are the same counts, without a word."""
    (found,) = read(*(run(seeds=[seed]) for seed in (3, 0, 2, 1, 0)))
    (trial,) = found.trials
    assert trial.seeds == (0, 1, 2, 3)
    assert (found.name, found.num_updates, found.ours, found.progress) == ("bowl", 20, "APAM", 0.95)
    np.testing.assert_array_equal(
        trial.values["loss"], [[10 * seed + 2, 10 * seed + 1, 10 * seed] for seed in range(4)]
    )
    np.testing.assert_array_equal(trial.time, [[0, 5, 10]] * 4)
    assert (trial.learning_rate, trial.num_workers, trial.taken, trial.step.tolist()) == (0.1, 2, None, [0, 10, 20])


def test_a_run_that_is_there_twice_with_another_clock_is_named():
    again = run()
    again.metrics["time"] = again.metrics["time"] * 2
    with pytest.warns(UserWarning, match="left out: bowl: times, num_workers = 2: 4 runs that are there twice"):
        (found,) = read(run(), again)
    assert found.trials[0].time[0].tolist() == [0, 10, 20]


def test_a_setting_with_too_few_seeds_hides_no_other():
    with pytest.warns(UserWarning, match="left out: bowl: times, num_workers = 2: 3 seeds, expected 4 at least"):
        (found,) = read(run(seeds=range(3)), run(workers=4), run(workers=8))
    assert found.num_workers == [4, 8]


def test_surplus_runs_are_counted_over_all_trials():
    with pytest.warns(UserWarning, match="left out: bowl: times, num_workers = 2: 3 runs, whose seeds"):
        (found,) = read(run(seeds=range(5)), run("SGD"), run("SGD", 1.0, seeds=range(6)))
    assert {trial.seeds for trial in found.trials} == {(0, 1, 2, 3)}


def test_a_trace_without_a_seed_is_that_of_seed_0():
    (found,) = read(run(distribution="exponential"), run("SGD", distribution="exponential", seed=0))
    assert [trial.clocks for trial in found.trials] == [(0,) * 4] * 2
    assert [trial.is_random for trial in found.trials] == [True] * 2


@pytest.mark.parametrize("progress", [0.0, 1.0, -0.5])
def test_the_target_lies_between_start_and_end(progress):
    with pytest.raises(InputError, match=r"progress is .*, expected a finite number > 0 and < 1"):
        read(run(), progress=progress)


def test_runs_without_a_partner_are_said_to_differ_from_the_nearest_clock():
    mine = run(distribution="exponential", mean=2.0)
    near, far = run("SGD", mean=2.0), run("SGD", mean=3.0, server=1.0)
    (found,) = read(mine, near, far)
    assert len(found.kept_apart) == 3
    (keys,) = [keys for words, keys in found.kept_apart if words.startswith("APAM")]
    assert keys == "compute.distribution: exponential, not constant"


@pytest.mark.parametrize(
    ("others", "ours"),
    [
        ([{"b1": 0.9}, {"b1": 0.5}], 0),
        ([{"b2": 0.99}, {"b2": 0.999}], 1),
        ([{"eps": 1e-3}, {"eps": 1e-8}], 1),
        ([{"bias_correction": True}, {"bias_correction": False}], 1),
        ([{"b1": 0.5}, {}], 1),  # what is not said is as usual
        ([{"b1": 0.5, "b2": 0.5}, {"eps": 1.0}], 1),
        ([{"b1": 0.5}, {"b2": 0.5}], 0),  # as far: the first by name
    ],
)
def test_ours_is_the_variant_closest_to_the_usual_one(others, ours):
    methods = [{f"optimizer.{name}": value for name, value in other.items()} for other in others]
    runs = [types.SimpleNamespace(method_label="APAM", method=method) for method in methods]
    runs.append(types.SimpleNamespace(method_label="SGD", method={}))
    names = dict(zip(map(settings.key, methods), ("variant 0", "variant 1"), strict=True)) | {
        settings.key({}): "variant 1"
    }
    assert _ours(runs, names) == f"variant {ours}"
    assert _ours(runs[-1:], names) == "APAM"
