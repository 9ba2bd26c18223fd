"""The same sweep in worker processes of joblib, submitit and Ray: one table."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest

import asyncopt
from asyncopt import engines

SWEEP = [
    "-m", "problem=quadratic", "seeds=2", "trace.num_updates=60", "trace.max_delay=0,5",
    "optimizer.bias_correction=true,false", "progress=false", "plot=false",
]  # fmt: skip
# submitit looks only every few seconds whether something has ended: it is tested by a sweep, below.
ENGINES = {
    "joblib": lambda: engines.Joblib(2),
    "ray": lambda: engines.Ray(None, num_cpus=1, num_gpus=0),
}
# Ray and submitit leave sockets and files to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def dies():
    os._exit(3)


def fails():
    raise ValueError("no such thing")


@pytest.mark.parametrize("name", ENGINES)
def test_functions_run_in_other_processes(name, tmp_path):
    found = dict(ENGINES[name]().run([os.getpid, os.getpid, fails], str(tmp_path)))
    assert set(found) == {0, 1, 2}
    assert os.getpid() not in (found[0], found[1])
    assert isinstance(found[0], int)
    assert isinstance(found[2], ValueError)
    assert "no such thing" in str(found[2])


@pytest.mark.parametrize("name", ENGINES)
def test_a_process_that_dies_is_a_failure_and_not_a_hang(name, tmp_path):
    found = dict(ENGINES[name]().run([dies], str(tmp_path)))
    assert isinstance(found[0], Exception)


@pytest.fixture(scope="module")
def table(tmp_path_factory, command_lines):
    """What Hydra's own launcher gives."""
    return made("basic", tmp_path_factory.mktemp("basic"), command_lines)


def made(launcher, folder: pathlib.Path, command_lines) -> pd.DataFrame:
    status, errors = command_lines(*SWEEP, f"hydra/launcher={launcher}", "hydra.sweep.dir=out", folder=folder)
    assert status == 0, errors
    return asyncopt.load_runs(folder / "out")


LAUNCHERS = [
    "asyncopt_vectorized", "asyncopt_joblib", "asyncopt_submitit_local", "asyncopt_ray", "joblib", "submitit_local",
]  # fmt: skip


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_launcher_gives_the_same_table(launcher, table, tmp_path, command_lines):
    found = made(launcher, tmp_path, command_lines)
    assert list(found) == list(table)
    for column in table:
        if table[column].dtype.kind == "f":
            np.testing.assert_allclose(found[column], table[column], rtol=1e-10, atol=1e-14)
        else:
            assert found[column].equals(table[column])


def test_slurm_is_asked_for_an_array(tmp_path, command_lines):
    """Without Slurm here: a message that says so, and nothing that hangs."""
    status, errors = command_lines(*SWEEP, "hydra/launcher=asyncopt_slurm", "hydra.sweep.dir=out", folder=tmp_path)
    assert status == 1
    assert "slurm" in errors.lower()
    assert "Traceback" not in errors
