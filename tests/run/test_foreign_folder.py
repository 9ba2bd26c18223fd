"""What a folder from somebody else may not do: choose machine code, fetch data, obey a terminal, or wait forever."""

import json
import os
import shutil

import numpy as np
import pytest
from omegaconf import OmegaConf

from asyncopt import InputError, checks, load_runs
from asyncopt.files import manifest, records
from asyncopt.report import curves
from asyncopt.run import execute, verification
from tests.run.test_verify import composed, record_into

pytestmark = pytest.mark.usefixtures("same_environment")
FILES = (records.CONFIG, records.METRICS, records.SUMMARY)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return record_into(tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replayed") / "run"
    execute.run(composed("trace.num_updates=30", "seeds=2"), folder)
    return folder


def copied(folder, to, config=None, summary=None, metrics=None):
    """Copies a run, changes what it holds, and writes the list of checksums anew, as whoever changes it would."""
    shutil.copytree(folder, to)
    if config:
        values = OmegaConf.to_container(OmegaConf.load(to / records.CONFIG))
        config(values)
        (to / records.CONFIG).write_text(OmegaConf.to_yaml(OmegaConf.create(values)))
    if summary:
        facts = json.loads((to / records.SUMMARY).read_text())
        summary(facts)
        (to / records.SUMMARY).write_text(json.dumps(facts))
    if metrics:
        metrics(records.load_run(folder).metrics.copy()).to_parquet(to / records.METRICS, index=False)
    manifest.write(to, manifest.read(folder) or FILES)
    return to


def test_it_does_not_choose_the_compiled_programs(recorded, tmp_path):
    own = tmp_path / "programs"
    folder = copied(recorded, tmp_path / "run", config=lambda values: values.update(compilation_cache=str(own)))
    assert verification.verify(folder).differs_at is None
    assert not own.exists()


def test_it_fetches_nothing(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr("asyncopt.problems.data.source.fetch", lambda *args: pytest.fail("it would fetch"))
    data = {"_target_": "asyncopt.problems.data.mnist", "root": str(tmp_path), "mirror": "http://localhost:9"}
    problem = {"_target_": "asyncopt.problems.logistic", "data": data}
    folder = copied(recorded, tmp_path / "run", config=lambda values: values.update(problem=problem))
    with pytest.raises(InputError, match=r"no such file.*set data\.root"):
        verification.verify(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.update(runtime=3), "config.yaml: runtime is 3, expected a mapping"),
        (
            lambda values: values["trace"].update(num_updates=10**9),
            "is 1000000000, expected at most the 80",
        ),
        (lambda values: values.update(eval_every=10**30), None),
        (lambda values: values["optimizer"].update(_target_="optax.adamw", b1="a"), None),
    ],
)
def test_odd_values_are_one_line(recorded, change, message, tmp_path, capsys):
    folder = copied(recorded, tmp_path / "run", config=change)
    assert verification.main([str(folder), "--quiet"]) == 1
    said = capsys.readouterr()
    assert len((said.out + said.err).splitlines()) == 1
    assert (message or "") in said.out + said.err


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda facts: facts["labels"].update(method="SGD"), "labels.method"),
        (lambda facts: facts["staleness"].update(label="K^1/4"), "staleness.label"),
        (lambda facts: facts.update(labels=[1]), "labels"),
    ],
)
def test_a_false_label_is_noticed(recorded, change, name, tmp_path):
    folder = copied(recorded, tmp_path / "run", summary=change)
    assert verification.verify(folder).text == f"summary.json is not what the configuration says: {name}"


def test_a_list_of_checksums_that_is_a_pipe(recorded, tmp_path):
    folder = shutil.copytree(recorded, tmp_path / "run")
    (folder / manifest.NAME).unlink()
    os.mkfifo(folder / manifest.NAME)
    for read in (records.load_run, verification.verify):
        with pytest.raises(InputError, match="SHA256SUMS: not a file"):
            read(folder)


@pytest.mark.parametrize("name", ["seed", "step", "gap", "run", "self"])
def test_a_setting_called_like_a_measurement(replayed, name, tmp_path):
    copied(replayed, tmp_path / "run", config=lambda values: values.update({name: 7}))
    table, plain = load_runs(tmp_path), load_runs(replayed.parent)
    assert (table.get(f"config.{name}", table.get(name)) == 7).all()
    assert all(np.array_equal(table[each], plain[each]) for each in ("seed", "step", "gap", "run"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.assign(seed="a"), "column 'seed' has the type .*, expected whole numbers"),
        (lambda table: table.assign(seed=table["seed"] + 0.5), "column 'seed' has the type float64"),
        (lambda table: table.assign(seed=0), "two rows for seed 0 at step 0"),
        (lambda table: table.assign(step=-table["step"]), "step is -30"),
        (lambda table: table.assign(gap="x"), "column 'gap' has the type .*, expected numbers"),
        (lambda table: table.iloc[:0], "no rows"),
        (lambda table: table.assign(**{"\x1b[31m": 1.0}), r"called '\\x1b\[31m'"),
        (lambda table: table.assign(**{"trace.max_delay": 0}), "column 'trace.max_delay'"),
        (lambda table: table.assign(run=0), "column 'run'"),
    ],
)
def test_tables_that_no_run_writes(replayed, change, message, tmp_path):
    with pytest.raises(InputError, match=f"metrics.parquet: .*{message}"):
        records.load_run(copied(replayed, tmp_path / "run", metrics=change))


def test_a_table_far_larger_than_its_file(replayed, monkeypatch, tmp_path):
    def repeated(table):
        return table.loc[np.repeat(table.index[:1], 300_000)]

    monkeypatch.setattr(checks, "_PLAUSIBLE_BYTES", 10**6)
    with pytest.raises(InputError, match=r"metrics\.parquet: cannot be read: ValueError: a table of [\d,]+ bytes in"):
        records.load_run(copied(replayed, tmp_path / "run", metrics=repeated))


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("labels", "method", None),
        ("labels", "problem", 3),
        ("labels", "method", "x" * 1001),
        ("labels", "method", "\x1b[31m"),
        ("trace", "max_delay", "x"),
        ("trace", "mean_square_delay", float("nan")),
        ("problem", "optimum", [1]),
        ("staleness", "settings", "[["),
        ("staleness", "factor", None),
    ],
)
def test_facts_that_no_run_writes(replayed, section, name, value, tmp_path):
    folder = copied(replayed, tmp_path / "run", summary=lambda facts: facts[section].update({name: value}))
    with pytest.raises(InputError, match=rf"summary\.json: {section}\.{name} is .*, expected a"):
        records.load_run(folder)
    with pytest.raises(InputError, match=r"summary\.json: labels is 3"):
        records.load_run(copied(replayed, tmp_path / "other", summary=lambda facts: facts.update(labels=3)))


def test_names_do_not_reach_the_terminal_as_they_are(replayed, tmp_path, capsys):
    for name in ("a\x1b[31mb", os.fsdecode(b"\xff\xfe")):
        broken = shutil.copytree(replayed, tmp_path / name)
        (broken / records.METRICS).unlink()
    shutil.copytree(replayed, tmp_path / "whole")
    assert curves.main([str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "\\x1b[31mb: not a finished run" in said.err
    assert "\\udcff\\udcfe: not a finished run" in said.err
    assert "\x1b" not in said.out + said.err
