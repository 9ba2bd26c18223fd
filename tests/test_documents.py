"""What README, the site and docstrings show must run, name what exists, and leave out nothing public."""

import ast
import doctest
import html.parser
import importlib
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys
import types

import hydra
import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

from asyncopt.run import execute, settings

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "how_to").glob("*.md"))]
_COMMANDS = {
    "report": "report",
    "curves": "curves",
    "compare": "compare",
    "fit": "fit",
    "verify": "verify",
    "paired": "report.paired",
}
# Where the public names are.
PACKAGES = ["", ".analysis", ".optim", ".problems", ".engine", ".problems.data", ".runtime", ".theory", ".traces"]


def _blocks(language):
    found = {page: re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL) for page in PAGES}
    return [pytest.param(page, blocks, id=page.stem) for page, blocks in found.items() if blocks]


@pytest.mark.parametrize(("page", "blocks"), _blocks("python"))
def test_python_on_a_page_runs_from_top_to_bottom(page, blocks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if "load_runs(" in "".join(blocks):  # of a sweep, which a reader has made before, and larger
        with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
            small = ["trace.num_updates=100", "seeds=1", "plot=false", "progress=false"]
            execute.run(hydra.compose("config", small), "multirun/staleness/0")
    names = {}
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)


def _command_lines():
    lines = []
    for page, blocks in (parameters.values for parameters in _blocks("sh")):
        typed = "".join(blocks).replace("\\\n", " ").splitlines()
        lines += [pytest.param(line, id=f"{page.stem}: {line[:60].strip()}") for line in typed if line.strip()]
    return lines


@pytest.mark.parametrize("line", _command_lines())
def test_command_lines_on_a_page_are_accepted(line):
    words = shlex.split(line, comments=True)
    if words[0] == "asyncopt":
        words = ["python", "-m", *([f"asyncopt.{_COMMANDS[words[1]]}", *words[2:]] if words[1] in _COMMANDS else words)]
    if words[:3] == ["python", "-m", "asyncopt"]:
        _check_overrides([word for word in words[3:] if word not in ("-m", "--help", "--version")])
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
    elif words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[0] == "python":
        assert (ROOT / words[1]).exists()
    else:
        assert words[0] in ("git", "pip", "sudo"), "a command that nobody checks"


def _check_overrides(overrides):
    """Composes one job: of several values the first."""
    chosen = [key + "=" + _first(value) for key, _, value in (word.partition("=") for word in overrides)]
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = hydra.compose("config", [word for word in chosen if "$" not in word], return_hydra_config=True)
        swept = {key: _first(str(value)) for key, value in (config.hydra.sweeper.params or {}).items()}
        typed = {word.partition("=")[0] for word in chosen}
        chosen += [f"{key}={value}" for key, value in swept.items() if key not in typed]
        config = hydra.compose("config", [word for word in chosen if not word.startswith("hydra")])
    settings.checked(config)


def _first(values):
    """Returns the first of several values; lists are in brackets, mappings in braces."""
    if values.startswith("["):
        return values[: values.index("]") + 1]
    return values if values.startswith("{") else values.split(",")[0]


def test_files_named_in_readme_exist():
    for name in re.findall(r"\]\(([^)h][^)]*)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / name).exists(), name


def test_the_site_is_built_without_a_warning_and_whole(tmp_path):
    """One test, since the site takes a while to build. Slow: Sphinx imports the package and renders all pages."""
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        str(ROOT / "docs"),
        str(tmp_path),
    ]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    _check_links(tmp_path)
    _check_every_public_name_is_there(tmp_path)


def _check_links(site):
    """Links within the site lead somewhere."""
    checked = 0
    pages = {page: _page(page) for page in sorted(site.rglob("*.html"))}
    for page, (links, _) in pages.items():
        for link in links:
            target, _, anchor = link.partition("#")
            target = target.partition("?")[0]
            if ":" in target:
                continue
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), f"{page.relative_to(site)}: {link}"
            if anchor and path in pages:
                assert anchor in pages[path][1], f"{page.relative_to(site)}: {link}"
            checked += 1
    assert checked > 500


