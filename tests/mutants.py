"""Small mistakes, put into the code one at a time: do the tests notice them?

    python -m tests.mutants traces [--sample 60] [--seed 0] [--only cluster.py]

Each mistake is made by `cosmic-ray <https://cosmic-ray.readthedocs.io>`_ in a copy of the tree. A random sample is
taken, since all of them would take days, without those that can change no result. First each test file of the room runs
alone, and its calls are recorded. After a mistake, the files that call the changed function run, the fastest first,
until a test fails: the others cannot notice it. What no test noticed is printed as a difference, with the share of the
noticed ones and its 95 % interval.
"""

import argparse
import ast
import difflib
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import scipy.stats
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = pathlib.Path(__file__).parents[1]
COPIED = ("asyncopt", "conf", "sweeps", "tests", "hydra_plugins", "pyproject.toml", "figures", "docs", "benchmarks")
# Of each room: the files, and the tests that are about them.
ROOMS = {
    "traces": ("asyncopt/traces/**/*.py", ["tests/traces"]),
    "plan": ("asyncopt/engine/plan.py", ["tests/engine/test_plan.py", "tests/engine/test_against_naive.py"]),
    "theory": ("asyncopt/theory/*.py", ["tests/theory", "tests/engine/test_certificates.py"]),
    "analysis": ("asyncopt/analysis/*.py", ["tests/analysis", "tests/report", "tests/figures/test_reported.py"]),
}
# One partner for each sign: a sign has ten others, and most of those end the program at once.
OPERATORS = [
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Pow_Mul", "Mod_FloorDiv", "BitAnd_BitOr")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_Gt", "LtE_GtE", "Is_IsNot", "IsNot_Is")),
    "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not", "AddNot", "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop",
]  # fmt: skip
# Arguments that change no result: where a warning points to, and guards against mistakes in lengths and fields.
WITHOUT_EFFECT = re.compile(r"\b(stacklevel|strict|frozen|eq)= ?-?\w+")
# What most tests import, and what no mistake is made in.
PRELOADED = ["jax", "jax.numpy", "matplotlib.pyplot", "optax", "pandas", "pyarrow", "scipy.optimize", "scipy.stats"]
OPTIONS = ["-x", "-q", "-n0", "-p", "no:cacheprovider"]  # of pytest
# Exit statuses of pytest that say something: all passed, one failed, a file could not be imported.
STATUSES = {0: False, 1: True, 2: True}
# Python imports a module of this name when it starts, so that the processes which tests start are recorded too.
RECORDER = """
import atexit, os, sys, threading
called = set()
def record(frame, event, argument):
    called.add(frame.f_code)
def write():
    sys.settrace(None)
    with open(os.environ["CALLS"], "a") as file:
        for code in list(called):
            if code.co_filename.startswith(os.environ["CALLS_BELOW"]):
                file.write(f"{os.path.relpath(code.co_filename, os.environ['CALLS_BELOW'])}:{code.co_qualname}\\n")
if "CALLS" in os.environ:
    atexit.register(write)
    threading.settrace(record)
    sys.settrace(record)
"""


def all_mistakes(pattern):
    """Returns (path, operator, number among the operator's places in the file) for each mistake that can be made."""
    found = []
    for path in sorted(ROOT.glob(pattern)):
        nodes = list(ast_nodes(get_ast(path.read_text())))
        for name in OPERATORS:
            operator = get_operator(f"core/{name}")()
            places = sum(len(list(operator.mutation_positions(node))) for node in nodes)
            found += [(path.relative_to(ROOT), name, number) for number in range(places)]
    return found


def function_around(source, line):
    """Returns the qualified name of the innermost function whose body has a line; "<module>" if none has."""
    name = "<module>"

    def visit(node, prefix):
        nonlocal name
        for child in ast.iter_child_nodes(node):
            inside = prefix
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                inside = f"{prefix}{child.name}."
                if child.body[0].lineno <= line <= child.end_lineno:
                    name = inside[:-1]
                if isinstance(child, ast.FunctionDef):
                    inside += "<locals>."
            visit(child, inside)

    visit(ast.parse(source), "")
    return name


