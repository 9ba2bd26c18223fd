"""Random command lines: each runs what it says, or is refused in at most three lines."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import yaml

from asyncopt.files import records

IN_THE_SUITE = 24
SECONDS = 90  # the longest of them compiles a network
# Options of each group. Networks of a minute's compilation, and Ray, which has tests of its own, are left out.
GROUPS = {
    "problem": [
        "logistic", "nonconvex_logistic", "robust_regression", "least_squares", "quadratic", "hard_instance", "lenet5",
        "perceptron",
    ],
    "data": ["digits", "breast_cancer", "diabetes", "digits_images", "fashion_mnist", "rcv1", "libsvm", "mnist"],
    "optimizer": [
        "apam", "apam_deep", "sgd", "adam", "adamw", "lion", "lookahead_nesterov", "momentum", "muon", "nadamw",
    ],
    "trace": [
        "uniform", "constant", "cyclic", "geometric", "pareto", "cluster", "rounds", "shared_memory", "synchronous",
        "file", "recorded",
    ],
    "runtime": ["replay", "threads"],
    "+constraint": ["box", "l2_ball"],
    "+handling": [
        "buffer_updates", "compensate_delay", "drop_stale", "restart", "rotate_basis", "scale_steps_by_delay",
        "scale_steps_by_stage",
    ],
    "+method": ["apam", "sgd", "momentum_sgd", "synchronous_amsgrad", "synchronous_amsgrad_half"],
    "+clock": ["random", "steady", "straggler"],
}  # fmt: skip
KEYS = [
    "seeds", "staleness", "eval_every", "average", "record_bounds", "precision", "param_dtype", "history_dtype",
    "threads", "constraint", "handling", "progress", "force", "plot", "checkpoint_seconds", "compilation_cache",
    "trace.num_updates", "trace.max_delay", "trace.delay", "trace.mean_delay", "trace.shape", "trace.seed",
    "trace.num_workers", "trace.stragglers", "trace.slowdown", "trace.take", "trace.compute.mean",
    "trace.compute.distribution", "trace.compute.shape", "trace.server", "trace.path", "trace.num_blocks",
    "optimizer.learning_rate", "optimizer.schedule", "optimizer.b1", "optimizer.b2", "optimizer.eps",
    "optimizer.bias_correction", "optimizer.momentum", "optimizer.constraint", "optimizer._target_",
    "problem.l2", "problem.batch_size", "problem.intercept", "problem.init_scale", "problem.dimension",
    "problem.condition_number", "problem.noise", "problem.data", "problem.sign", "problem.width",
    "constraint.lower", "constraint.upper", "constraint.radius", "constraint.center", "handling.size",
    "handling.exponent", "handling.strength", "handling.decay", "handling.max_delay", "handling.rule",
    "handling.parameter", "handling.every", "runtime.workers", "runtime.synchronous", "runtime.reads",
    "runtime.compute", "runtime.seed", "data", "+new", "+optimizer.new", "~seeds", "~trace.seed",
]  # fmt: skip
VALUES = [
    "0", "1", "2", "3", "5", "20", "-1", "0.5", "1e-3", "1.0", "1e30", "1e-320", "1e400", "nan", "inf", "-inf", "true",
    "false", "null", "''", "x", "[]", "[0]", "[0,1]", "[0,0]", "[1.5]", "{}", "{a:1}", "float32", "float64", "bfloat16",
    "int8", "K**0.5", "K**9", "'1+'", "inverse_sqrt", "constant", "pareto", "box", "percent", "full", "power", "blocks",
    "digits", "optax.sgd", "os.system", "/nonexistent", "${seeds}", "${nowhere}", "???", "999999999999", "1_0", "'K'",
]  # fmt: skip
SHORT = ["trace.num_updates=60", "trace.num_updates=7", "trace.num_updates=1"]
QUIET = ["progress=false", "plot=false", "seeds=2"]


def command_line(number):
    """Returns the overrides with this number: always the same ones."""
    draw = np.random.default_rng(number)
    groups = [
        f"{group}={draw.choice(options)}"
        for group, options in GROUPS.items()
        if draw.random() < (0.15 if group.startswith("+") else 0.4)
    ]
    groups = [one for one in groups if one != "trace=recorded" or draw.random() < 0.2]
    keys = draw.choice(KEYS, size=draw.integers(0, 4), replace=False)
    settings = [key if key.startswith("~") else f"{key}={draw.choice(VALUES)}" for key in keys]
    given = {one.partition("=")[0] for one in settings}
    defaults = [one for one in [str(draw.choice(SHORT)), *QUIET] if one.partition("=")[0] not in given]
    if {"problem=lenet5", "problem=perceptron"} & set(groups):
        defaults.append("problem.objective_images=100")  # F over 60,000 images takes a minute
    return [*defaults, *groups, *map(str, settings)]


def pytest_generate_tests(metafunc):
    if "number" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--fuzz")
        metafunc.parametrize("number", range(IN_THE_SUITE if asked is None else asked))


def test_a_random_command_line(number, start_command_line, tmp_path):
    overrides = command_line(number)
    command = start_command_line(*overrides, "hydra.run.dir=out", folder=tmp_path)
    if command.runs_for(SECONDS):
        command.kill()
        pytest.fail(f"still runs after {SECONDS} s: {overrides}")
    status, _, errors = command.end()
    assert "Traceback" not in errors, (overrides, errors)
    if status == 0:
        check_run(tmp_path / "out", overrides)
    else:
        assert status in (1, 2), (overrides, status, errors)
        said = [line for line in errors.splitlines() if "Warning: " not in line and line.strip()]
        assert 1 <= len(said) <= 3, (overrides, errors)
        assert all(len(line) < 1000 for line in said), (overrides, errors)


def check_run(folder, overrides):
    """A run that succeeded must be the one that was asked for, and have a number wherever it did not diverge."""
    config = yaml.safe_load((folder / records.CONFIG).read_text())
    summary = json.loads((folder / records.SUMMARY).read_text())
    for override in overrides:
        key, _, text = override.partition("=")
        if key.split(".")[0].lstrip("+~") in {name.lstrip("+") for name in GROUPS} | {"data"} and "." not in key:
            continue  # an option of a group: the name of a file
        if key.startswith("~") or f"~{key}" in overrides:
            continue
        value = yaml.safe_load(text) if text != "???" else text
        node = config
        for part in key.lstrip("+").split("."):
            node = node[part]
        assert "$" in text or _same(node, value, text), (overrides, key, node)
    metrics = pd.read_parquet(folder / records.METRICS)
    seeds = config["seeds"]
    assert metrics["seed"].nunique() == (seeds if isinstance(seeds, int) else len(set(seeds))), overrides
    assert metrics["step"].max() == summary["trace"]["num_updates"] == config["trace"]["num_updates"], overrides
    for seed, at in summary["diverged_at"].items():
        rows = metrics[metrics["seed"] == int(seed)]
        before = rows[rows["step"] <= (at if at >= 0 else np.inf)]
        assert np.isfinite(before["objective"]).all(), overrides


def _same(found, asked, text):
    """Whether a value in config.yaml is what was typed; YAML reads 1e-3 as text."""
    try:
        return float(found) == float(text) or math.isnan(float(text))
    except (TypeError, ValueError):
        return found == asked or str(found) == text.strip("'")
