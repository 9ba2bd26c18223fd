"""``python -m asyncopt.compare`` on runs of ``python -m asyncopt``: comparisons that misled before."""

import json
import re
import shutil

import pytest

from asyncopt.analysis import CONFIRMED, VIOLATED
from asyncopt.analysis.verdict import NOT_COMPARABLE
from asyncopt.files import records
from asyncopt.report import comparing

SWEEP = (
    "-m", "problem=quadratic", "problem.dimension=10", "problem.condition_number=10", "problem.noise=0.3",
    "trace=cluster", "optimizer.schedule=constant",
    "trace.num_updates=300", "trace.num_workers=4", "+clock=steady", "seeds=8",
    "eval_every=percent", "plot=false", "progress=false", "hydra/launcher=asyncopt_vectorized",
)  # fmt: skip
GRID = "0.00316,0.01,0.0316,0.1,0.316,1.0"


def sweep(command_lines, folder, *overrides):
    status, errors = command_lines(*SWEEP, *overrides, folder=folder.parent)
    assert status == 0, errors


def report(folder, capsys):
    assert comparing.main([str(folder), "--progress", "0.9"]) == 0
    (facts,) = json.loads((folder / "report" / "comparison.json").read_text())["comparisons"]
    verdicts = [verdict for verdict in facts["verdicts"] if "reaches the target" in verdict["claim"]]
    return capsys.readouterr().out, verdicts


@pytest.fixture(scope="module")
def whole(tmp_path_factory, command_lines):
    """Runs of both methods on the whole grid."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    grid = ("+method=apam,sgd", f"optimizer.learning_rate={GRID}", f"hydra.sweep.dir={folder}")
    sweep(command_lines, folder, *grid)
    return folder


def of(method, folder):
    """The folders of the runs of a method, with their step sizes."""
    runs = [(folder / name, record) for name, record in records.load_records(folder)]
    return {run: one.config["optimizer"]["learning_rate"] for run, one in runs if one.labels["method"] == method}


def test_a_rival_that_is_tuned_to_the_edge(whole, tmp_path, capsys, command_lines):
    """With steps up to 0.0316 SGD seemed slower than APAM, confirmed; the whole grid shows that it is faster."""
    _, (verdict,) = report(whole, capsys)
    assert verdict["outcome"] == VIOLATED
    folder = tmp_path / "sweep"
    for method in ("APAM", "SGD"):
        for run, rate in of(method, whole).items():
            if rate < 0.05:
                shutil.copytree(run, folder / run.name)
    said, (verdict,) = report(folder, capsys)
    assert verdict["outcome"] == NOT_COMPARABLE
    assert verdict["low"] > 1  # "confirmed", if the edge did not count
    assert "SGD's best step size, 0.0316, is the largest of its grid" in verdict["rule"]
    assert "⊘" in said
    (override,) = re.findall(r"optimizer.learning_rate=\S+ hydra.sweep.dir=\S+", said)
    assert override == f"optimizer.learning_rate=0.1,0.316 hydra.sweep.dir={folder}/wider"
    sweep(command_lines, folder, "+method=apam,sgd", *override.split())
    said, (verdict,) = report(folder, capsys)
    assert "SGD's best step size, 0.0316" not in said
    assert verdict["outcome"] != CONFIRMED
    assert verdict["measured"] < 1


def test_a_rival_on_a_slower_cluster(whole, tmp_path, capsys, command_lines):
    """With ``trace.compute.mean=2`` for the rival alone, its ✗ turned into APAM's ✓."""
    folder = tmp_path / "sweep"
    for run in of("APAM", whole):
        shutil.copytree(run, folder / run.name)
    slower = ("+method=sgd", f"optimizer.learning_rate={GRID}", "trace.compute.mean=2.0")
    sweep(command_lines, folder, *slower, f"hydra.sweep.dir={folder}/slower")
    said, verdicts = report(folder, capsys)
    assert verdicts == []
    assert "✓" not in said.partition("| gradients take")[2]
    assert "Kept apart" in said
    assert re.search(
        r"SGD with constant times \(compute mean = 2\), from the runs of APAM *\| compute.mean: 2, not 1", said
    )