def first_difference(before, after):
    """Returns the number of the first line that differs."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    return next(number for number, (old, new) in enumerate(pairs, 1) if old != new)


def run_tests(tree, tests, limit=None):
    """Returns whether a test failed or did not end within ``limit`` seconds.

    Where pytest itself could not run, nothing is known about the tests: that ends the program.
    """
    # The server has imported the libraries, so that a process need not import them.
    process = multiprocessing.get_context("forkserver").Process(target=_pytest, args=(tree, tests))
    process.start()
    process.join(limit)
    if process.exitcode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return True
    if process.exitcode not in STATUSES:
        sys.exit(f"pytest ended with {process.exitcode}:\n{(tree / 'said.txt').read_text()[-2000:]}")
    return STATUSES[process.exitcode]


def _pytest(tree, tests):
    """Runs pytest on the tests of the tree, in a process group of its own, and ends the process with its status."""
    os.setpgrp()
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]  # imported with this file; the tests are those of the tree
    said = os.open(tree / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(said, stream)
    import pytest

    status = pytest.main([*OPTIONS, *tests])
    os._exit(status)


def prepare_server(tree):
    """Sets what the server imports, from which the processes of `run_tests` are forked, and their environment."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tree), os.environ.get("PYTHONPATH", "")])
    # What one of these processes has compiled, the next ones read.
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": str(tree / "compiled"), "PYTHONDONTWRITEBYTECODE": "1"}
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)


def recorded_calls(tree, tests):
    """Returns, for each test file, its seconds and the names "path:function" of what it calls; the fastest first."""
    (tree / "sitecustomize.py").write_text(RECORDER)
    files = sorted(
        path for name in tests for path in ([tree / name] if name.endswith(".py") else (tree / name).rglob("test_*.py"))
    )
    calls = {}
    for path in files:
        recorded = tree / "calls.txt"
        recorded.write_text("")
        start = time.monotonic()
        command = [sys.executable, "-m", "pytest", *OPTIONS, path]
        variables = {"CALLS": str(recorded), "CALLS_BELOW": str(tree / "asyncopt")}
        ended = subprocess.run(command, cwd=tree, env=os.environ | variables, capture_output=True, check=False)
        if ended.returncode:
            sys.exit(f"{path.relative_to(tree)} fails without any mistake")
        calls[str(path.relative_to(tree))] = time.monotonic() - start, set(recorded.read_text().split())
    return dict(sorted(calls.items(), key=lambda item: item[1][0]))


def is_noticed(tree, path, before, after, calls):
    """Runs the test files that call what differs, with the other content of a file, and puts it back."""
    called = f"{path.relative_to('asyncopt')}:{function_around(before, first_difference(before, after))}"
    tests = [test for test, (_, names) in calls.items() if called in names]
    if not tests:
        return False
    (tree / path).write_text(after)
    try:
        return run_tests(tree, tests, limit=60 + 3 * sum(calls[test][0] for test in tests))
    finally:
        (tree / path).write_text(before)


def main():
    """Takes a sample of the mistakes in one room, and prints those that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="TEXT", default="", help="only files with this in their path")
    options = parser.parse_args()
    pattern, tests = ROOMS[options.room]
    mistakes = [mistake for mistake in all_mistakes(pattern) if options.only in str(mistake[0])]
    random.Random(options.seed).shuffle(mistakes)
    noticed = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tree / name)
        prepare_server(tree)
        calls = recorded_calls(tree, tests)
        for path, name, number in mistakes:
            before = (ROOT / path).read_text()
            after = mutate_code(before, get_operator(f"core/{name}")(), number)
            if WITHOUT_EFFECT.sub("", before) == WITHOUT_EFFECT.sub("", after):
                continue
            tried += 1
            if is_noticed(tree, path, before, after, calls):
                noticed += 1
            else:
                lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), name, n=1, lineterm="")
                print("\n".join(lines), flush=True)
            if tried == options.sample:
                break
    low, high = scipy.stats.binomtest(noticed, tried).proportion_ci(method="wilson")
    print(f"{options.room}: {noticed} of {tried} noticed, {low:.0%} to {high:.0%}; {len(mistakes)} can be made")


if __name__ == "__main__":
    main()
