"""``python -m asyncopt.curves``, from run folders whose numbers are known."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from asyncopt import InputError
from asyncopt.analysis.curves import interval
from asyncopt.files import records
from asyncopt.report import comparing, curves, theorems
from tests.sweep import list_anew

STEPS = np.arange(0, 101, 10)


def write(folder, max_delay, seeds, values, step=1.0, optimizer="asyncopt.apam", steps=STEPS, handling=None, **more):
    """A run folder whose accuracy at every evaluation is ``values``, a row a seed."""
    config = {
        "problem": {"_target_": "asyncopt.problems.lenet5"},
        "optimizer": {"_target_": optimizer, "learning_rate": step},
        "trace": {"_target_": "asyncopt.traces.uniform", "max_delay": max_delay},
        "handling": handling,
        "seeds": list(seeds),
    }
    name = optimizer.rpartition(".")[2].upper()
    handled = handling and handling["_target_"].rpartition(".")[2].replace("_", " ")
    labels = {"problem": "LeNet-5", "optimizer": name, "handling": handled, "trace": "uniform"}
    labels["method"] = f"{name}, {handled}" if handled else name
    columns = {
        "seed": np.repeat(list(seeds), len(steps)),
        "step": np.tile(steps, len(seeds)),
        "test_accuracy": values.ravel(),
        "gap": 1.0 - values.ravel(),
    }
    if "seconds" in more:
        columns["time"] = np.tile(more["seconds"], len(seeds))
    config["trace"]["seed"] = more.get("trace_seed", 0)
    summary = {"trace": {}, "problem": {}, "labels": labels, "staleness": {}}
    records.save(folder, records.Record(config, pd.DataFrame(columns), summary))


@pytest.fixture
def sweep(tmp_path):
    """Delay 3 costs 0.1 in every seed until it meets the other at the end; 9 costs 0.2 for good."""
    rng = np.random.default_rng(0)
    for number, seeds in enumerate(([0, 1], [2, 3])):
        base = rng.uniform(0.7, 0.72, (2, len(STEPS)))
        late = base - 0.1 * (np.arange(len(STEPS)) < len(STEPS) - 1)
        for max_delay, values in ((0, base), (3, late), (9, base - 0.2)):
            write(tmp_path / f"{max_delay}-{number}", max_delay, seeds, values)
    return tmp_path


def test_runs_of_other_seeds_are_one_curve(sweep):
    measured = curves.read(sweep)
    assert measured.settings == [0, 3, 9]
    assert [values.shape for values in measured.values] == [(4, len(STEPS))] * 3
    _, header, rows = curves.table(measured)
    assert len(header) == len(rows[0]) == 6
    assert rows[1][2] == "-0.0950 [-0.0950, -0.0950]"  # 9½ of 10 intervals, by the trapezoidal rule
    assert [row[5] for row in rows] == ["yes", "yes", "no"]


def test_intervals_are_students():
    estimate = interval(np.array([1.0, 2.0, 4.0, 5.0]))
    half = 3.1824463053 * np.sqrt(10 / 3) / 2  # t of 3 degrees of freedom, from a table
    np.testing.assert_allclose(estimate, (3.0, 3.0 - half, 3.0 + half), rtol=1e-6)
    assert np.isnan(interval(np.ones(1)).low)


def test_command_line(sweep):
    command = [sys.executable, "-m", "asyncopt.curves"]
    process = subprocess.run([*command, str(sweep)], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert "## LeNet-5; APAM" in process.stdout
    assert (sweep / "report" / "curves.png").read_bytes().startswith(b"\x89PNG")
    data = pd.read_csv(sweep / "report" / "curves.csv")
    assert len(data) == 3 * len(STEPS)
    assert data["value"].iloc[-1] == pytest.approx(data["value"].iloc[len(STEPS) - 1] - 0.2)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (
            {"step": 2.0},
            {},
            "more: differs from 0-0 in optimizer.learning_rate, expected trace.max_delay and seeds only",
        ),
        ({"optimizer": "optax.sgd"}, {}, "differs from 0-0 in optimizer._target_"),
        ({"seeds": [7, 8], "max_delay": 5}, {}, "no seed has been run with every value of trace.max_delay"),
        (
            {},
            {"by": "trace.maxdelay"},
            "0-0: config.yaml has no trace.maxdelay, expected one of its keys or .*; did you mean trace.max_delay?",
        ),
        ({}, {"quantity": "speed"}, r"0-0: metrics.parquet has no speed, expected one of \['gap', 'test_acc"),
        ({}, {"quantity": "seed"}, r"0-0: metrics.parquet has no seed, expected one of \['gap', 'test_accuracy'\]"),
    ],
)
def test_refuses(sweep, change, arguments, message):
    write(sweep / "more", **{"max_delay": 0, "seeds": [4, 5], "values": np.full((2, len(STEPS)), 0.7)} | change)
    with pytest.raises(InputError, match=message):
        curves.read(sweep, **arguments)


def without_labels(folder):
    """Makes a run folder one of the version before there were labels."""
    path = folder / records.SUMMARY
    facts = json.loads(path.read_text())
    del facts["labels"]
    path.write_text(json.dumps(facts))
    list_anew(folder)


def test_a_run_of_an_earlier_version_is_left_out(sweep, capsys):
    without_labels(sweep / "0-0")
    assert curves.main([str(sweep)]) == 0
    said = capsys.readouterr()
    assert "## LeNet-5; APAM" in said.out
    assert said.err == "left out: 0-0: summary.json has no labels, expected a run of this version; run it again\n"


def test_where_no_run_is_left_each_reason_is_said(sweep, capsys):
    for folder in sweep.iterdir():
        without_labels(folder)
    assert curves.main([str(sweep)]) == 1
    reason = "summary.json has no labels, expected a run of this version; run it again"
    assert capsys.readouterr().err.splitlines() == [
        *(f"left out: {run}: {reason}" for run in ("0-0", "0-1", "3-0", "3-1", "9-0")),
        "and 1 more",
        "asyncopt curves: no run is left for a curve, expected at least one of this version",
    ]


@pytest.mark.parametrize("command", [curves, comparing, theorems])
def test_where_every_run_is_damaged_each_is_named(sweep, command, capsys):
    for folder in sweep.iterdir():
        (folder / records.METRICS).unlink()
    assert command.main([str(sweep)]) == 1
    *named, error = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1] for line in named[:-1]] == [
        f" {sweep / run}" for run in ("0-0", "0-1", "3-0", "3-1", "9-0")
    ]
    assert named[-1] == "and 1 more"
    assert error.endswith(f"{sweep}: no finished run below it")


def test_no_such_folder(tmp_path, capsys):
    assert curves.main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err


def constant(value, seeds=2):
    return np.full((seeds, len(STEPS)), value) + np.linspace(0.0, 0.01, seeds)[:, None]


@pytest.fixture
def grid(tmp_path):
    """Two optimizers under two delays, and one of them with another step size."""
    for number, (optimizer, max_delay, step, value) in enumerate(
        [
            ("apam", 0, 1.0, 0.8),
            ("apam", 9, 1.0, 0.7),
            ("apam", 9, 2.0, 0.65),
            ("sgd", 0, 1.0, 0.6),
            ("sgd", 9, 1.0, 0.5),
        ]
    ):
        write(tmp_path / f"{number}", max_delay, [0, 1], constant(value), step, f"asyncopt.{optimizer}")
    return tmp_path


def test_a_curve_for_each_combination(grid):
    measured = curves.read(grid, ["trace.max_delay", "optimizer"])
    assert measured.by == ("trace.max_delay", "optimizer")
    names = ["APAM (learning_rate = 1)", "APAM (learning_rate = 2)", "SGD"]
    assert measured.combinations == [(0, names[0]), (0, "SGD"), (9, names[0]), (9, names[1]), (9, "SGD")]
    assert [round(values.mean(), 3) for values in measured.values] == [0.805, 0.605, 0.705, 0.655, 0.505]
    assert measured.name == "LeNet-5"  # the method differs
    drawn, _ = curves.figure(measured).axes
    assert [line.get_label() for line in drawn.lines] == [f"{delay}, {name}" for delay, name in measured.combinations]
    (legend,) = drawn.figure.legends
    assert legend.get_title().get_text() == "largest delay, optimizer"
    assert [row[:2] for row in curves.table(measured).rows][:2] == [("0", names[0]), ("0", "SGD")]
    assert list(measured.to_frame().columns) == ["trace.max_delay", "optimizer", "step", "value", "low", "high"]


def test_a_step_size_beside_the_optimizer_is_not_part_of_its_name(grid):
    measured = curves.read(grid, ["optimizer", "optimizer.learning_rate", "trace.max_delay"])
    assert measured.combinations == [("APAM", 1, 0), ("APAM", 1, 9), ("APAM", 2, 9), ("SGD", 1, 0), ("SGD", 1, 9)]


def test_methods_and_handlings_are_curves(tmp_path):
    for number, handling in enumerate([None, {"_target_": "asyncopt.optim.drop_stale", "max_delay": 3}]):
        write(tmp_path / f"{number}", 3, [0, 1], constant(0.5), handling=handling)
    assert curves.read(tmp_path, "method").combinations == [("APAM",), ("APAM, drop stale",)]
    assert curves.read(tmp_path, "handling").combinations == [(None,), ("drop stale",)]
    assert [row[0] for row in curves.table(curves.read(tmp_path, "handling")).rows] == ["none", "drop stale"]


def test_a_gap_is_drawn_on_logarithmic_axes_and_an_accuracy_is_not(sweep):
    for quantity, scale in (("test_accuracy", "linear"), ("gap", "log")):
        left, right = curves.figure(curves.read(sweep, quantity=quantity)).axes
        assert left.get_xscale() == left.get_yscale() == right.get_yscale() == scale


def test_a_heat_map_of_two_numbers(grid, capsys):
    for number in ("3", "4"):
        shutil.rmtree(grid / number)
    keys = ["--by", "trace.max_delay", "--by", "optimizer.learning_rate"]
    assert curves.main([str(grid), *keys, "--heatmap"]) == 0
    assert (grid / "report" / "heatmap.png").exists()
    assert not (grid / "report" / "curves.png").exists()
    axes = curves.end_of_pairs(curves.read(grid, ["trace.max_delay", "optimizer.learning_rate"])).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.81", "0.7", "", "0.66"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "9"]
    assert axes.get_xlabel() == "largest delay"
    capsys.readouterr()


def test_runs_that_are_evaluated_at_other_steps_share_some(sweep, capsys):
    others = np.array([0, 20, 35, 60, 100])
    write(sweep / "other", 5, [0, 1, 2, 3], np.full((4, len(others)), 0.7), steps=others)
    assert curves.main([str(sweep)]) == 0
    assert capsys.readouterr().err == (
        "the runs are evaluated at different steps, and share 4 of up to 11, which are drawn; with eval_every=percent "
        "they share all\n"
    )
    with pytest.warns(UserWarning, match="share 4 of up to 11"):
        assert curves.read(sweep).step.tolist() == [0, 20, 60, 100]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "trace.max_delay,optimizer"], "by is trace.max_delay,optimizer, expected one key; several are --by "
         "trace.max_delay --by optimizer"),
        (["--by", "optimizer", "--by", "optimizer"], "by has 'optimizer' 2 times, expected each once"),
        (["--by", "optimizer", "--by", "method"], "by has method and optimizer, expected one of them: a method "
         "includes its optimizer"),
        (["--by", "optimizer", "--by", "trace.max_delay", "--heatmap"], "by is optimizer and trace.max_delay, expected "
         "two settings that are numbers for a heat map: --by KEY --by KEY"),
        (["--by", "trace.max_delay", "--by", "optimizer.learning_rate", "--by", "optimizer", "--heatmap"], "by is "
         "trace.max_delay and optimizer.learning_rate and optimizer, expected two settings that are numbers for a heat "
         "map: --by KEY --by KEY"),
        (["--by", "optimizer"], "2: differs from 0 in trace.max_delay, expected optimizer and seeds only"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said_in_one_line(arguments, message, tmp_path, capsys):
    for number, (optimizer, max_delay) in enumerate([("apam", 0), ("sgd", 0), ("apam", 9), ("sgd", 9)]):
        write(tmp_path / f"{number}", max_delay, [0, 1], constant(0.7), optimizer=f"asyncopt.{optimizer}")
    assert curves.main([str(tmp_path), *arguments]) == 1
    assert capsys.readouterr().err == f"asyncopt curves: {message}\n"


def test_too_few_steps_and_too_many_curves_are_refused(tmp_path):
    write(tmp_path / "0", 0, [0], constant(0.7, 1))
    write(tmp_path / "1", 1, [0], np.full((1, 3), 0.7), steps=np.array([0, 55, 100]))
    with pytest.raises(InputError, match="share 2 of up to 11, expected 3; with eval_every=percent they share all"):
        curves.read(tmp_path)
    shutil.rmtree(tmp_path / "1")
    for max_delay in range(1, 26):
        write(tmp_path / f"{max_delay}", max_delay, [0], constant(0.7, 1))
    with pytest.raises(InputError, match="26 combinations, expected at most 24 curves"):
        curves.figure(curves.read(tmp_path))


def test_against_seconds_runs_may_have_different_numbers_of_updates(tmp_path):
    """A server makes 100 updates in 50 s, another one 40 in 80 s; both are drawn from 5 to 50 s."""
    fast, slow = np.arange(0, 101, 10), np.arange(0, 41, 10)
    write(tmp_path / "fast", 1, [0, 1], np.tile(fast / 200, (2, 1)), steps=fast, seconds=np.maximum(fast / 2, 1.0))
    write(tmp_path / "slow", 2, [0, 1], np.tile(slow / 200, (2, 1)), steps=slow, seconds=np.maximum(slow * 2.0, 5.0))
    with pytest.raises(InputError, match="differs from fast in the number of updates"):
        curves.read(tmp_path)
    drawn = curves.read(tmp_path, axis="time")
    assert (drawn.step[0], drawn.step[-1]) == (5.0, pytest.approx(50.0))
    for values, rate, every in zip(drawn.values, (2.0, 0.5), (5.0, 20.0), strict=True):
        last_measured = np.floor(drawn.step * (1 + 1e-12) / every) * every * rate  # updates made by then
        np.testing.assert_allclose(values, np.tile(last_measured / 200, (2, 1)))
    assert curves.main([str(tmp_path), "--axis", "time", "--output", str(tmp_path / "report")]) == 0
    assert list(pd.read_csv(tmp_path / "report" / "curves.csv"))[:2] == ["trace.max_delay", "time"]
    with pytest.raises(InputError, match="fast: it has no computed, expected runs on a clock, or the axis step"):
        curves.read(tmp_path, axis="computed")


def test_a_trace_drawn_anew_counts_as_another_seed(tmp_path):
    values = np.full((1, len(STEPS)), 0.5)
    for number in range(3):
        write(tmp_path / str(number), 1, [number], values + 0.1 * number, trace_seed=number)
    assert curves.read(tmp_path).values[0][:, 0] == pytest.approx([0.5, 0.6, 0.7])
    write(tmp_path / "4", 1, [0], values + 0.4, trace_seed=4)
    with pytest.raises(InputError, match="4: seed 0 has been run before with other results, expected other seeds for"):
        curves.read(tmp_path)
