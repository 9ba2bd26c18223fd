"""A sweep in one call: each row is that of a replay alone, and what cannot be swept is refused."""

import io
import math

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import asyncopt
from asyncopt import InputError, traces
from asyncopt.drawing import training

QUADRATIC = asyncopt.problems.quadratic(6, 4.0, noise=0.5)
STEPS, DELAYS = [0.05, 0.2], [0, 3, 9]


def uniform(delay):
    return traces.uniform(80, delay)


@pytest.mark.parametrize(
    "make", [asyncopt.apam, optax.adam, lambda learning_rate: optax.sgd(learning_rate, momentum=0.5)]
)
def test_each_cell_is_a_replay(make):
    table = asyncopt.sweep(QUADRATIC, make, uniform, learning_rate=STEPS, delay=DELAYS, seeds=2)
    assert table.groupby(["optimizer.learning_rate", "trace.delay"]).ngroups == 6
    assert table["run"].nunique() == 6
    for (step, delay), rows in table.groupby(["optimizer.learning_rate", "trace.delay"]):
        alone = asyncopt.replay(QUADRATIC, make(step), uniform(delay), seeds=2, eval_every="percent").to_frame()
        assert rows[["seed", "step"]].to_numpy().tolist() == alone[["seed", "step"]].to_numpy().tolist()
        for name in ("gap", "grad_norm_sq", "average_gap", "drift"):
            np.testing.assert_allclose(rows[name], alone[name], rtol=1e-9, atol=1e-12)
        assert rows["summary.trace.mean_delay"].unique().tolist() == [uniform(delay).mean_delay]
        assert (rows["summary.diverged_at"] == -1).all()


def test_step_sizes_may_be_arrays():
    listed, arrays = (
        asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform, learning_rate=STEPS, delay=range(2)),
        asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform, learning_rate=jnp.array(STEPS), delay=np.arange(2)),
    )
    np.testing.assert_array_equal(listed.to_numpy(), arrays.to_numpy())


def test_one_axis_alone():
    steps = asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform(3), learning_rate=STEPS)
    assert "trace.delay" not in steps
    delays = asyncopt.sweep(QUADRATIC, asyncopt.apam(0.1), uniform, delay=DELAYS, seeds=[3, 5])
    assert "optimizer.learning_rate" not in delays
    assert sorted(delays["seed"].unique()) == [3, 5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"learning_rate": None, "delay": None, "optimizer": asyncopt.apam(0.1), "trace": uniform(3)},
            "nothing is swept",
        ),
        ({"learning_rate": None}, r"optimizer is .*, expected a GradientTransformation, or learning_rate=\[...\]"),
        ({"optimizer": asyncopt.apam(0.1)}, "expected a function of learning_rate"),
        ({"trace": uniform(3)}, "trace is .*, expected a function of delay"),
        ({"learning_rate": []}, "learning_rate is empty"),
        ({"learning_rate": [0.1, -1.0]}, "learning_rate is -1.0"),
        ({"delay": [1, -2]}, "max_delay is -2"),
        (
            {"trace": lambda delay: traces.uniform(10 + delay, 2)},
            "trace made 10 updates of delay 0 and 13 of 3, expected one number",
        ),
        ({"trace": lambda delay: delay}, "trace made 0 of delay 0, expected a Trace"),
        ({"learning_rate": 0.1}, r"learning_rate is 0.1, expected a list: learning_rate=\[0.1\]"),
        ({"learning_rate": np.array(0.1)}, "learning_rate is array.0.1., expected a list"),
        ({"learning_rate": [0.1, 0.1]}, "learning_rate has 0.1 2 times"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1', expected a list"),
        ({"delay": 3}, r"delay is 3, expected a list: delay=\[3\]"),
        ({"delay": [3, 3]}, "delay has 3 2 times"),
        ({"learning_rate": [1, 1.0]}, "learning_rate has 1 2 times"),
        ({"optimizer": lambda learning_rate: optax.sgd(math.sqrt(learning_rate))}, "learning_rate as a Python number"),
        ({"delay": [3, None]}, "delay has None, expected numbers or texts"),
        ({"delay": [[0, 1]]}, r"delay has \[0, 1\], expected numbers or texts"),
        ({"optimizer": lambda rate: optax.sgd(rate)}, "expected a function that takes learning_rate=...: missing"),
        ({"optimizer": lambda learning_rate: None}, "optimizer made None of learning_rate 0.05"),
        ({"trace": lambda: uniform(3)}, "expected a function that takes a delay: too many"),
        ({"seeds": 0}, "seeds is 0"),
        ({"seeds": [1, 1]}, "seeds has 1 2 times"),
        ({"seeds": "01"}, "seeds is '01'"),
    ],
)
def test_what_cannot_be_swept(changed, message):
    arguments = {"optimizer": asyncopt.apam, "trace": uniform, "learning_rate": STEPS, "delay": DELAYS} | changed
    with pytest.raises(InputError, match=message):
        asyncopt.sweep(QUADRATIC, arguments.pop("optimizer"), arguments.pop("trace"), **arguments)


