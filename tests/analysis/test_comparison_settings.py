"""Which runs a comparison pools: those of one setting, whatever the setting is about."""

import pytest

from asyncopt import InputError
from asyncopt.analysis import CONFIRMED, settings
from asyncopt.analysis.comparison_reading import comparisons
from asyncopt.report import comparing
from tests.analysis.made_runs import advantages_of, made_run, made_runs, on_a_grid


def read(*runs):
    return comparisons((str(number), run) for number, run in enumerate(runs))


# Parts of the cluster, with another value, and how the note names it.
CLUSTERS = {
    "the mean of a gradient": ({"compute": {"distribution": "exponential", "mean": 2.0}}, "compute.mean: 2, not 1"),
    "the distribution": (
        {"compute": {"distribution": "gamma", "mean": 1.0, "shape": 2.0}},
        "compute.distribution: gamma, not exponential; compute.shape: 2, not None",
    ),
    "the server": ({"server": {"distribution": "exponential", "mean": 0.1}}, "server.mean: 0.1, not 0.02"),
    "the network": (
        {"network": {"distribution": "exponential", "mean": 0.3}},
        "network.distribution: exponential, not constant; network.mean: 0.3, not 0",
    ),
    "stragglers": ({"stragglers": 1}, "slowdown: 4, not None; stragglers: 1, not 0"),
}


@pytest.mark.parametrize(("cluster", "note"), CLUSTERS.values(), ids=CLUSTERS)
def test_runs_of_different_clusters_are_kept_apart(cluster, note):
    """Each of these made a verdict before: the rival's slower cluster was APAM's advantage."""
    (found,) = read(*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 0.1, cluster=cluster))
    assert advantages_of(found) == []
    notes = dict(found.kept_apart)
    (words,) = (words for words in notes if words.startswith("SGD with"))
    assert words.endswith(", from the runs of APAM")
    assert notes[words] == note


def test_stragglers_of_different_slowness_are_kept_apart():
    slow = [on_a_grid(m, 0.1, cluster={"stragglers": 1, "slowdown": s}) for m, s in (("APAM", 2.0), ("SGD", 8.0))]
    (found,) = read(*slow[0], *slow[1])
    assert advantages_of(found) == []
    assert ("slowdown: 8, not 2") in dict(found.kept_apart).values()


SURROUNDINGS = {
    "the precision": ({"precision": "float32"}, "precision: float32, not float64"),
    "the problem": ({"problem": {"batch_size": 8}}, "problem.batch_size: 8, not None"),
    "the data": ({"data": {"rows": 9}}, "data.rows: 9, not None"),
    "the constraint": ({"constraint": {"radius": 1.0}}, "constraint.radius: 1, not None"),
}


@pytest.mark.parametrize(("more", "note"), SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_runs_of_different_problems_are_kept_apart(more, note):
    found = read(*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 0.05, more=more))
    assert [comparison.methods for comparison in found] == [["APAM"], ["SGD"]]
    assert [key for _, key in found[1].kept_apart] == [note]


def test_other_spellings_of_a_clock_are_the_same_clock():
    spelt = {"compute": "exponential", "network": 0.0, "slowdown": 9.0}
    (found,) = read(*on_a_grid("APAM", 0.1), *on_a_grid("SGD", 0.05, cluster=spelt))
    assert [verdict.outcome for verdict in advantages_of(found)] == [CONFIRMED]
    assert not found.kept_apart


def test_the_labels_of_clocks_say_what_differs_and_are_short_where_nothing_does():
    slow = {"compute": {"distribution": "exponential", "mean": 2.0}}
    runs = [run for method in ("APAM", "SGD") for run in on_a_grid(method, 0.1)]
    assert read(*runs)[0].clocks == ["exponential times"]
    runs += [run for method in ("APAM", "SGD") for run in on_a_grid(method, 0.1, cluster=slow)]
    (found,) = read(*runs)
    assert found.clocks == ["exponential times (compute mean = 1)", "exponential times (compute mean = 2)"]
    assert not found.kept_apart


VARIANTS = {
    "beta": ({"b1": 0.5}, {"b1": 0.9}, "APAM (b1 = 0.9)", "APAM (b1 = 0.5)"),
    "epsilon": ({"eps": 1e-3}, {"eps": 1e-8}, "APAM (eps = 1e-08)", "APAM (eps = 0.001)"),
    "schedule": ({"schedule": "constant"}, {}, "APAM (schedule = None)", "APAM (schedule = constant)"),
    "bias correction": (
        {"bias_correction": True},
        {"bias_correction": False},
        "APAM (bias_correction = False)",
        "APAM (bias_correction = True)",
    ),
}


@pytest.mark.parametrize(("other", "usual", "ours", "rival"), VARIANTS.values(), ids=VARIANTS)
def test_variants_of_a_method_are_methods_of_their_own(other, usual, ours, rival):
    """Before, the best of both variants was APAM."""
    (found,) = read(*on_a_grid("APAM", 0.05, optimizer=usual), *on_a_grid("APAM", 0.1, optimizer=other))
    if other != {"schedule": "constant"}:
        assert found.ours == ours
    assert sorted(found.methods) == sorted([ours, rival])
    assert len(advantages_of(found)) == 1


