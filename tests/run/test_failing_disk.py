"""A file system that fails at any write: a message says what is lost, and the same command makes up for it."""

import contextlib
import errno
import os

import pytest

from asyncopt.files import atomic, records
from asyncopt.run import execute
from tests.run.test_resume import configured

OVERRIDES = ["trace.num_updates=400", "plot=true", "eval_every=100", "checkpoint_seconds=1e-9"]
ERRORS = [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO]


@pytest.fixture(autouse=True)
def same_environment(monkeypatch):
    """A run chooses threads for its process; the tests' own stays as it is."""
    monkeypatch.setenv("PJRT_NPROC", os.environ.get("PJRT_NPROC", "1"))


@pytest.fixture
def writes(monkeypatch):
    """The names of the files that were written; ``fail_at`` counts the ones to come."""

    class Writes(list):
        fail_at, error = None, errno.ENOSPC

    writes, write = Writes(), atomic.write

    def failing(path, writer):
        writes.append(path.name)
        if writes.fail_at is not None and len(writes) > writes.fail_at:
            write(path, lambda partial: partial.write_bytes(b"half"))
            path.unlink()
            raise OSError(writes.error, os.strerror(writes.error), str(path))
        write(path, writer)

    monkeypatch.setattr(atomic, "write", failing)
    return writes


def test_each_write_in_turn(writes, tmp_path):
    execute.run(configured(*OVERRIDES), tmp_path / "whole")
    expected = (tmp_path / "whole" / records.METRICS).read_bytes()
    names = list(writes)
    assert {"checkpoint.npz", "config.yaml", "metrics.parquet", "SHA256SUMS", "summary.json", "curve.png"} == set(names)
    last = names.index("config.yaml")
    for number in [0, *range(last - 1, len(names))]:
        folder, writes.error = tmp_path / str(number), ERRORS[number % len(ERRORS)]
        writes.clear()
        writes.fail_at = number
        whole = names[number] == "curve.png"
        no_checkpoint = pytest.warns(UserWarning, match="no checkpoint was written")
        warned = no_checkpoint if number < last else contextlib.nullcontext()
        with warned, pytest.raises(OSError, match=os.strerror(writes.error)) as failed:
            execute.run(configured(*OVERRIDES), folder)
        said = str(failed.value)
        assert len(said.splitlines()) == 1
        assert ("only the picture is missing" if whole else "the results of this run are not written") in said
        if not whole:
            kept = (folder / "checkpoint.npz").exists()
            assert ("its last checkpoint stays" if kept else "it has no checkpoint") in said
        assert (folder / records.SUMMARY).exists() == whole
        writes.fail_at = None
        execute.run(configured(*OVERRIDES), folder)
        assert (folder / records.METRICS).read_bytes() == expected
        assert not list(folder.glob("*.partial*"))
