"""Runs that are there already are not made again; whatever they depend on makes them be."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import hydra
import pytest

from asyncopt import experiment, resume
from asyncopt.__main__ import CONFIG_FOLDER


def configured(*overrides):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        small = ["problem=quadratic", "seeds=2", "progress=false", "plot=false"]
        return hydra.compose("config", [*small, *(overrides or ["trace.num_updates=60"])])


@pytest.fixture(autouse=True)
def same_environment(monkeypatch):
    """A run chooses threads for its process; the tests' own stays as it is."""
    monkeypatch.setenv("PJRT_NPROC", os.environ.get("PJRT_NPROC", "1"))


@pytest.fixture
def replays(monkeypatch):
    """The runs that were made and not found."""
    made, replay = [], experiment.replay
    monkeypatch.setattr(experiment, "replay", lambda *a, **k: made.append(a) or replay(*a, **k))
    return made


def test_the_same_run_is_not_made_again(tmp_path, replays, capsys):
    experiment.run(configured(), tmp_path)
    first = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    table = capsys.readouterr().out
    experiment.run(configured("trace.num_updates=60", "progress=true"), tmp_path)
    assert len(replays) == 1
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == first
    said = capsys.readouterr().out
    assert "finished before, and not run again (force=true runs it)" in said
    assert table in said
    experiment.run(configured("trace.num_updates=60", "plot=true"), tmp_path)
    assert len(replays) == 1
    assert (tmp_path / "curve.png").exists()


@pytest.mark.parametrize(
    "override",
    ["optimizer.learning_rate=0.25", "trace.max_delay=3", "seeds=[0,2]", "eval_every=10", "force=true"],
)
def test_another_run_is_made(tmp_path, replays, override):
    experiment.run(configured(), tmp_path)
    experiment.run(configured("trace.num_updates=60", override), tmp_path)
    assert len(replays) == 2


@pytest.mark.parametrize("name", ["metrics.parquet", "summary.json", "config.yaml"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:50])])
def test_a_damaged_run_is_made_again(tmp_path, replays, name, damage):
    experiment.run(configured(), tmp_path)
    whole = (tmp_path / "metrics.parquet").read_bytes()
    damage(tmp_path / name)
    experiment.run(configured(), tmp_path)
    assert len(replays) == 2
    assert (tmp_path / "metrics.parquet").read_bytes() == whole


def test_files_and_code_count(tmp_path, replays, monkeypatch):
    delays = tmp_path / "delays.csv"
    delays.write_text("0\n1\n0\n")
    config = configured("trace=file", f"trace.path={delays}", "problem.noise=0.5")
    experiment.run(config, tmp_path / "run")
    delays.write_text("0\n1\n2\n")
    experiment.run(config, tmp_path / "run")
    monkeypatch.setattr(resume, "_source", lambda: "edited")
    experiment.run(config, tmp_path / "run")
    assert len(replays) == 3


def test_a_sweep_that_was_killed_goes_on(tmp_path):
    """Killed twice at moments that differ; at the end every file is that of a sweep that was left alone."""
    command = [
        sys.executable, "-m", "asyncopt", "-m", "problem=quadratic", "trace.num_updates=3000", "seeds=2",
        "trace.max_delay=0,1,2,3,4,5", "progress=false", "plot=false",
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}

    def sweep(folder, **how):
        return subprocess.Popen([*command, f"hydra.sweep.dir={folder}"], cwd=tmp_path, env=environment, **how)

    for number_before_kill in (1, 3):
        process = sweep("killed", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(list(tmp_path.glob("killed/*/summary.json"))) < number_before_kill and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = sorted(path.parent.name for path in tmp_path.glob("killed/*/summary.json"))
    with sweep("killed", stdout=subprocess.PIPE, text=True) as process:
        output = process.communicate()[0]
    assert process.returncode == 0
    assert output.count("finished before") == len(done) >= 3
    assert sweep("whole", stdout=subprocess.DEVNULL).wait() == 0
    for number in range(6):
        for name in ("metrics.parquet", "config.yaml"):
            killed, whole = (pathlib.Path(tmp_path, folder, str(number), name) for folder in ("killed", "whole"))
            assert killed.read_bytes() == whole.read_bytes()
