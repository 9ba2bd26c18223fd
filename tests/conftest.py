"""Strict settings for every test: float64, two devices, shapes checked in the rooms that are all arrays."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import hypothesis
import pytest

# What one test process has compiled, the others and the command lines they start need not compile again: the processes
# of one session share a folder that goes with it. The first of them makes it, before any of them imports JAX.
_OWN_CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _OWN_CACHE = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="asyncopt-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import jax  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)

# The same examples in every run: what passes once passes again.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

# Annotated shapes and dtypes are checked at run time here, and only here: users need not pay for it. Where bad
# input must give our own message, the checker is left out, since it would speak first.
install_import_hook(
    [
        "asyncopt.problems.logistic",
        "asyncopt.problems.logistic_optimum",
        "asyncopt.problems.problem",
        "asyncopt.problems.quadratic",
        "asyncopt.replay.engine",
        "asyncopt.replay.measure",
        "asyncopt.replay.plan",
    ],
    "beartype.beartype",
)


def pytest_addoption(parser):
    """Adds what the tests of resuming take."""
    parser.addoption("--kills", type=int, default=1, help="how often each command is killed on its way")


@pytest.fixture(scope="session")
def digits():
    """The default problem; its optimum is worth computing once."""
    import asyncopt

    return asyncopt.problems.logistic("digits")


# Imports everything once; each request is then run by a child of its own, as a new process would.
SERVER = """
import json, os, runpy, sys
import asyncopt.experiment
for line in sys.stdin:
    folder, overrides = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv[1:] = overrides
        runpy.run_module("asyncopt", run_name="__main__", alter_sys=True)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def command_lines():
    """Runs command lines without the seconds that imports take each time; returns exit status and standard error."""
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:

        def run_in_child(*overrides, folder):
            server.stdin.write(json.dumps([str(folder), overrides]) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline()), (folder / "stderr").read_text()

        yield run_in_child
        server.stdin.close()


@pytest.fixture
def compiled_anew():
    """For tests that a program compiled twice is the same: nothing is taken from the session's folder."""
    for use_folder in (False, True):
        jax.config.update("jax_enable_compilation_cache", use_folder)
        compilation_cache.reset_cache()  # or JAX would not look at the setting again
        if not use_folder:
            yield


def pytest_sessionfinish():
    """Removes the folder of compiled programs with the process that made it."""
    if _OWN_CACHE is not None:
        shutil.rmtree(_OWN_CACHE, ignore_errors=True)
