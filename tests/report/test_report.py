"""``python -m asyncopt.report``, from runs on disk: what must be confirmed, what must not, and bad input."""

import functools
import html
import json
import random
import re
import shutil
import subprocess
import sys
import time
import types

import numpy as np
import pandas as pd
import pytest

import asyncopt
from asyncopt.analysis import CONFIRMED, CONSISTENT, INCONCLUSIVE, NOT_TESTED, VIOLATED
from asyncopt.analysis.verdict import NOT_CLAIMED, NOT_COMPARABLE, OUTCOMES
from asyncopt.report import theorems
from tests import sweep
from tests.analysis import synthetic

RULES = (0, "K**0.25", "K**0.75")
UPDATES = "updates to accuracy, over those without delay,"


def verdicts(folder, output, **options):
    theorems.report(folder, output, **options)
    (study,) = json.loads((output / "verdicts.json").read_text())["studies"]
    return {verdict["claim"]: verdict for verdict in study["verdicts"]}


def outcomes(found, words):
    chosen = [verdict["outcome"] for claim, verdict in found.items() if words in claim]
    assert chosen, words
    return set(chosen)


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest")
    sweep.run(folder, RULES)
    return folder


@pytest.fixture(scope="module")
def found(honest):
    return verdicts(honest, honest / "report")


def test_the_bounds_hold_and_would_have_noticed_nothing(found):
    """The bound is 20 times as large as the mean: only one that is negative somewhere would be too small."""
    assert outcomes(found, "a-posteriori bound ≤ a-priori bound") == {NOT_TESTED}
    assert outcomes(found, "measured mean ≤ a-posteriori bound") == {NOT_TESTED}
    assert found["measured mean ≤ a-posteriori bound"]["noticed"] == []
    assert 0 < found["measured mean ≤ a-posteriori bound"]["measured"] < 1
    assert outcomes(found, "times the mean is at most the a-priori bound's constant") == {NOT_TESTED}
    # Two values of K in the last decade, and 16 seeds: too wide for a rate.
    assert outcomes(found, "falls as K^-1/2 or faster at τ = 0") == {INCONCLUSIVE}
    assert outcomes(found, "no slower in K at τ = K^1/4") == {CONSISTENT}


@pytest.mark.parametrize(
    ("tail", "outcome"), [(-0.55, CONFIRMED), (-0.42, VIOLATED), (0.0, VIOLATED), (0.15, VIOLATED)]
)
def test_a_fast_start_hides_no_slow_end(tail, outcome, tmp_path):
    """Up to 10,000 updates as K^-0.55, then as K^tail. Before, all four were confirmed."""
    synthetic.write(
        tmp_path, lambda tau, k: (k / 1e4) ** (tail if k > 1e4 else -0.55), rules=(0, "K**0.25"), noise=0.01
    )
    found = verdicts(tmp_path, tmp_path / "report")
    assert outcomes(found, "falls as K^-1/2 or faster") == {outcome}


def test_the_page_shows_each_outcome_by_colour_and_sign(honest, found):
    page = (honest / "report" / "report.html").read_text()
    for outcome in {verdict["outcome"] for verdict in found.values()}:
        name = outcome.replace(" ", "-")
        assert f'<td class="{name}">{outcome}</td>' in page
        assert f".{name}::before" in page
    assert "would have noticed" in page
    assert "Holm&#x27;s correction is for" in page


def test_a_phone_shows_each_verdict_as_a_card_with_the_outcome_first(honest, found):
    page = (honest / "report" / "report.html").read_text()
    assert page.count('<div class="wide verdicts"><table>') == 1
    assert page.count('<td data-column="tolerance">') == len(found)  # hidden on a phone, the header does not say it
    assert ".verdicts td[class] { order: -1; }" in page


def test_the_tolerance_stands_beside_each_verdict(honest, found):
    page = (honest / "report" / "report.html").read_text()
    head = re.findall("<th>(.*?)</th>", page)
    rows = [re.findall("<td.*?>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", page)]
    assert head[head.index("verdict") + 1] == "tolerance"
    shown = {html.unescape(row[0]): dict(zip(head, row, strict=True)) for row in rows if row}
    assert shown.keys() == found.keys()
    for claim, verdict in found.items():
        assert shown[claim]["tolerance"] == verdict["tolerance"]
    assert found["measured mean ≤ a-posteriori bound"]["tolerance"] == "0"
    assert found["no slower in K at τ = K^1/4 than without delay"]["tolerance"] == "0; 0.1 for consistent"
    assert found[f"{UPDATES} stay bounded at τ = K^1/4"]["tolerance"] == "0; 0.02 for consistent"


