"""Figures of tables of runs: the numbers in them, and what a table must have."""

import io

import numpy as np
import optax
import pandas as pd
import pytest

import asyncopt
from asyncopt import InputError, traces

QUADRATIC = asyncopt.problems.quadratic(6, 4.0, noise=0.5)
STEPS, DELAYS = [0.05, 0.2], [0, 3, 9]


def uniform(delay):
    return traces.uniform(80, delay)


def test_a_curve_for_each_pair_of_values():
    table = asyncopt.sweep(QUADRATIC, asyncopt.apam, uniform, learning_rate=STEPS, delay=DELAYS, seeds=2)
    axes = asyncopt.plot_runs(table, by=["optimizer.learning_rate", "trace.delay"], quantity="drift").axes[0]
    assert len(axes.lines) == 6
    assert [text.get_text() for text in axes.get_legend().get_texts()][:2] == ["0.05, 0", "0.05, 3"]


def test_results_by_name():
    optimizers = {"slow": optax.sgd(0.01), "fast": optax.sgd(0.1)}
    results = {name: asyncopt.replay(QUADRATIC, one, uniform(3), seeds=2) for name, one in optimizers.items()}
    axes = asyncopt.plot_runs(results).axes[0]
    drawn = dict(zip((text.get_text() for text in axes.get_legend().get_texts()), axes.lines, strict=True))
    for name, result in results.items():
        assert drawn[name].get_ydata()[-1] == np.median(np.asarray(result.gap)[:, -1])
    with pytest.raises(InputError, match="the result 'b' is 3, expected what asyncopt"):
        asyncopt.plot_runs({"a": results["slow"], "b": 3})
    with pytest.raises(InputError, match="there are no results"):
        asyncopt.plot_runs({})
    with pytest.raises(InputError, match="by is None, expected a column at least"):
        asyncopt.plot_runs(results["slow"].to_frame())


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
        (["seed", "name", "seed"], "gap", "by has 'seed' 2 times, expected each once"),
        ("pair", "gap", r"the column 'pair' has the value \[1, 2\], expected numbers or texts"),
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
    table["name"], table["pair"] = "a", [[1, 2]] * len(table)
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


def table_of(**columns):
    """A table of runs of 10 updates each, whose gap is the number of the run."""
    number = len(next(iter(columns.values())))
    return pd.DataFrame({"seed": 0, "step": 10, "gap": np.arange(1.0, number + 1), **columns})


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.1, 0.2], ["0.1", "0.2"]),
        ([0.1, 0.1 + 1e-9], ["0.1", "0.100000001"]),
        ([10_000_000, 10_000_001], ["10000000", "10000001"]),
        ([1.0, np.nan], ["1", "none"]),
        ([1, "a", None], ["1", "a", "none"]),
        ([1, "1"], ["1", "'1'"]),
        (["none", None], ["'none'", "none"]),
        ([False, True], ["False", "True"]),
        ([9.0, 10.0, None], ["9", "10", "none"]),
        (["$\\bad$", "a $x$"], [r"\$\bad\$", "a $x$"]),
    ],
)
def test_labels_tell_all_values_apart(values, labels):
    table = table_of(
        value=pd.Series(values, dtype=object if any(isinstance(v, str) for v in values) else None), other=0
    )
    figure = asyncopt.plot_runs(table, "value")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == labels
    figure.savefig(io.BytesIO())
    figure = asyncopt.plot_heatmap(table, "value", "other")
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == labels
    assert [text.get_text() for text in figure.axes[0].texts] == [str(1 + run) for run in range(len(values))]
    figure.savefig(io.BytesIO())


def test_columns_that_cannot_be_drawn_are_named():
    table = table_of(a=[1, 2], b=[[0], [1]], c=[3, 4])
    for draw in (lambda table: asyncopt.plot_runs(table, "a"), lambda table: asyncopt.plot_heatmap(table, "a", "c")):
        for column in ("a", "gap", "step"):
            twice = pd.concat([table, table[[column]]], axis="columns")
            with pytest.raises(InputError, match=f"the table has 2 columns '{column}', expected one"):
                draw(twice)
    for x, y in (("a", "b"), ("b", "a")):
        with pytest.raises(InputError, match=r"the column 'b' has the value \[0\], expected numbers or texts"):
            asyncopt.plot_heatmap(table, x, y)


@pytest.mark.parametrize("column", ["$\\bad$", "cost in $"])
def test_a_column_whose_name_is_no_formula(column):
    table = table_of(**{column: [1, 2], "other": [0, 0]})
    asyncopt.plot_runs(table, column).savefig(io.BytesIO())
    asyncopt.plot_heatmap(table, column, "other").savefig(io.BytesIO())
