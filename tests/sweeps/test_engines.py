"""The same sweep in worker processes of joblib, submitit and Ray: one table."""

import os
import pathlib

import numpy as np
import pandas as pd
import pytest

import asyncopt
from asyncopt.sweeps import engines

SWEEP = [
    "-m", "problem=quadratic", "seeds=2", "trace.num_updates=60", "trace.max_delay=0,5",
    "progress=false", "plot=false",
]  # fmt: skip
# Ray and submitit leave sockets and files to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


# submitit looks only every few seconds whether something has ended: it is tested by a sweep alone.
def dies():
    os._exit(3)


def fails():
    raise ValueError("no such thing")


def test_functions_run_in_processes_of_joblib():
    check(dict(engines.Joblib(2).run([os.getpid, os.getpid, fails], folder="")))


def test_a_process_that_dies_under_joblib_is_a_failure_and_not_a_hang():
    (found,) = engines.Joblib(2).run([dies], folder="")
    assert found[0] == 0
    assert isinstance(found[1], Exception)


def test_functions_run_in_processes_of_ray_and_may_die():
    """Slow: Ray starts."""
    found = dict(engines.Ray(None, num_cpus=1, num_gpus=0).run([os.getpid, os.getpid, fails, dies], folder=""))
    assert isinstance(found.pop(3), Exception)
    check(found)


def check(found):
    assert set(found) == {0, 1, 2}
    assert os.getpid() not in (found[0], found[1])
    assert isinstance(found[0], int)
    assert isinstance(found[2], ValueError)
    assert "no such thing" in str(found[2])


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
    """Slow: each launcher starts processes of its own, which import JAX."""
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