def test_runs_that_differ_in_the_seed_of_the_trace_are_of_one_setting():
    (found,) = read(*made_runs("APAM", 0.1, num_clocks=5), *made_runs("SGD", 0.1, num_clocks=5))
    assert {(len(trial.seeds), len(set(trial.clocks))) for trial in found.trials} == {(40, 5)}
    assert comparing.runs_in_words(found) == "40 runs a trial on 5 random clocks with 8 seeds of mini-batches"


def test_only_runs_that_all_methods_have_are_compared():
    with pytest.warns(UserWarning, match="left out: .*: 16 runs, whose seeds some method or step size lacks"):
        (found,) = read(*made_runs("APAM", 0.1, num_clocks=6), *made_runs("SGD", 0.1, num_clocks=4))
    assert {trial.clocks for trial in found.trials} == {tuple(clock for clock in range(4) for _ in range(8))}
    with (
        pytest.warns(UserWarning, match="no seeds in common, expected the same seeds and trace.seed in all"),
        pytest.raises(InputError, match="no runs that could be compared"),
    ):
        read(made_run("APAM", 0.1, clock_seed=0), made_run("SGD", 0.1, clock_seed=1))


def test_the_seed_of_a_clock_that_is_not_random_has_no_influence():
    runs = [made_run(m, 0.1, distribution="constant", clock_seed=c) for m, c in (("APAM", 0), ("SGD", 1), ("SGD", 0))]
    (found,) = read(*runs)
    assert {len(trial.seeds) for trial in found.trials} == {8}
    assert {trial.clocks for trial in found.trials} == {(0,) * 8}


def test_clocks_with_mini_batches_of_their_own():
    """Clocks are then the units that are drawn: 8 of them, whatever the seeds in each."""
    runs = [
        made_run(method, 0.1, clock_seed=clock, seeds=range(2 * clock, 2 * clock + 2))
        for method in ("APAM", "SGD")
        for clock in range(8)
    ]
    (found,) = read(*runs)
    assert {trial.draws.num_units for trial in found.trials} == {8}
    weights = found.trials[0].draws.weights
    assert (weights[..., ::2] == weights[..., 1::2]).all()
    assert ((weights > 0).sum(axis=0) <= 1).all()  # no run is in both halves


def test_differences_in_words():
    assert settings.in_words(settings.differences({"a": 1.0, "b": 2}, {"a": 1.5, "b": 2})) == "a: 1, not 1.5"


def test_a_run_that_is_there_twice_with_other_results_is_named():
    """An edited copy of ours, ten times as fast, would have won without a word."""
    runs, faster = on_a_grid("APAM", 0.1), on_a_grid("APAM", 1.0)
    with pytest.warns(UserWarning, match="96 runs that are there twice with different results"):
        read(*runs, *on_a_grid("SGD", 0.1), *faster)


def test_optimizers_with_another_constraint_are_kept_apart():
    box = {"_target_": "asyncopt.Box", "lower": -1.0, "upper": 1.0}
    found = read(*on_a_grid("APAM", 0.1, optimizer={"constraint": box}), *on_a_grid("SGD", 0.1))
    assert len(found) == 2


def summed(*terms):
    """A sum as a configuration writes it."""
    return {"compute": {"distribution": None, "mean": None, "shape": None, "sum": list(terms)}}


def test_the_terms_of_a_sum_of_durations_are_read():
    fixed, random = (
        {"distribution": "constant", "mean": 0.5},
        {"distribution": "half_normal", "mean": {"exponent": 0.5}},
    )
    one, other = settings.clock(summed(fixed, random)), settings.clock(summed(fixed, {**random, "mean": 2.0}))
    assert settings.differences(one, other) == {"compute.1.mean": ({"exponent": 0.5}, 2.0)}
    assert settings.is_random(one)
    assert not settings.is_random(settings.clock(summed(fixed, fixed)))
    alone = settings.clock({"compute": {**fixed, "sum": None}})
    assert settings.clock(summed(fixed)) == settings.clock(summed(fixed, {**random, "mean": 0.0})) == alone


def test_a_policy_is_the_method_and_not_the_clock():
    runs = [made_run("APAM", 0.1) for _ in range(3)]
    for run, policy in zip(runs, ({"size": 2}, {"size": 3}, None), strict=True):
        if policy is not None:
            policy = {"_target_": "asyncopt.traces.policies.Buffered", **policy}
            run.config["trace"] = {**run.config["trace"], "policy": policy, "until": None}
        run.config["policy"] = policy
    two, three, cluster = (settings.clock_of(run) for run in runs)
    assert settings.differences(two, three) == {}
    assert settings.differences(two, cluster) == {"kind": ("policy", "cluster")}
    assert settings.differences(*map(settings.method, runs[:2])) == {"policy.size": (2, 3)}
