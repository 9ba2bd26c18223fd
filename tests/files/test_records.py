import json
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

import asyncopt
from asyncopt import InputError
from asyncopt.files import atomic, manifest, records

FACTS = {"trace": {"mean_square_delay": 1.5}, "problem": {"optimum": None}, "labels": {"method": "APAM"}}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a"
    config = {"trace": {"kind": "cluster", "means": [1, 2]}, "optimizer": {"rate": 0.1}}
    metrics = pd.DataFrame({"seed": [4, 4, 2, 2], "step": [0, 5, 0, 5], "gap": [1.0, 0.5, 1.0, np.inf]})
    record = records.Record(config, metrics, {**FACTS, "staleness": {"label": "0", "settings": ["num_workers"]}})
    records.save(folder, record)
    return folder, record


def test_what_is_saved_is_what_is_loaded(saved):
    folder, record = saved
    loaded = records.load_run(folder)
    pd.testing.assert_frame_equal(loaded.metrics, record.metrics)
    assert loaded.summary == {**record.summary, "checksums": "SHA256SUMS"}
    assert loaded.config == record.config
    assert list(loaded.metrics["seed"].unique()) == [4, 2]


def test_columns_are_written_as_pandas_writes_them(tmp_path):
    columns = {
        "seed": np.repeat([3, 1], 5),
        "step": np.arange(20)[::2],
        "gap": np.array([1.0, np.nan, np.inf, -0.0, 5e-324, 2.0, np.nan, 1.0, 0.5, 0.25]),
        "loss": np.linspace(0, 1, 10, dtype=np.float32),
        "holds": np.arange(10) % 3 == 0,
    }
    records.save(tmp_path / "run", records.Record({}, columns, {}))
    pd.DataFrame(columns).to_parquet(tmp_path / "expected.parquet", index=False)
    found, expected = (parquet.read_table(tmp_path / name) for name in ("run/metrics.parquet", "expected.parquet"))
    found.validate(full=True)
    assert found.equals(expected)
    assert found["gap"].null_count == 2


def test_one_table_of_all_runs(saved):
    folder, record = saved
    table = asyncopt.load_runs(folder.parent)
    assert len(table) == len(record.metrics)
    assert set(table["run"]) == {"a"}
    assert set(table["optimizer.rate"]) == {0.1}
    assert set(table["trace.means"]) == {"[1, 2]"}
    assert set(table["summary.trace.mean_square_delay"]) == {1.5}
    assert set(table["summary.labels.method"]) == {"APAM"}
    assert set(table["summary.staleness.settings"]) == {'["num_workers"]'}


def test_a_run_of_an_earlier_version_can_be_read_and_has_no_labels(saved, tmp_path):
    shutil.copytree(saved[0], tmp_path / "run")
    facts = json.loads((tmp_path / "run" / records.SUMMARY).read_text())
    del facts["labels"], facts["checksums"]
    (tmp_path / "run" / "SHA256SUMS").unlink()
    (tmp_path / "run" / records.SUMMARY).write_text(json.dumps(facts))
    assert len(asyncopt.load_runs(tmp_path)) == 4
    with pytest.raises(InputError, match=r"summary\.json has no labels, expected a run of this version; run it again"):
        print(records.load_run(tmp_path / "run").labels)


@pytest.mark.parametrize("name", [records.CONFIG, records.METRICS, records.SUMMARY, manifest.NAME])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise"])
def test_a_damaged_run_is_named_and_left_out(saved, name, damage, tmp_path):
    shutil.copytree(saved[0], tmp_path / "good")
    shutil.copytree(saved[0], tmp_path / "bad")
    path = tmp_path / "bad" / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
        if name == records.CONFIG:
            return  # nothing says that a run was here
    else:
        path.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "noise": b"\xff\x00{"}[damage])
    with pytest.warns(UserWarning, match=r"left out: .*bad") as warned:
        table = asyncopt.load_runs(tmp_path)
    assert name in str(warned[0].message)
    assert set(table["run"]) == {"good"}


def test_folders_without_runs(tmp_path):
    with pytest.raises(InputError, match="no finished run below it"):
        asyncopt.load_runs(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        asyncopt.load_runs(tmp_path / "nowhere")


def test_nothing_half_written_is_left(tmp_path):
    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    (tmp_path / "file.txt").write_text("before")
    with pytest.raises(OSError, match="disk full"):
        atomic.write(tmp_path / "file.txt", fail)
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "before"


def test_the_list_of_checksums_is_one_that_sha256sum_reads(saved):
    said = subprocess.run(["sha256sum", "--check", "--strict", manifest.NAME], cwd=saved[0], capture_output=True)
    assert said.returncode == 0
    assert said.stdout.decode().splitlines() == [
        f"{name}: OK" for name in ("config.yaml", "metrics.parquet", "summary.json")
    ]


@pytest.mark.parametrize("name", [records.CONFIG, records.METRICS, records.SUMMARY, manifest.NAME])
def test_any_byte_changed_and_any_cut_is_named(saved, name, tmp_path):
    """Every bit of the short files, and every place at which each can be cut."""
    shutil.copytree(saved[0], tmp_path / "run")
    path = tmp_path / "run" / name
    content = path.read_bytes()
    flips = [content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :] for at in range(len(content))]
    for damaged in flips + [content[:length] for length in range(len(content))]:
        path.write_bytes(damaged)
        with pytest.raises(InputError) as refused:
            records.load_run(tmp_path / "run")
        assert name in str(refused.value)
        assert str(refused.value).count("\n") == 0
