"""The command ``asyncopt``: its parts, its version, and what it says to a word that it does not know."""

import atexit
import gc
import re
import runpy
import sys
from importlib import metadata

import pytest

import asyncopt
from asyncopt.report import curves
from asyncopt.run import next_step, start_up


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
    assert command("version") == command("--version") == command("run", "--version")
    assert asyncopt.__version__ == metadata.version("asyncopt")


def test_a_command_ends_without_a_search_for_cycles(command, monkeypatch):
    registered = []
    monkeypatch.setattr(atexit, "register", registered.append)
    command("version")
    assert registered == [gc.freeze]


def test_python_looks_for_cycles_again_after_an_import():
    before = gc.get_freeze_count()
    with start_up.importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == before  # nothing was imported
    gc.disable()
    try:
        with start_up.importing():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_the_tab_key_completes_groups_options_and_keys(command, monkeypatch):
    status, out, _ = command("-sc", "install=bash")
    assert status == 0
    assert out.endswith("complete -o nospace -o default -F hydra_bash_completion asyncopt\n")
    for typed, completed in (("optimizer=lo", "optimizer=lookahead_nesterov"), ("trace.max_d", "trace.max_delay=")):
        monkeypatch.setenv("COMP_LINE", f"asyncopt {typed}")
        assert command("-sc", "query=bash")[:2] == (0, f"{completed}\n")


@pytest.mark.parametrize("name", ["report", "curves", "compare", "paired", "verify", "fit"])
def test_each_part_has_its_help_and_names_a_missing_folder(name, command):
    status, out, _ = command(name, "--help")
    assert status == 0
    assert out.startswith(f"usage: asyncopt {name} ")
    status, _, err = command(name, "/nowhere")
    assert status == 1
    assert err.startswith(f"asyncopt {name}: ")
    assert "/nowhere" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("word", "close"), [("reprot", "report"), ("verfy", "verify"), ("nonsense", None)])
def test_a_word_that_is_no_command(word, close, command):
    status, _, _ = command(word, "folder")
    assert status.startswith(f"asyncopt: {word}: no such command, expected one of run, report, ")
    assert re.search(rf"did you mean {close}\?$", status) if close else "did you mean" not in status


@pytest.mark.parametrize("words", [("run", "report"), ("run", "reprot"), ("folder/of/runs",)])
def test_a_word_in_the_place_of_an_override(words, command):
    status, _, _ = command(*words)
    assert status.startswith(f"asyncopt: {words[-1]}: no such command, expected one of run, report, ")


def test_help_of_a_part(command):
    assert command("help", "report")[1].startswith("usage: asyncopt report ")
    assert command("run", "help", "report") == command("help", "report")
    assert command("run", "report")[0].endswith("; did you mean asyncopt report?")


@pytest.mark.parametrize(
    ("swept", "commands"),
    [
        ("problem=logistic,nonconvex_logistic optimizer=apam", "asyncopt report 'a b'"),
        ("trace=uniform,synchronous", "asyncopt report 'a b' or asyncopt curves 'a b' --by trace"),
        (
            "trace.max_delay=1,5 optimizer.learning_rate=0.1,0.2",
            "asyncopt report 'a b' or asyncopt curves 'a b' --by trace.max_delay --by optimizer.learning_rate",
        ),
        ("trace=policy policy=rounds,buffered", "asyncopt curves 'a b' --by trace --axis time"),
        (
            "+method=lm/adamw step_factor=0.5,1 trace=constant trace.delay=0,1",
            "asyncopt paired 'a b' --vary trace.delay",
        ),
    ],
)
def test_what_comes_after_a_sweep(swept, commands, start_command_line, tmp_path):
    options = ["trace.num_updates=20", "seeds=[0]", "plot=false", "hydra.sweep.dir='a b'"]
    status, out, errors = start_command_line("-m", *swept.split(), *options, folder=tmp_path).end()
    assert status == 0, errors
    assert out.splitlines()[-1] == f"next: {commands}"


def test_a_rule_for_staleness_is_drawn_by_its_rule_or_by_the_delays_it_gives(start_command_line, tmp_path):
    options = ["trace.num_updates=64", "seeds=2", "plot=false", "hydra.sweep.dir=out", "eval_every=percent"]
    status, out, errors = start_command_line("-m", "staleness=0,K**0.5,16", *options, folder=tmp_path).end()
    assert status == 0, errors
    assert out.splitlines()[-1].endswith("asyncopt curves out --by staleness")
    by_rule, by_delay = (curves.read(tmp_path / "out", by=key) for key in ("staleness", "trace.max_delay"))
    assert by_rule.combinations == [(0,), (16,), ("K**0.5",)]
    assert by_delay.combinations == [(0,), (8,), (16,)]


def test_a_folder_alone(command, tmp_path):
    status, _, _ = command(str(tmp_path))
    assert status.endswith(f"; did you mean asyncopt report {tmp_path}?")


@pytest.mark.parametrize(
    ("swept", "command"),
    [
        (["method", "trace.delay", "step_factor"], "asyncopt paired out --vary trace.delay --by method"),
        (["trace.num_stages", "step_factor"], "asyncopt paired out --vary trace.num_stages"),
        (["method", "step_factor"], "asyncopt curves out --by optimizer.learning_rate --by method"),
    ],
)
def test_what_comes_after_a_sweep_over_methods_of_their_own_step_sizes(swept, command):
    assert next_step._paired("out", swept) == [command]


def test_help_is_the_option(command_lines, tmp_path):
    with_word, with_option = (command_lines(word, folder=tmp_path) for word in ("help", "--help"))
    assert with_word == with_option
    assert with_word[0] == 0


@pytest.mark.parametrize("launcher", ["basic", "asyncopt_vectorized"])
def test_a_sweep_prints_one_line_a_job_and_what_comes_next(launcher, start_command_line, tmp_path):
    options = ["trace.num_updates=20", "seeds=2", "plot=false", "hydra.sweep.dir=out", f"hydra/launcher={launcher}"]
    status, out, errors = start_command_line("-m", "trace.max_delay=1,5", *options, folder=tmp_path).end()
    assert status == 0, errors
    lines = [line for line in out.splitlines() if line.startswith("20 updates, 2 seeds, gap F - F* at the end ")]
    assert [line.rpartition("; ")[2] for line in lines] == [str(tmp_path / "out" / job) for job in "01"]
    ends = asyncopt.load_runs(tmp_path).query("step == 20").groupby("run")["gap"].mean()
    assert [float(line.split(", ")[2].split()[-1]) for line in lines] == pytest.approx(ends.tolist(), rel=1e-4)
    assert out.splitlines()[-1] == "next: asyncopt report out or asyncopt curves out --by trace.max_delay"
    assert "smallest" not in out


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
