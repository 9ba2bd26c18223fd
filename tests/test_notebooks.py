"""The notebooks run from a clean kernel, and are kept with what they showed when they ran."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

# Less to compute: a notebook is to run and to show the same kinds of output, not the same numbers.
SMALLER = {
    "delay_of_one": {
        "UPDATES, DELAYS, SEEDS = 300, [0, 1], 6": "UPDATES, DELAYS, SEEDS = 20, [0, 1], 3",
        "[0.0025, 0.005, 0.01, 0.02]": "[0.0025, 0.005]",
        "[0.005, 0.01, 0.02, 0.04]": "[0.005, 0.01]",
    },
    "quickstart": {"num_updates=600": "num_updates=60", "delays = (0, 5, 20, 80)": "delays = (0, 5)"},
    "rates": {
        "K = 5_000": "K = 1_000",
        "316,1000,3162,10000 staleness=0,2,4,8,16,32,64": "32,100,316 staleness=0,8",
        "range(8)": "range(2)",
    },
    "record_and_replay": {"num_updates=2_000": "num_updates=300", "range(4)": "range(2)"},
}
FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_runs_and_shows_the_same_kinds_of_output(name, monkeypatch):
    """Slow: a kernel starts and imports everything, and one notebook starts a sweep."""
    # As for a reader: precision and devices are the notebook's own, not those of the tests.
    monkeypatch.delenv("JAX_ENABLE_X64", raising=False)
    kept = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    for before, after in SMALLER[name].items():
        cells = [cell for cell in _code(notebook) if before in cell.source]
        assert cells, before
        for cell in cells:
            cell.source = cell.source.replace(before, after)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    for cell, before in zip(_code(notebook), _code(kept), strict=True):
        assert _kinds(cell) == _kinds(before), cell.source


def _kinds(cell):
    """Returns what a cell shows, in kind: a picture, a table, text; warnings and errors are none of them."""
    return [sorted(output.get("data", {"text": output.get("name")})) for output in cell.outputs]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_is_kept_as_it_ran_from_top_to_bottom(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = _code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