def test_where_theory_is_silent_the_page_says_not_claimed(tmp_path):
    """At K^3/8 the rate holds as well, but no theorem says so. Nor does one of SGD, without any delay."""
    for optimizer, rule, reason in (
        ("APAM", "K**0.375", "nothing is claimed beyond K^1/4"), ("SGD", 0, "the method is SGD"),
    ):  # fmt: skip
        folder = tmp_path / optimizer
        synthetic.write(folder, lambda tau, k: k**-0.55, rules=(rule,), optimizer=optimizer)
        found = verdicts(folder, folder / "report")
        (claim,) = (claim for claim in found if claim.startswith("falls as K^-1/2"))
        assert (found[claim]["outcome"], found[claim]["not_claimed_because"]) == (INCONCLUSIVE, reason)
        page = (folder / "report" / "report.html").read_text()
        (row,) = (row for row in page.split("<tr>") if row.startswith(f"<td>{claim}</td>"))
        assert '<td class="not-claimed">not claimed</td>' in row
        assert reason in row
        assert "| not claimed " in (folder / "report" / "verdicts.md").read_text()


def test_steps_of_several_gradients_have_one_line_and_no_claims(tmp_path, command_line):
    synthetic.write(tmp_path, lambda tau, k: k**-0.55, rules=(0,), lengths=(1000,))
    path = tmp_path / "0" / "summary.json"
    path.write_text(path.read_text().replace('"num_updates": 1000', '"num_updates": 1000, "num_steps": 125'))
    sweep.list_anew(tmp_path)
    said = command_line(tmp_path).stdout
    assert "1 cell of 16 seeds; K = 1,000; staleness 0. Theory claims nothing of these runs: several gradients" in said
    assert "| claim" not in said
    assert "falls as" not in (tmp_path / "report" / "report.html").read_text()


def test_one_length_alone_is_said(tmp_path, command_line):
    synthetic.write(tmp_path, lambda tau, k: k**-0.55, rules=(0,), lengths=(1000,))
    assert "One K says nothing of how anything grows or falls with K." in command_line(tmp_path).stdout


def test_control_a_delay_of_three_quarters(found):
    """K^3/4 is far beyond what the theory allows: the rate is lost, and the updates needed grow without bound."""
    assert outcomes(found, "τ = K^3/4") <= {VIOLATED, INCONCLUSIVE}
    assert outcomes(found, "falls as K^-1/2 or faster at τ = K^3/4") == {VIOLATED}


def test_control_an_iterate_that_is_not_averaged(honest, tmp_path):
    """The theorem is about the average."""
    found = verdicts(honest, tmp_path, quantity="gap")
    assert CONFIRMED not in {verdict["outcome"] for verdict in found.values()}
    assert any("no theorem is about the gap" in verdict["rule"] for verdict in found.values())


def test_control_steps_that_do_not_shrink(tmp_path):
    """The last iterate stalls at its noise floor; the average may still fall, but no theorem says so."""
    sweep.run(tmp_path, (0, "K**0.25"), schedule="constant", learning_rate=0.1, seeds=64)
    for quantity in ("average_gap", "gap"):
        found = verdicts(tmp_path, tmp_path / "report", quantity=quantity)
        assert CONFIRMED not in {verdict["outcome"] for verdict in found.values()}, quantity
    assert outcomes(found, "falls as K^-1/2 or faster at τ = 0") == {VIOLATED}


def test_control_the_wrong_sign(tmp_path):
    """Even an optimizer that claims in its configuration to be APAM: it climbs to a corner of the box."""
    sweep.run(tmp_path, (0, "K**0.25"), wrap=sweep.ascent)
    found = verdicts(tmp_path, tmp_path / "report")
    assert CONFIRMED not in {verdict["outcome"] for verdict in found.values()}
    assert outcomes(found, "falls as K^-1/2 or faster") == {VIOLATED}


def test_too_few_seeds_or_one_decade_settle_nothing(honest, tmp_path):
    few = tmp_path / "few"
    for path in honest.glob("*/metrics.parquet"):
        shutil.copytree(path.parent, few / path.parent.name)
        frame = pd.read_parquet(path)
        frame[frame["seed"] < 8].to_parquet(few / path.parent.name / "metrics.parquet")
    sweep.list_anew(few)
    assert outcomes(verdicts(few, tmp_path / "report"), "") == {INCONCLUSIVE}
    assert outcomes(verdicts(honest, tmp_path, min_updates=100), "") == {INCONCLUSIVE}


