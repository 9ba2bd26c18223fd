"""``python -m asyncopt.curves``, from run folders whose numbers are known."""

import json
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


def write(folder, max_delay, seeds, values, step=1.0, optimizer="asyncopt.apam"):
    """A run folder whose accuracy at every evaluation is ``values``, a row a seed."""
    config = {
        "problem": {"_target_": "asyncopt.problems.lenet5"},
        "optimizer": {"_target_": optimizer, "learning_rate": step},
        "trace": {"_target_": "asyncopt.traces.uniform", "max_delay": max_delay},
        "seeds": list(seeds),
    }
    labels = {"problem": "LeNet-5", "method": "APAM"}
    columns = {
        "seed": np.repeat(list(seeds), len(STEPS)),
        "step": np.tile(STEPS, len(seeds)),
        "test_accuracy": values.ravel(),
    }
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
        ({}, {"by": "trace.delay"}, "0-0: config.yaml has no trace.delay, expected one of"),
        ({}, {"quantity": "speed"}, r"0-0: metrics.parquet has no speed, expected one of \['seed'"),
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
