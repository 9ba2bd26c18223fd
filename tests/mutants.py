"""Small mistakes, put into the code one at a time: do the tests notice them?

    python -m tests.mutants traces [--sample 60] [--seed 0]

Each mistake is made by `cosmic-ray <https://cosmic-ray.readthedocs.io>`_ in a copy of the tree, and the tests of the
room run there until one fails. A random sample is taken, since all of them would take days. What no test noticed is
printed as a difference, with the share of the noticed ones and its 95 % interval.
"""

import argparse
import difflib
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

import scipy.stats
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = pathlib.Path(__file__).parents[1]
COPIED = ("asyncopt", "conf", "sweeps", "tests", "hydra_plugins", "pyproject.toml", "figures", "docs", "benchmarks")
# Of each room: the files, and the tests that are about them.
ROOMS = {
    "traces": ("asyncopt/traces/*.py", ["tests/traces"]),
    "plan": ("asyncopt/engine/plan.py", ["tests/engine/test_plan.py", "tests/engine/test_against_naive.py"]),
    "theory": ("asyncopt/theory/*.py", ["tests/theory", "tests/engine/test_certificates.py"]),
    "analysis": ("asyncopt/analysis/*.py", ["tests/analysis", "tests/report"]),
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
# Exit statuses of pytest that say something: all passed, one failed, a file could not be imported.
STATUSES = {0: False, 1: True, 2: True}
LIMIT = 900  # seconds; a loop that no longer ends counts as noticed


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


def is_noticed(tree, path, changed, tests):
    """Runs the tests with another content of a file, and puts it back; returns whether one failed or did not end.

    Where pytest itself could not run, nothing is known about the tests: that ends the program.
    """
    whole = (tree / path).read_text()
    (tree / path).write_text(changed)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", *tests]
    try:
        ended = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return True
    finally:
        (tree / path).write_text(whole)
    if ended.returncode not in STATUSES:
        sys.exit(f"pytest ended with {ended.returncode} after a mistake in {path}:\n{changed}\n{ended.stdout[-2000:]}")
    return STATUSES[ended.returncode]


def main():
    """Takes a sample of the mistakes in one room, and prints those that no test noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pattern, tests = ROOMS[options.room]
    mistakes = all_mistakes(pattern)
    chosen = random.Random(options.seed).sample(mistakes, min(options.sample, len(mistakes)))
    noticed = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tree / name)
        if is_noticed(tree, chosen[0][0], (tree / chosen[0][0]).read_text(), tests):
            sys.exit("the tests fail without any mistake")
        for path, name, number in chosen:
            before = (ROOT / path).read_text()
            after = mutate_code(before, get_operator(f"core/{name}")(), number)
            if is_noticed(tree, path, after, tests):
                noticed += 1
            else:
                lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), name, n=1, lineterm="")
                print("\n".join(lines), flush=True)
    low, high = scipy.stats.binomtest(noticed, len(chosen)).proportion_ci(method="wilson")
    print(f"{options.room}: {noticed} of {len(chosen)} noticed, {low:.0%} to {high:.0%}; {len(mistakes)} can be made")


if __name__ == "__main__":
    main()
