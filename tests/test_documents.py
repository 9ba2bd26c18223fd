"""What README and docstrings show must run."""

import doctest
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("number", [0, 1])
def test_readme_code_runs(number):
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[number]
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout


def test_files_named_in_readme_exist():
    for name in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("module", ["apam", "delay", "parametric", "staleness_aware"])
def test_docstring_examples(module):
    results = doctest.testmod(importlib.import_module(f"asyncopt.optim.{module}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_every_public_name_is_documented():
    import asyncopt

    for name in asyncopt.__all__:
        assert getattr(asyncopt, name).__doc__, name


def test_importing_the_package_pulls_in_nothing_heavy():
    code = (
        "import sys, asyncopt, asyncopt.optim; asyncopt.apam(0.1);"
        "sys.exit(any(m in sys.modules for m in ('matplotlib', 'hydra', 'pandas', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