def test_a_number_of_seeds_is_those_from_0():
    several = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3), seeds=3)
    listed = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3), seeds=range(3))
    np.testing.assert_array_equal(several.gap, listed.gap)


def test_a_result_is_told_in_a_line():
    result = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3), seeds=3)
    first, last = result.gap[:, 0].mean(), result.gap[:, -1].mean()
    assert repr(result).startswith(f"Result(80 updates, 3 seeds, mean gap {first:.4g} → {last:.4g}, ")
    for shown in (result, QUADRATIC, asyncopt.problems.data.digits(), asyncopt.problems.logistic("digits"), uniform(3)):
        assert len(repr(shown)) < 300
    diverging = asyncopt.replay(QUADRATIC, optax.sgd(1e30), uniform(60), seeds=3)
    assert ", 3 diverged, " in repr(diverging)


def test_figures_show_the_numbers():
    result = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3), seeds=3, eval_every=10)
    axes = result.plot("a quadratic").axes[0]
    assert axes.get_title() == "a quadratic\n3 seeds, bands from smallest to largest"
    x, y = axes.lines[0].get_data()
    assert list(x) == list(range(10, 81, 10))
    np.testing.assert_allclose(y, np.median(result.gap[:, 1:], axis=0))
    table = asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform, learning_rate=STEPS, delay=DELAYS, seeds=2)
    axes = asyncopt.plot_runs(table, by=["optimizer.learning_rate", "trace.delay"], quantity="drift").axes[0]
    assert len(axes.lines) == 6
    assert [text.get_text() for text in axes.get_legend().get_texts()][:2] == ["0.05, 0", "0.05, 3"]
    trace = uniform(9)
    _, shares = trace.plot().axes
    drawn = [bar.get_width() for bar in shares.patches]
    np.testing.assert_allclose(drawn, np.bincount(trace.delay) / trace.num_updates)


def curve_of(objective):
    """The axes of the training curve of values of F at the steps 0, 10, 20, ..., of one seed."""
    steps = 10 * np.arange(len(objective))
    table = pd.DataFrame({"seed": 0, "step": steps, "objective": objective})
    return training.curve(table, "title").axes[0]


def test_runs_on_another_clock_are_drawn_at_one_x():
    """Each run counts with its last measurement; curves end where the first run ends."""
    frame = pd.DataFrame(
        {
            "run": ["a"] * 3 + ["b"] * 3,
            "seed": 0,
            "step": [0, 1, 2] * 2,
            "time": [0.0, 1.0, 5.0, 0.0, 2.0, 4.0],
            "gap": [9.0, 8.0, 2.0, 9.0, 4.0, 1.0],
            "policy": "p",
        }
    )
    axes = asyncopt.plot_runs(frame, "policy", axis="time").axes[0]
    x, y = axes.lines[0].get_data()
    assert (x[0], x[-1]) == pytest.approx((2.0, 4.0))
    assert y[0] == np.median([8.0, 4.0])
    assert y[-1] == pytest.approx(np.median([8.0, 1.0]), abs=2)  # the last point may be rounded to before 4 s
    assert axes.get_xlabel() == "seconds on the trace's clock"
    with pytest.raises(InputError, match="axis is 'computed', expected one of"):
        asyncopt.plot_runs(frame, "policy", axis="computed")


def test_values_below_zero_are_drawn_on_a_plain_axis():
    axes = curve_of([1.0, -2.0, -3.0])
    assert axes.get_yscale() == "linear"
    assert axes.lines[0].get_ydata().tolist() == [-2.0, -3.0]
    assert not axes.texts
    assert curve_of([1.0, 0.5, 0.2]).get_yscale() == "log"


def test_a_curve_that_begins_at_zero_is_drawn():
    assert curve_of([0.0, 2.0, 3.0]).lines[0].get_ydata().tolist() == [2.0, 3.0]


def test_a_curve_that_diverges_is_cut():
    assert curve_of([1.0, 0.5, 2e6, np.inf]).lines[0].get_ydata().tolist() == [0.5]
    axes = curve_of([1.0, np.nan, np.inf])
    assert axes.texts[0].get_text() == "diverged before the first evaluation"
    axes.figure.savefig(io.BytesIO())


def test_a_gap_lost_in_rounding_is_not_drawn_on_a_logarithmic_axis():
    gaps = [1.0, 0.5, 0.0, 1e-17]
    table = pd.DataFrame({"seed": 0, "step": [0, 10, 20, 30], "gap": gaps, "average_gap": [1.0, 0.8, 0.7, 0.6]})
    axes = training.curve(table, "title").axes[0]
    assert axes.lines[0].get_ydata().tolist() == [0.5, 1e-17]
    assert axes.get_yscale() == "log"


