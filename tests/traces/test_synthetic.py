import inspect
import pathlib

import numpy as np
import pytest
import scipy.stats
import yaml

from asyncopt import InputError, traces


def test_synchronous():
    assert not traces.synchronous(10).delay.any()
    assert traces.synchronous(10).live_versions == 1


def test_constant():
    np.testing.assert_array_equal(traces.constant(6, 3).delay, [0, 1, 2, 3, 3, 3])
    assert traces.constant(100, 3).live_versions == 4
    np.testing.assert_array_equal(traces.constant(7, 3, warmup=2).delay, [0, 0, 2, 3, 3, 3, 3])
    np.testing.assert_array_equal(traces.constant(4, 3, warmup=9).delay, 0)
    with pytest.raises(InputError, match="warmup is -1"):
        traces.constant(4, 3, warmup=-1)


def test_cyclic():
    trace = traces.cyclic(7, 3)
    np.testing.assert_array_equal(trace.delay, [0, 1, 2, 2, 2, 2, 2])
    np.testing.assert_array_equal(trace.worker, [0, 1, 2, 0, 1, 2, 0])
    assert trace.num_workers == 3


def test_uniform_covers_its_range_evenly():
    delay = traces.uniform(20_000, 9).delay
    np.testing.assert_array_less(delay[:10], np.arange(10) + 1)
    counts = np.bincount(delay[9:], minlength=10)
    assert len(counts) == 10
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_geometric_law():
    delay = traces.geometric(100_000, 4.0).delay[1000:]
    assert delay.mean() == pytest.approx(4.0, rel=0.02)
    assert delay.var() == pytest.approx(4.0 * 5.0, rel=0.05)


def test_pareto_keeps_its_mean_and_its_tail():
    delay = traces.pareto(1_000_000, 6.0, shape=2.5).delay[10_000:]
    assert delay.mean() == pytest.approx(6.0, rel=0.02)
    # The Lomax law's own tail at 100 and at 400; P falls by about 4^-2.5.
    scale = 6.0 * 1.5
    for bound in (100, 400):
        assert np.mean(delay > bound) == pytest.approx((1 + bound / scale) ** -2.5, rel=0.15)


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: traces.uniform(500, 9, seed),
        lambda seed: traces.geometric(500, 9.0, seed),
        lambda seed: traces.pareto(500, 9.0, seed=seed),
        lambda seed: traces.cluster(500, 9, seed=seed),
    ],
)
def test_the_seed_decides(make):
    assert make(1) == make(1)
    assert make(1) != make(2)


@pytest.mark.parametrize(
    ("constructor", "name"),
    [
        (traces.constant, "delay"),
        (traces.uniform, "max_delay"),
        (traces.geometric, "mean_delay"),
        (traces.pareto, "mean_delay"),
        (traces.cyclic, "num_workers"),
        (traces.cluster, "num_workers"),
        (traces.rounds, "num_workers"),
        (traces.shared_memory, "num_workers"),
    ],
)
def test_the_argument_that_sets_the_staleness_is_marked(constructor, name):
    assert constructor.staleness_setting == name
    assert name in inspect.signature(constructor).parameters


ROOT = pathlib.Path(__file__).parents[2]
CONFIGURED = sorted(path for path in (ROOT / "conf/trace").glob("*.yaml") if path.stem not in ("file", "recorded"))


@pytest.mark.parametrize("path", CONFIGURED, ids=lambda path: path.stem)
def test_numbers_that_are_left_out_are_those_of_the_configuration(path):
    settings = yaml.safe_load(path.read_text())
    settings.pop("defaults", None)
    parameters = inspect.signature(getattr(traces, settings.pop("_target_").split(".")[-1])).parameters
    for name, value in settings.items():
        default = parameters[name].default
        if isinstance(value, int | float) and default is not inspect.Parameter.empty:
            assert default == value, name


def test_traces_of_one_update():
    assert traces.synchronous(1) == traces.constant(1, 3) == traces.uniform(1, 3) == traces.geometric(1, 2.0)
    assert traces.pareto(1, 2.0).delay.tolist() == traces.cyclic(1, 1).delay.tolist() == [0]
    for make in (traces.cluster, traces.rounds, traces.shared_memory):
        assert make(1, 1).delay.tolist() == [0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: traces.synchronous(0), "num_updates is 0, expected an integer of at least 1"),
        (lambda: traces.uniform(10.0, 3), "num_updates is 10.0, expected an integer"),
        (lambda: traces.uniform(10, -1), "max_delay is -1, expected an integer of at least 0"),
        (lambda: traces.uniform(10, 2.5), "max_delay is 2.5, expected an integer"),
        (lambda: traces.uniform(10, 3, seed=-1), "seed is -1"),
        (lambda: traces.constant(10, True), "delay is True, expected an integer"),
        (lambda: traces.geometric(0, 1.0), "num_updates is 0"),
        (lambda: traces.geometric(10, -0.5), "mean_delay is -0.5, expected a finite number >= 0"),
        (lambda: traces.geometric(10, float("nan")), "mean_delay is nan, expected a finite number"),
        (lambda: traces.pareto(10, 2.0, shape=1.0), "shape is 1.0, expected a finite number > 1"),
        (lambda: traces.cyclic(10, 0), "num_workers is 0, expected an integer of at least 1"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(InputError, match=message):
        make()