def test_the_hard_instance_attains_the_rate(tmp_path):
    """No delay changes a bit of it. Up to K = 3,000 it falls a little faster still, as K^-0.53."""
    problem, lengths = functools.partial(asyncopt.problems.hard_instance, slope_scale=1.0), (100, 400, 2000, 10_000)
    sweep.run(tmp_path, (0, "K**0.25"), problem=problem, lengths=lengths, seeds=128, learning_rate=0.5)
    found = verdicts(tmp_path, tmp_path / "report")
    slopes = [found[f"falls as K^-1/2 or faster at τ = {rule}"] for rule in ("0", "K^1/4")]
    assert -0.55 <= slopes[0]["measured"] <= -0.45
    assert {slope["outcome"] for slope in slopes} == outcomes(found, "is attained without delay") == {CONSISTENT}
    assert slopes[0]["measured"] == slopes[1]["measured"]
    assert outcomes(found, "-posteriori bound") == {NOT_TESTED}
    assert outcomes(found, "no slower in K") == {CONFIRMED}


@pytest.mark.draws
def test_everything_is_written_and_twice_the_same(honest, found, tmp_path):
    names = {path.name for path in (honest / "report").iterdir()}
    assert {"verdicts.md", "verdicts.json", "report.html", "cells.csv"} <= names
    assert {"rate.png", "phase.png", "delay_term.png", "bounds.png"} <= names
    shutil.copytree(honest, tmp_path / "again", ignore=shutil.ignore_patterns("report"))
    assert verdicts(tmp_path / "again", tmp_path / "again" / "report") == found
    for name in names:
        first, second = ((folder / "report" / name).read_bytes() for folder in (honest, tmp_path / "again"))
        assert first == second, name
    page = (honest / "report" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len([name for name in names if name.endswith(".png")])
    assert "http" not in page.replace("http-equiv", "")
    assert 'name="viewport"' in page
    for outcome in (*OUTCOMES, NOT_COMPARABLE, NOT_CLAIMED, "tolerance"):
        assert f"<dt>{outcome}</dt>" in page
    cells = pd.read_csv(honest / "report" / "cells.csv")
    assert len(cells) == len(RULES) * len(sweep.LENGTHS)
    assert (cells["mean"] <= cells["a_posteriori"]).all()
    assert (cells["a_posteriori"] <= cells["a_priori"]).all()
    parts = [f"a_priori_{part}" for part in ("leading", "lower_order", "delay")]
    np.testing.assert_allclose(cells[parts].sum(axis=1), cells["a_priori"])


@pytest.mark.draws
def test_killed_at_random_moments(honest, found, tmp_path, request):
    """The same command then makes the same report. Slow: two processes that draw all pictures."""
    command = [sys.executable, "-m", "asyncopt.report", str(honest), "--output", "report"]
    generator = random.Random("report")
    written = tmp_path / "report"
    for _ in range(request.config.getoption("kills")):
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as begun:
            while not written.exists() or not list(written.iterdir()):
                assert begun.poll() is None
                time.sleep(0.005)
            time.sleep(generator.uniform(0.0, 2.0))
            begun.kill()
    subprocess.run(command, cwd=tmp_path, stdout=subprocess.DEVNULL, check=True)
    whole = {path.name: path for path in written.iterdir() if ".partial" not in path.name}  # goes within an hour
    assert whole.keys() == {path.name for path in (honest / "report").iterdir()}
    for name, path in whole.items():
        if path.suffix in (".csv", ".json", ".md"):  # the pictures of ``found`` are empty
            assert path.read_bytes() == (honest / "report" / name).read_bytes(), name


def test_command_line(honest, tmp_path):
    command = [sys.executable, "-m", "asyncopt.report", honest, "--output", tmp_path / "out"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert (tmp_path / "out" / "verdicts.md").read_text() in process.stdout
    assert "| claim " in process.stdout
    assert process.stdout.rstrip().endswith(str(tmp_path / "out"))


@pytest.fixture
def command_line(capsys):
    """Runs the command in this process, without the seconds that imports take."""

    def run(*arguments):
        try:
            status = theorems.main([str(argument) for argument in arguments])
        except SystemExit as error:
            status = error.code
        said = capsys.readouterr()
        return types.SimpleNamespace(returncode=status, stdout=said.out, stderr=said.err)

    return run


@pytest.fixture
def damaged(honest, tmp_path):
    """A copy of the runs to spoil."""
    shutil.copytree(honest, tmp_path / "runs", ignore=shutil.ignore_patterns("report"))
    return tmp_path / "runs"


def test_damaged_and_unfinished_runs_are_named_and_left_out(damaged, command_line):
    parquet = damaged / "1" / "metrics.parquet"
    parquet.write_bytes(parquet.read_bytes()[:1000])
    (damaged / "4" / "summary.json").unlink()
    shutil.rmtree(damaged / "5")
    (damaged / "5" / ".hydra").mkdir(parents=True)
    (damaged / "5" / ".hydra" / "config.yaml").write_text("seeds: 1\n")
    frame = pd.read_parquet(damaged / "7" / "metrics.parquet")
    frame[frame["step"] < frame["step"].max()].to_parquet(damaged / "7" / "metrics.parquet")
    frame.drop(columns="drift").to_parquet(damaged / "8" / "metrics.parquet")
    path = damaged / "9" / "summary.json"
    path.write_text(path.read_text().replace('"max_delay"', '"largest_delay"'))
    (damaged / "10" / "summary.json").write_text("{}")
    path = damaged / "11" / "summary.json"
    path.write_text(path.read_text().replace('"staleness"', '"delays"'))
    sweep.list_anew(damaged)
    process = command_line(damaged)
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    lines = process.stderr.splitlines()
    assert len(lines) == 8
    for words in (
        ["1/metrics.parquet", "cannot be read"],
        ["4: not a finished run", "summary.json"],
        ["5: not a finished run"],
        ["7: metrics.parquet covers updates 0 to", "expected 0 to 600"],
        ["9: summary.json has no trace.max_delay"],
        ["10: not a run of asyncopt"],
        ["11: summary.json has no staleness.label"],
        ["8: metrics.parquet has no drift"],
    ):
        assert any(all(word in line for word in words) for line in lines), (words, lines)
    assert "4 cells of 16 seeds" in process.stdout


def test_runs_of_different_problems_are_different_studies(damaged, command_line):
    sweep.run(damaged / "other", (0,), lengths=(30, 100), learning_rate=0.6)
    process = command_line(damaged)
    assert process.returncode == 0
    assert process.stdout.count("## quadratic in a box; APAM; constant delays") == 2
    assert {"1_rate.png", "2_rate.png"} <= {path.name for path in (damaged / "report").iterdir()}


def test_the_same_cell_twice(damaged, command_line):
    shutil.copytree(damaged / "0", damaged / "copy")
    process = command_line(damaged)
    assert process.stderr == ""  # equal: nothing to choose
    frame = pd.read_parquet(damaged / "copy" / "metrics.parquet")
    frame.assign(average_gap=frame["average_gap"] * 1.1).to_parquet(damaged / "copy" / "metrics.parquet")
    sweep.list_anew(damaged)
    assert "another run of τ = 0 at K = 30 than" in command_line(damaged).stderr


def test_seeds_that_not_all_cells_have(damaged, command_line):
    frame = pd.read_parquet(damaged / "3" / "metrics.parquet")
    frame[frame["seed"] != 5].to_parquet(damaged / "3" / "metrics.parquet")
    sweep.list_anew(damaged)
    process = command_line(damaged)
    assert "11 runs left out, of seeds that not all cells have" in process.stderr
    assert "12 cells of 15 seeds" in process.stdout


@pytest.mark.parametrize("content", ["nothing", "nowhere", "only unfinished"])
def test_nothing_to_report_on(content, tmp_path, command_line):
    folder = tmp_path / "runs"
    if content != "nowhere":
        folder.mkdir()
    if content == "only unfinished":
        (folder / "0" / ".hydra").mkdir(parents=True)
        (folder / "0" / ".hydra" / "config.yaml").write_text("seeds: 1\n")
    process = command_line(folder)
    assert process.returncode == 1
    assert process.stdout == ""
    # A run that is left out is named first.
    assert len(process.stderr.splitlines()) == (2 if content == "only unfinished" else 1)
    assert str(folder) in process.stderr.splitlines()[-1]
    assert not (folder / "report").exists()


def test_bad_options(honest, command_line):
    assert (
        "no run that a study can be made of from 99999 updates" in command_line(honest, "--min-updates", 99999).stderr
    )
    process = command_line(honest, "--quantity", "speed")
    assert process.returncode == 2
    assert "invalid choice: 'speed'" in process.stderr
