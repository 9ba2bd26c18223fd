"""The command ``asyncopt``: its parts, its version, and what it says to a word that it does not know."""

import re
import runpy
import sys
from importlib import metadata

import pytest

import asyncopt


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs the command in this process; returns its exit status and its two outputs."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["asyncopt", *arguments])
        monkeypatch.setattr("asyncopt.stopping.install", lambda: None)
        status = 0
        try:
            runpy.run_module("asyncopt", run_name="__main__")
        except SystemExit as ended:
            status = ended.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


def test_version(command):
    assert command("--version") == (0, f"asyncopt {metadata.version('asyncopt')}\n", "")
    assert asyncopt.__version__ == metadata.version("asyncopt")


@pytest.mark.parametrize("name", ["report", "curves", "compare", "verify", "fit"])
def test_each_part_has_its_help_and_names_a_missing_folder(name, command):
    status, out, _ = command(name, "--help")
    assert status == 0
    assert out.startswith("usage: ")
    status, _, err = command(name, "/nowhere")
    assert status == 1
    assert "/nowhere" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("word", "close"), [("reprot", "report"), ("verfy", "verify"), ("nonsense", None)])
def test_a_word_that_is_no_command(word, close, command):
    status, _, _ = command(word, "folder")
    assert status.startswith(f"asyncopt: {word}: no such command, expected one of run, report, ")
    assert re.search(rf"did you mean {close}\?$", status) if close else "did you mean" not in status


def test_run_is_what_no_word_is(command_lines, tmp_path):
    options = ["trace.num_updates=20", "seeds=1", "progress=false", "plot=false"]
    for folder, words in (("with", ["run"]), ("without", [])):
        status, errors = command_lines(*words, *options, f"hydra.run.dir={folder}", folder=tmp_path)
        assert status == 0, errors
    assert (tmp_path / "with" / "metrics.parquet").read_bytes() == (
        tmp_path / "without" / "metrics.parquet"
    ).read_bytes()


@pytest.mark.parametrize("name", ["adam", "adamw", "lion", "momentum", "muon"])
def test_optax_optimizers_by_name(name, command_lines, tmp_path):
    """One override. The default step sizes are reasonable: 600 updates take F far down, from ln 10."""
    options = ["trace.num_updates=600", "seeds=1", "progress=false", "plot=false", "hydra.run.dir=out"]
    status, errors = command_lines(f"optimizer={name}", *options, folder=tmp_path)
    assert status == 0, errors
    table = asyncopt.load_runs(tmp_path)
    assert table["objective"].iloc[-1] < 0.6 * table["objective"].iloc[0]


def test_an_optimizer_of_ones_own_needs_no_schedule(command_lines, tmp_path):
    own = ["optimizer=sgd", "optimizer._target_=optax.rmsprop", "~optimizer.schedule", "optimizer.learning_rate=0.001"]
    options = ["trace.num_updates=300", "seeds=1", "progress=false", "plot=false", "hydra.run.dir=out"]
    status, errors = command_lines(*own, *options, folder=tmp_path)
    assert status == 0, errors
    table = asyncopt.load_runs(tmp_path)
    assert table["objective"].iloc[-1] < table["objective"].iloc[0]
