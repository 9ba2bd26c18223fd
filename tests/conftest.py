"""Strict settings for every test: float64, two devices, shapes checked in the rooms that are all arrays."""

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import hypothesis
import pytest

# What one test process has compiled, the others and the command lines they start need not compile again: the processes
# of one session share a folder that goes with it. The first of them makes it, before any of them imports JAX.
_OWN_CACHE = None
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _OWN_CACHE = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="asyncopt-tests-")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# NumPy's threads wait for each other in small products, the more so where test processes share the cores. For the
# processes that are started from here on: those of xdist, and those of tests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Compiling takes most of the time of a test, and half of that are XLA's optimisations. Only tests marked `optimised`,
# which are about the bits of two different programs, have them; with JAX_DISABLE_MOST_OPTIMIZATIONS=0, all tests.
FEW_OPTIMISATIONS = os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1"
# Without fusion emitters, XLA compiles fused operations in half the time. Since JAX 0.11 it has no other way.
CHOOSES_EMITTERS = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 11)
FUSION_EMITTERS = "xla_cpu_use_fusion_emitters"
# XLA hands LLVM each program in up to 32 parts, for as many threads. In one part, small ones compile a sixth faster.
PARTS = "xla_cpu_parallel_codegen_split_count"


def _set_environment(few):
    """Chooses how much the processes that are started from now on optimise their programs."""
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(few))
    flags = ["--xla_gpu_deterministic_ops=true"]  # which a command line would add, and compile its programs anew
    if CHOOSES_EMITTERS:
        flags.append(f"--{FUSION_EMITTERS}={str(not few).lower()}")
    if few:
        flags.append(f"--{PARTS}=1")
    os.environ["XLA_FLAGS"] = " ".join(flags)


_set_environment(FEW_OPTIMISATIONS)

import jax  # noqa: E402
import jax._src.compiler  # noqa: E402
import jax._src.lru_cache  # noqa: E402
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)

_get_compile_options = jax._src.compiler.get_compile_options


def _options_of_the_test(*arguments, env_options_overrides=None, **more):
    """JAX's options of the compiler, chosen as `_set_environment` does: XLA reads its flags only once."""
    few = jax.config.values["jax_disable_most_optimizations"]
    overrides = ({FUSION_EMITTERS: not few} if CHOOSES_EMITTERS else {}) | {PARTS: 1 if few else 32}
    overrides |= dict(env_options_overrides or {})
    return _get_compile_options(*arguments, env_options_overrides=overrides, **more)


jax._src.compiler.get_compile_options = _options_of_the_test


def _put_whole(self, key, value):
    """Writes a compiled program for other processes. JAX writes it in place, where one may read half of it."""
    path = self.path / f"{key}-cache"
    if not path.exists():
        partial = self.path / f"{key}.{os.getpid()}"
        partial.write_bytes(value)
        partial.replace(path)


jax._src.lru_cache.LRUCache.put = _put_whole

# The same examples in every run, and no limit of time for one: what passes once passes again.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")

# Annotated shapes and dtypes are checked at run time here, and only here: users need not pay for it. Where bad
# input must give our own message, the checker is left out, since it would speak first.
install_import_hook(
    [
        "asyncopt.problems.logistic",
        "asyncopt.problems.logistic_optimum",
        "asyncopt.problems.problem",
        "asyncopt.problems.quadratic",
        "asyncopt.engine.loop",
        "asyncopt.engine.apam_probe",
        "asyncopt.engine.measure",
        "asyncopt.engine.plan",
        "asyncopt.engine.state",
    ],
    "beartype.beartype",
)


def pytest_xdist_auto_num_workers(config):
    """One more than there are cores: many tests wait for processes that they start. Each may take 4 GB of memory."""
    del config
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_modifyitems(items):
    """Lets tests compile in the same way one after the other, the longest first."""
    items.sort(key=lambda item: (item.get_closest_marker("optimised") is None, "test_ray" not in item.nodeid))


def pytest_runtest_setup(item):
    """Chooses how much programs are optimised; what was compiled otherwise before is compiled anew."""
    few = FEW_OPTIMISATIONS and item.get_closest_marker("optimised") is None
    _set_environment(few)
    if jax.config.values["jax_disable_most_optimizations"] != few:
        jax.config.update("jax_disable_most_optimizations", few)
        jax.clear_caches()


def pytest_addoption(parser):
    """Adds what can be had more of than the suite has time for."""
    parser.addoption("--kills", type=int, default=1, help="how often each command is killed on its way")
    parser.addoption(
        "--fuzz", type=int, default=None, help="random inputs for each test of tests/fuzz, other ones each time"
    )


def pytest_configure(config):
    """Lets tests/fuzz look at as many inputs as asked, which no run before has seen."""
    number = config.getoption("--fuzz")
    if number is not None:
        hypothesis.settings.register_profile(
            "fuzz", max_examples=number, derandomize=False, database=None, deadline=None
        )
        hypothesis.settings.load_profile("fuzz")


@pytest.fixture(scope="session")
def digits():
    """The default problem; its optimum is worth computing once."""
    import asyncopt

    return asyncopt.problems.logistic("digits")


# Imports everything once; each command line is then run by a child of its own, as a new process would.
SERVER = """
import gc, json, os, runpy, sys
import asyncopt.run.execute
import hydra._internal.utils
hydra._internal.utils.is_under_debugger = lambda: False  # it goes through all modules, which takes 0.25 s each time
gc.freeze()  # or a child would copy each page of memory that its garbage collector looks at
for line in sys.stdin:
    request = json.loads(line)
    if isinstance(request, int):
        ended, status = os.waitpid(request, os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if ended else None), flush=True)
        continue
    folder, written, overrides = request
    child = os.fork()
    if not child:
        os.chdir(folder)
        for number, name in zip((1, 2), written):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv[1:] = overrides
        runpy.run_module("asyncopt", run_name="__main__", alter_sys=True)
        os._exit(0)
    print(json.dumps(child), flush=True)
"""


class CommandLine:
    """A command line that runs in a process of its own, in a folder where it leaves ``stdout`` and ``stderr``."""

    def __init__(self, ask, overrides, folder):
        self._ask, self._status = ask, None
        self._written = [folder / name for name in ("stdout", "stderr")]
        self._process = ask([str(folder), [str(path) for path in self._written], list(overrides)])

    def poll(self):
        """Returns the exit status, or None while it runs."""
        if self._status is None:
            self._status = self._ask(self._process)
        return self._status

    def runs_for(self, seconds):
        """Waits so long, or until it has ended; returns whether it still runs."""
        until = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        return self.poll() is None

    def kill(self, number=signal.SIGKILL):
        """Ends it at once, whatever it does, or sends it another signal."""
        os.kill(self._process, number)

    def end(self):
        """Waits; returns exit status, standard output, standard error."""
        while self.poll() is None:
            time.sleep(0.005)
        return self._status, *(path.read_text() for path in self._written)


@pytest.fixture(scope="session")
def start_command_line():
    """Starts command lines without the seconds that imports take each time."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def ask(request):
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
            return json.loads(server.stdout.readline())

        yield lambda *overrides, folder: CommandLine(ask, overrides, folder)
        server.stdin.close()


@pytest.fixture(scope="session")
def command_lines(start_command_line):
    """Runs command lines; returns exit status and standard error."""

    def run_to_its_end(*overrides, folder):
        status, _, errors = start_command_line(*overrides, folder=folder).end()
        return status, errors

    return run_to_its_end


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