def test_the_legend_says_how_many_runs_diverged():
    frames = [asyncopt.replay(QUADRATIC, optax.sgd(step), uniform(60), seeds=3).to_frame() for step in (0.01, 1e300)]
    table = pd.concat([frame.assign(step_size=n) for n, frame in enumerate(frames)], ignore_index=True)
    axes = asyncopt.plot_runs(table, "step_size").axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["0", "1 (3 of 3 diverged)"]
    again = pd.concat([frame.assign(step_size=n) for n, frame in enumerate(frames)])  # two rows of each number
    assert [len(line.get_xdata()) for line in asyncopt.plot_runs(again, "step_size").axes[0].lines] == [
        len(line.get_xdata()) for line in axes.lines
    ]
    figure = asyncopt.plot_runs(table[table["step_size"] == 1], "step_size")
    assert figure.axes[0].texts[0].get_text() == "no finite value after the start"
    figure.savefig(io.BytesIO())


def test_without_a_gap_f_is_drawn():
    table = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3), seeds=2).to_frame().drop(columns="gap")
    assert asyncopt.plot_runs(table, "seed").axes[0].get_ylabel() == "objective $F(x_k)$"


@pytest.mark.parametrize(
    ("by", "quantity", "message"),
    [
        ("trace.max_dely", "gap", "no column 'trace.max_dely', expected one of"),
        ("seed", "loss", "no column 'loss'"),
        ([], "gap", "by is \\[\\]"),
        (None, "gap", "by is None"),
        (3, "gap", "no column 3"),
        ([["seed"]], "gap", r"no column \['seed'\]"),
        ("seed", "name", "the column 'name' has the dtype .*, expected numbers"),
        ("step", "gap", "has 81 values|has .* values, expected at most"),
    ],
)
def test_a_table_without_what_is_to_be_drawn(by, quantity, message):
    table = asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3), seeds=3, eval_every=1).to_frame()
    table["name"] = "a"
    with pytest.raises(InputError, match=message):
        asyncopt.plot_runs(table, by, quantity)
    with pytest.raises(InputError, match=r"expected a table: .* or to_frame\(\) of a result"):
        asyncopt.plot_runs(asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), uniform(3)), by)
    with pytest.raises(InputError, match="the table has no rows"):
        asyncopt.plot_runs(table.iloc[:0], "seed")


def test_a_heat_map_has_the_medians_in_its_cells():
    table = asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform, learning_rate=STEPS, delay=DELAYS, seeds=3)
    axes, bar = asyncopt.plot_heatmap(table, "optimizer.learning_rate", "trace.delay").axes
    ends = table[table["step"] == 80].groupby(["trace.delay", "optimizer.learning_rate"])["gap"].median()
    assert [text.get_text() for text in axes.texts] == [f"{value:.2g}" for value in ends]
    np.testing.assert_allclose(axes.collections[0].get_array().ravel(), ends)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.05", "0.2"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["0", "3", "9"]
    assert axes.get_title() == "after 80 updates, 3 seeds, medians"
    assert bar.get_ylabel() == "gap $F(x_k) - F^*$"


def test_a_heat_map_says_what_is_missing():
    rows = [(0, 1, 0.5, 0), (0, 1, 123.0, 1), (0, 1, np.inf, 2), (0, 2, np.inf, 0), (5, 1, 0.25, 0)]
    table = pd.DataFrame(rows, columns=["delay", "step_size", "gap", "seed"]).assign(step=10)
    figure = asyncopt.plot_heatmap(table, "step_size", "delay")
    assert [text.get_text() for text in figure.axes[0].texts] == ["123\n1 of 3 diverged", "1 of 1 diverged", "0.25", ""]
    figure.savefig(io.BytesIO())
    asyncopt.plot_heatmap(table[table["step_size"] == 2], "step_size", "delay").savefig(io.BytesIO())
    unnamed = table.assign(delay=[None if delay else 1.0 for delay in table["delay"]])
    axes = asyncopt.plot_heatmap(unnamed, "step_size", "delay").axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["1", "none"]
    with pytest.raises(InputError, match="x is 'delay', y 'delay' and"):
        asyncopt.plot_heatmap(table, "delay", "delay")
    with pytest.raises(InputError, match=r"the runs have \[10, 20\] updates, expected one number"):
        asyncopt.plot_heatmap(pd.concat([table, table.assign(step=20, seed=9)]), "step_size", "delay")
    with pytest.raises(InputError, match="no column 'delays'"):
        asyncopt.plot_heatmap(table, "step_size", "delays")