def _page(path):
    """Returns the links and the anchors of a page."""
    links, anchors = [], set()

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            found = dict(attrs)
            links.extend(found[key] for key in ("href", "src") if found.get(key))
            anchors.update(found[key] for key in ("id", "name") if found.get(key))

    Parser().feed(path.read_text())
    return links, anchors


def _check_every_public_name_is_there(site):
    from sphinx.util.inventory import InventoryFile

    with open(site / "objects.inv", "rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    on_site = {name.rpartition(".")[2] for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    for package in PACKAGES:
        module = importlib.import_module(f"asyncopt{package}")
        for name in module.__all__:
            public = getattr(module, name)
            assert public.__doc__, f"asyncopt{package}.{name}"
            described_elsewhere = isinstance(public, types.ModuleType | types.UnionType) or name.isupper()
            assert described_elsewhere or name in on_site, f"asyncopt{package}.{name} is not on the page API"


@pytest.mark.parametrize(
    "module",
    ["apam", "delay", "lookahead_nesterov", "parametric", "restart", "scale_steps_by_delay", "scale_steps_by_stage"],
)
def test_docstring_examples(module):
    results = doctest.testmod(importlib.import_module(f"asyncopt.optim.{module}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_importing_the_package_pulls_in_nothing_heavy():
    code = (
        "import sys, asyncopt, asyncopt.optim; asyncopt.apam(0.1);"
        "sys.exit(any(m in sys.modules for m in ('matplotlib', 'hydra', 'pandas', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_imports_neither_pandas_nor_scikit_learn(tmp_path):
    code = f"""
import pathlib, sys
import numpy as np
from asyncopt.files import records
from asyncopt.run import command_line, execute
columns = {{"step": np.arange(3), "gap": np.array([1.0, np.nan, 0.5])}}
records.save(pathlib.Path({str(tmp_path)!r}), records.Record({{}}, columns, {{}}))
sys.exit(", ".join(name for name in ("matplotlib", "pandas", "sklearn") if name in sys.modules))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == ""


def test_only_problems_that_need_a_solver_import_one():
    code = "import sys, asyncopt; asyncopt.problems.quadratic(3); sys.exit('scipy.optimize' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_core_needs_no_package_for_files_figures_and_the_command_line():
    """What docs/getting_started.md says of a small installation."""
    missing = ["hydra", "matplotlib", "omegaconf", "pandas", "PIL", "pyarrow", "sklearn", "yaml"]
    code = f"""
import sys
sys.modules.update(dict.fromkeys({missing}))
import asyncopt, optax
trace = asyncopt.traces.cluster(50, 4)
print(asyncopt.replay(asyncopt.problems.quadratic(5), asyncopt.apam(0.1), trace, seeds=2, record_bounds=True))
late = optax.chain(asyncopt.delay_gradients(3), optax.sgd(0.1))
late.update(1.0, late.init(1.0))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("Result(50 updates, 2 seeds, ")


def test_first_lines_of_properties_are_shown_whole():
    """Napoleon takes what is before a colon there for a type."""
    for path in (ROOT / "asyncopt").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any("property" in ast.unparse(d) for d in node.decorator_list):
                first = (ast.get_docstring(node) or "").split("\n")[0]
                assert ": " not in first.replace("``", ""), f"{path}: {node.name}: {first}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_symbol_is_taken_for_emphasis(page):
    """Markdown takes `‖_1 ... x_{k+1}` for the two ends of an emphasis; `‖\\_1` is right."""
    parser = MarkdownIt().enable("table").use(dollarmath_plugin)
    for block in parser.parse(page.read_text()):
        inside = False
        for token in block.children or []:
            inside = token.type == "em_open" or (inside and token.type != "em_close")
            assert not (inside and set(token.content) & set("_‖{}∇Σ⟨⟩")), token.content
