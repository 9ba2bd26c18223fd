"""A file system that fails at any write: a message says what is lost, and the same command makes up for it."""

import errno
import itertools
import os
import types

import pytest

from asyncopt.files import atomic, records
from asyncopt.run import execute
from tests.run.test_resume import configured

OVERRIDES = ["trace.num_updates=400", "plot=true", "eval_every=100", "checkpoint_seconds=1e-9"]
ERRORS = [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO]


pytestmark = pytest.mark.usefixtures("same_environment")


@pytest.fixture
def disk(monkeypatch):
    """A disk on which files of some names cannot be written; `names` are those that were asked for."""
    disk, write = types.SimpleNamespace(names=[], fails=(), error=errno.ENOSPC), atomic.write

    def half(partial):
        partial.write_bytes(b"half")
        raise OSError(disk.error, os.strerror(disk.error), str(partial))

    def failing(path, writer):
        disk.names.append(path.name)
        write(path, half if path.name in disk.fails else writer)

    monkeypatch.setattr(atomic, "write", failing)
    return disk


def test_each_file_in_turn(disk, tmp_path):
    """It makes eight runs, which takes ten seconds."""
    execute.run(configured(*OVERRIDES), tmp_path / "whole")
    expected = (tmp_path / "whole" / records.METRICS).read_bytes()
    results = ["config.yaml", "metrics.parquet", "SHA256SUMS", "summary.json"]
    assert list(dict.fromkeys(disk.names)) == ["checkpoint.npz", *results, "curve.png"]
    for name, error in zip([*results, "curve.png"], itertools.cycle(ERRORS)):
        folder, disk.error, disk.fails = tmp_path / name, error, (name,)
        with pytest.raises(OSError, match=os.strerror(error)) as failed:
            execute.run(configured(*OVERRIDES), folder)
        said = str(failed.value)
        assert len(said.splitlines()) == 1
        lost = "only the picture is missing" if name == "curve.png" else "the results are not written"
        assert lost in said
        assert (folder / records.SUMMARY).exists() == (name == "curve.png")
        assert not list(folder.glob("*.partial*"))
        disk.fails = ()
        execute.run(configured(*OVERRIDES), folder)
        assert (folder / records.METRICS).read_bytes() == expected


def test_without_a_checkpoint_the_run_goes_on(disk, tmp_path):
    disk.fails = ("checkpoint.npz",)
    with pytest.warns(UserWarning, match=r"checkpoint\.npz: no checkpoint was written"):
        execute.run(configured(*OVERRIDES), tmp_path)
    assert len(records.load_run(tmp_path).metrics) == 10
