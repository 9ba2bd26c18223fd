"""``python -m asyncopt`` as a user types it."""

import json
import os
import pathlib
import re
import subprocess
import sys
import types

import hydra
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from omegaconf import OmegaConf

import asyncopt
from asyncopt.report import comparing, theorems

SMALL = ["trace.num_updates=400", "seeds=2"]


def run(*overrides, folder, without=(), **more):
    """Runs a command line as its user does, in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key not in without} | more
    return subprocess.run(
        [sys.executable, "-m", "asyncopt", *overrides],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def quickly(command_lines):
    """Runs a command line as `run` does, without the seconds that imports take."""

    def run_quickly(*overrides, folder):
        status, errors = command_lines(*overrides, folder=folder)
        return types.SimpleNamespace(returncode=status, stderr=errors, stdout=(folder / "stdout").read_text())

    return run_quickly


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command line")
    return folder, run(*SMALL, "hydra.run.dir=out", folder=folder)


def test_a_run_prints_a_table_and_its_folder(finished):
    folder, process = finished
    assert process.returncode == 0, process.stderr
    for words in (
        "400 updates, 2 seeds",
        "gap F - F* at the end",
        "gap F - F* of the average",
        "updates a second",
    ):
        assert words in process.stdout
    assert re.search(r"accuracy on held-out rows +0\.[89]\d+", process.stdout)
    assert re.search(r"delay, in updates +\d+\.\d+ +20\n", process.stdout)
    assert process.stdout.rstrip().endswith(str(folder / "out"))
    assert "updates/s" in process.stderr  # progress


def test_a_run_leaves_a_folder(finished):
    folder = finished[0] / "out"
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "metrics.parquet", "summary.json", "curve.png"} <= names
    assert not [name for name in names if "partial" in name]
    config = OmegaConf.load(folder / "config.yaml")
    assert config.trace.num_updates == 400
    assert config.problem.data._target_ == "asyncopt.problems.data.digits"  # resolved
    summary = json.loads((folder / "summary.json").read_text())
    trace = asyncopt.traces.uniform(400, 20)
    assert summary["trace"]["digest"] == trace.digest
    assert summary["trace"]["mean_square_delay"] == trace.mean_square_delay
    assert summary["versions"]["jax"]
    assert len(summary["versions"]["devices"]) == len(os.sched_getaffinity(0))
    assert summary["problem"]["dimension"] == 650
    assert summary["diverged_at"] == {"0": -1, "1": -1}
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_the_run_is_the_replay_of_its_parts(finished):
    frame = pd.read_parquet(finished[0] / "out" / "metrics.parquet")
    trace = asyncopt.traces.uniform(400, 20)
    result = asyncopt.replay(
        asyncopt.problems.logistic("digits"),
        asyncopt.apam(0.5 / np.sqrt(400)),
        trace,
        seeds=range(2),
    )
    assert len(result.step) <= 6  # at most a fifth of so short a run
    for column, values in (("gap", result.gap), ("average_gap", result.average_gap), ("drift", result.drift)):
        np.testing.assert_allclose(frame[column], values.ravel(), rtol=1e-9, atol=1e-15)
    np.testing.assert_array_equal(frame["step"], np.tile(result.step, 2))


def test_the_same_command_gives_the_same_bytes(finished):
    folder, _ = finished
    # Compiled anew, not taken from the folder that tests share, nor from that of whoever runs the tests.
    cache, without = folder / "cache", ["JAX_COMPILATION_CACHE_DIR"]
    process = run(*SMALL, "hydra.run.dir=again", folder=folder, without=without, XDG_CACHE_HOME=str(cache))
    assert process.returncode == 0
    assert len(list(cache.glob("asyncopt/compiled/*/*-cache"))) > 5  # for the next
    for name in ("metrics.parquet", "config.yaml", "curve.png"):
        assert (folder / "out" / name).read_bytes() == (folder / "again" / name).read_bytes(), name
    first, second = (json.loads((folder / out / "summary.json").read_text()) for out in ("out", "again"))
    assert {**first, "timing": None} == {**second, "timing": None}


def test_a_sweep_is_read_as_one_table(tmp_path, quickly):
    process = quickly(
        "-m",
        "+sweep=staleness",
        "trace.max_delay=0,7",
        "hydra.sweep.dir=sweep",
        *SMALL,
        "progress=false",
        "plot=false",
        folder=tmp_path,
    )
    assert process.returncode == 0, process.stderr
    runs = asyncopt.load_runs(tmp_path / "sweep")
    assert set(runs["run"]) == {"0", "1"}
    assert set(runs["trace.max_delay"]) == {0, 7}
    assert set(runs["summary.trace.max_delay"]) == {0, 7}
    assert len(runs) == 2 * 2 * 104
    assert set(runs["optimizer.learning_rate"]) == {0.5}
    fresh = runs[runs["trace.max_delay"] == 0]
    assert (fresh["drift"] == 0).all()


@pytest.mark.parametrize(
    "overrides",
    [
        ["problem=quadratic", "trace=cluster", "trace.num_updates=300", "+constraint=box"],
        [
            "data=breast_cancer",
            "trace=pareto",
            "trace.num_updates=300",
            "optimizer=sgd",
            "optimizer.learning_rate=1.0",
        ],
        [
            "trace=cyclic",
            "trace.num_updates=300",
            "precision=float32",
            "optimizer.schedule=inverse_sqrt",
            "seeds=[7]",
        ],
        ["trace=geometric", "trace.num_updates=300", "+constraint=l2_ball", "optimizer.bias_correction=true"],
        ["trace=file", "trace.path=recorded.csv", "data=libsvm", "data.path=rows.txt", "eval_every=10"],
        ["problem=perceptron", "problem.width=0.1", "trace.num_updates=50", "eval_every=25", "history_dtype=bfloat16"],
        ["problem=quadratic", "trace.num_updates=300", "+handling=scale_steps_by_delay", "optimizer=sgd"],
        [
            "problem=char_lm",
            "data.path=rows.txt",
            "problem.context=8",
            "problem.width=8",
            "problem.depth=1",
            "trace=constant",
            "trace.num_updates=10",
            "eval_every=5",
        ],
    ],
    ids=[
        "quadratic-cluster-box",
        "cancer-pareto-sgd",
        "cyclic-float32",
        "geometric-ball",
        "files",
        "network",
        "handled",
        "text",
    ],
)
def test_configurations(overrides, tmp_path, quickly):
    (tmp_path / "recorded.csv").write_text("".join(f"{min(k, 3)}\n" for k in range(50)))
    rng = np.random.default_rng(0)
    rows = [f"{rng.integers(2)} 1:{rng.normal()} 3:{rng.normal()}\n" for _ in range(40)]
    (tmp_path / "rows.txt").write_text("".join(rows))
    plot = f"plot={str('problem=perceptron' in overrides).lower()}"  # the curve of a problem without a known minimum
    process = quickly(*overrides, "hydra.run.dir=out", "progress=false", plot, folder=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    frame = asyncopt.load_runs(tmp_path / "out")
    assert np.isfinite(frame["objective"]).all()
    assert "gap" not in frame or (frame["gap"].dropna() > -1e-6).all()


@pytest.mark.parametrize("step_size", ["1e9", "4", "2.05"])  # at once, midway, only just
def test_divergence_is_reported(step_size, tmp_path, quickly):
    overrides = ["problem=quadratic", "optimizer=sgd", "optimizer.schedule=constant", "trace=synchronous"]
    overrides += [f"optimizer.learning_rate={step_size}", "trace.num_updates=20000", "seeds=2", "progress=false"]
    process = quickly(*overrides, "hydra.run.dir=out", folder=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert re.search(r"diverged: seed 0 at update [\d,]+, seed 1 at update [\d,]+", process.stdout)
    assert np.isinf(asyncopt.load_runs(tmp_path / "out")["gap"].iloc[-1])
    assert (tmp_path / "out" / "curve.png").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trace.num_updates=0"], "trace: num_updates is 0, expected an integer of at least 1"),
        (["trace.max_delay=-1"], "trace: max_delay is -1"),
        (["trace.max_delay=2.5"], "trace: max_delay is 2.5, expected an integer"),
        (["optimizer.learning_rate=0"], "optimizer: learning_rate is 0, expected a finite number > 0"),
        (["optimizer.learning_rate=fast"], "optimizer: learning_rate is 'fast'"),
        (["optimizer.b1=1.0"], "optimizer: b1 is 1.0, expected a finite number >= 0 and < 1"),
        (["optimizer.eps=-1"], "optimizer: eps is -1, expected a finite number >= 0"),
        (["optimizer.schedule=linear"], "optimizer: schedule is 'linear', expected one of"),
        (["+constraint=box", "constraint.lower=2"], "bounds cross: lower 2 is above upper 1.0"),
        (["+constraint=box", "problem.init_scale=9"], "the start is outside the problem's constraint Box"),
        (["+constraint=box", "optimizer=sgd"], "optimizer: optax.sgd keeps no constraint"),
        (["+constraint=box", "problem=nonconvex_logistic"], "nonconvex_logistic takes no constraint"),
        (["problem.l2=-1"], "problem: l2 is -1"),
        (["staleness=fast"], "staleness is 'fast', expected a whole number of updates or a rule"),
        (["staleness=3", "trace.max_delay=2"], "staleness is 3, but the delays of asyncopt.traces.uniform were set"),
        (["data=diabetes"], "problem: data is RegressionData, expected a Dataset, which has classes"),
        (["problem=robust_regression"], "problem: data is Dataset, expected RegressionData"),
        (["seeds=0"], "seeds is 0, expected an integer of at least 1"),
        (["seeds=[]"], "seeds is empty"),
        (["seeds=[0,0,1]"], "seeds has 0 2 times, expected each once"),
        (["eval_every=0"], "eval_every is 0"),
        (["problem=perceptron", "seeds=[]"], "seeds is empty"),
        (["threads=0"], "threads is 0, expected an integer of at least 1"),
        (["problem=quadratic", "data=digits"], "data=digits: the problem asyncopt.problems.quadratic has no data"),
        (
            ["problem=tridiagonal", "data.split_seed=1"],
            "data.split_seed=1: the problem asyncopt.problems.tridiagonal has",
        ),
        (["problem=lenet5", "data=digits"], "problem: data is Dataset, expected images"),
        (["problem=lenet5", "data=digits_images"], "problem: images have 8 × 8 pixels, expected at least 16 × 16"),
        (["problem=char_lm", "data=digits"], "problem: data is Dataset, expected a text"),
        (["problem=char_lm", "data.path=nowhere"], "nowhere: path is no file that can be read: No such file"),
        (["problem=all_cnn", "data.root=nowhere"], "data_batch_1.bin: no such file .looked in nowhere"),
        (["precision=float16"], "precision is 'float16', expected float32 or float64"),
        (["param_dtype=float16"], "param_dtype is 'float16', expected one of"),
        (
            ["+handling=drop_stale", "handling.max_delay=0"],
            "handling: max_delay is 0, expected an integer of at least 1",
        ),
        (
            ["+handling=rotate_basis", "+constraint=box"],
            "handling: rotate_basis would project in turned coordinates, expected constraint=null",
        ),
        (["+handling=scale_steps_by_delay", "handling.rule=no"], "handling: rule is 'no', expected one of"),
        (["trace=rounds", "trace.num_workers=3"], "trace: num_updates is 20000, expected a multiple of num_workers, 3"),
        (["trace=rounds"], "trace: rounds are for an optimizer that steps once a round, expected"),
        (["+method=synchronous_amsgrad", "handling.size=4"], "expected .handling=buffer_updates handling.size=8 "),
        (["+method=adam"], "method=adam: no such option"),
        (["problem=resnet18", "data=cinic10", "data.root=nowhere"], "train: no such file .looked in nowhere"),
        (["problem=wrn_28_5", "data=imagenet32", "data.root=nowhere"], "train_data_batch_1.npz: no such file"),
        (
            ["problem=lenet5", "data=mnist", "data.root=new", "data.mirror=here"],
            "mirror is 'here', expected an address",
        ),
        (["trace=file"], "trace.path has no value, expected trace.path=..."),
        (["trace=file", "trace.path=nowhere.csv"], "nowhere.csv: no such trace file"),
        (["trace=file", "trace.path=bad.csv"], "bad.csv, row 2: delay 5 of update 1"),
        (["data=libsvm", "data.path=bad.txt"], "bad.txt, line 1: 'x' is not of the form index:value"),
        (["+trace.color=red"], "trace: .*unexpected keyword argument 'color'"),
        (["trace.colour=red"], "trace.colour: no such key"),
        (["tracy=uniform"], "tracy: no such key"),
        (["trace=brownian"], "trace=brownian: no such option"),
        (["+sweep=nothing"], "sweep=nothing: no such option"),
    ],
)
def test_bad_input_gets_a_line_not_a_traceback(overrides, message, tmp_path, command_lines):
    (tmp_path / "bad.csv").write_text("0\n5\n")
    (tmp_path / "bad.txt").write_text("1 x\n")
    status, errors = command_lines(*overrides, "hydra.run.dir=out", folder=tmp_path)
    assert status == 1
    assert re.search(message, errors), errors
    assert "Traceback" not in errors
    assert 1 <= len(errors.strip().splitlines()) <= 3
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize("trace", ["constant", "uniform", "pareto", "geometric", "cyclic", "cluster"])
def test_one_rule_of_staleness_for_all_kinds_of_trace(trace):
    from asyncopt.run import task
    from asyncopt.run.command_line import CONFIG_FOLDER

    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("config", [f"trace={trace}", "staleness=K**0.5", "trace.num_updates=10000"])
    made = task.prepare(config).trace
    assert made.mean_delay == pytest.approx(50 if trace == "uniform" else 100, rel=0.05 if trace != "pareto" else 0.3)
    assert (made.max_delay == 100) == (trace in ("constant", "uniform", "cyclic"))


def test_a_theory_sweep_and_its_report(tmp_path, quickly, capsys):
    """The two lines that README shows, at a size for a test: six rules at two K, which can settle nothing.

    Slow: four jobs one by one.
    """
    process = quickly(
        "-m", "+sweep=convex_rate", "trace=pareto", "trace.num_updates=20,40", "staleness=0,K**0.25",
        "seeds=2", "progress=false", "plot=false", "hydra.sweep.dir=sweep", folder=tmp_path,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert theorems.main([str(tmp_path / "sweep")]) == 0
    said = capsys.readouterr().out
    assert "## logistic regression on breast cancer in a box; APAM; pareto delays" in said
    assert "2 seeds, fewer than 16" in said
    # Only what holds in every single run needs no more seeds.
    assert all(line.startswith("| certificate") for line in said.splitlines() if "confirmed" in line)
    assert (tmp_path / "sweep" / "report" / "report.html").exists()


def test_a_comparison_and_its_report(tmp_path, quickly, capsys):
    """Two lines of README at a size for a test. Slow: its jobs run one by one."""
    process = quickly(
        "-m", "+sweep=comparison", "trace.num_updates=64", "trace.num_workers=2,4", "optimizer.learning_rate=0.03,0.3",
        "+clock=random", "+method=apam,synchronous_amsgrad", "progress=false", "plot=false",
        "hydra.sweep.dir=sweep", folder=tmp_path,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert comparing.main([str(tmp_path / "sweep")]) == 0
    said = capsys.readouterr().out
    assert "## logistic regression on digits" in said
    header = next(line for line in said.splitlines() if line.startswith("| gradients take"))
    assert re.search("APAM, seconds .*synchronous AMSGrad, times as long", header)
    assert "16 runs a trial on 4 random clocks with 16 seeds of mini-batches" in said
    assert (tmp_path / "sweep" / "report" / "to_error.png").exists()


def test_rounds_step_once_with_the_mean_of_all_workers():
    """Synchronous AMSGrad as configured is AMSGrad with mini-batches that many times as large, on the digits."""
    from asyncopt.run import build, task
    from asyncopt.run.command_line import CONFIG_FOLDER

    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("config", ["+method=synchronous_amsgrad", "trace.num_workers=4", "trace.num_updates=40"])
    made = build.build(task.prepare(config))
    result = asyncopt.replay(made.problem, made.optimizer, made.trace, seed=3, eval_every=1)
    problem, key = made.problem, jax.random.key(3)
    optimizer = asyncopt.apam(0.5 / np.sqrt(40))
    params = problem.init(asyncopt.engine.init_key(key))
    state = optimizer.init(params)
    for first in range(0, 40, 4):
        batches = [problem.sample(asyncopt.engine.batch_key(key, k)) for k in range(first, first + 4)]
        gradients = jnp.mean(jnp.stack([jax.grad(problem.loss)(params, batch) for batch in batches]), axis=0)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(result.params, params, rtol=1e-9, atol=1e-12)
    assert (np.diff(result.objective)[:3] == 0).all()  # nothing moves within a round
    assert result.time[4] == made.trace.time[0] > 0


def test_a_sweep_goes_on_after_a_bad_job(tmp_path, quickly):
    process = quickly("-m", "trace.max_delay=3,-1,5", "hydra.sweep.dir=sweep", *SMALL, "plot=false", folder=tmp_path)
    assert process.returncode == 1
    assert "max_delay is -1" in process.stderr
    with pytest.warns(UserWarning, match="left out: .*1: not a finished run"):
        runs = asyncopt.load_runs(tmp_path / "sweep")
    assert set(runs["trace.max_delay"]) == {3, 5}


def test_help_lists_the_groups(tmp_path):
    process = run("--help", folder=tmp_path)
    assert process.returncode == 0
    for option in (
        "problem: all_cnn, char_lm, hard_instance, least_squares, lenet5, logistic, nonconvex_logistic, perceptron",
        "data: breast_cancer, cifar10, cinic10, diabetes, digits, digits_images, digits_of_workers",
        "trace: cluster, constant",
        "handling: buffer_updates, compensate_delay, drop_stale, error_feedback, gradient_table, restart, "
        "rotate_basis, scale_steps_by_delay, scale_steps_by_stage",
        "policy: assignments, asynchronous, buffered, malenia, rennala, ringleader, ringmaster, rounds",
        "method: apam, momentum_sgd, sgd, synchronous_amsgrad",
        "clock: random, steady, straggler",
        "sweep: arbitrary_delays, artificial_delay, artificial_delay_all_cnn, comparison, comparison_nonconvex",
        "method/diloco: asynchronous, buffered",
        "work: local_steps",
        "seeds: 8",
    ):
        assert option in process.stdout


def test_help_has_the_comments_of_the_chosen_files(tmp_path):
    shown = run("--help", "trace=cluster", folder=tmp_path).stdout
    for comment in (
        "number of seeds, from 0; or a list of seeds",
        "number of slow workers, the last ones",
        "${workers_or:8}",
    ):
        assert comment in shown
    assert "the paper's artificial delay" not in shown  # trace=uniform


def test_configuration_says_the_same_as_the_functions_defaults():
    """A default stands in the signature for Python's users and in conf/ for the command line; they must agree."""
    import inspect

    from hydra.utils import get_method

    exceptions = {  # what the configuration shows a choice by
        ("optimizer/sgd.yaml", "learning_rate"),
        ("optimizer/apam_deep.yaml", "bias_correction"),  # what these two are for
        ("optimizer/momentum.yaml", "momentum"),
        ("trace/cluster.yaml", "compute"),
        ("trace/cluster.yaml", "server"),
        ("trace/cluster.yaml", "network"),
        ("trace/policy.yaml", "compute"),
        ("trace/policy.yaml", "server"),
        ("trace/policy.yaml", "network"),
        ("trace/rounds.yaml", "compute"),
        ("trace/rounds.yaml", "server"),
        ("trace/rounds.yaml", "network"),
        ("trace/shared_memory.yaml", "compute"),
        ("trace/shared_memory.yaml", "read"),
        ("trace/shared_memory.yaml", "write"),
    }
    conf = pathlib.Path(asyncopt.__file__).parents[1] / "conf"
    compared = 0
    for path in sorted(conf.glob("*/*.yaml")):
        settings = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        # A network's file sets keys outside of its group, too, and so does that of a real run.
        settings = settings.get("problem") or settings.get("runtime") or settings
        if "_target_" not in settings:
            continue
        name = str(path.relative_to(conf))
        for key, parameter in inspect.signature(get_method(settings.pop("_target_"))).parameters.items():
            value = settings.get(key, parameter.default)
            literal = not (isinstance(value, str) and value.startswith(("${", "???")))
            if parameter.default is not parameter.empty and literal and (name, key) not in exceptions:
                assert value == parameter.default, f"{name}: {key}"
                compared += 1
    assert compared > 25
