"""What a run writes depends on its configuration, and on nothing that happens to be so around it."""

import io
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from asyncopt.files import records

OVERRIDES = ["trace.num_updates=300", "trace.max_delay=7", "seeds=3", "plot=false", "record_bounds=full"]
CORES = sorted(os.sched_getaffinity(0))


def written(folder, cores, cache, **environment):
    """Runs a command line in a new process; returns what it wrote, but for seconds and devices."""
    command = ["taskset", "--cpu-list", ",".join(map(str, cores)), sys.executable, "-m", "asyncopt"]
    command += [*OVERRIDES, "hydra.run.dir=out"]
    folder.mkdir()
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)} | environment
    ended = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    out = folder / "out"
    summary = json.loads((out / records.SUMMARY).read_text())
    del summary["timing"], summary["versions"]["devices"]
    return summary, *((out / name).read_bytes() for name in (records.METRICS, records.CONFIG))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """What a run writes that starts without compiled programs, and the folder where it keeps them."""
    folder = tmp_path_factory.mktemp("first")
    return written(folder / "run", CORES, folder / "cache"), folder / "cache"


def test_all_around_it_is_different(first, tmp_path):
    """Compiled programs from before, another order of sets, language, clock and home, and a narrow terminal."""
    expected, cache = first
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    found = written(
        tmp_path / "run", CORES, cache, PYTHONHASHSEED="7", LC_ALL="tr_TR.UTF-8", LANG="tr_TR.UTF-8",
        TZ="Pacific/Kiritimati", HOME=str(home), XDG_CACHE_HOME=str(home), COLUMNS="20", TERM="dumb",
    )  # fmt: skip
    assert found == expected


def test_one_core(first, tmp_path):
    """XLA divides a matrix product among as many threads as there are devices, so last bits may differ."""
    (_, *expected), cache = first
    found = written(tmp_path / "run", CORES[:1], cache)
    tables = [pd.read_parquet(io.BytesIO(content)) for content in (found[1], expected[0])]
    pd.testing.assert_frame_equal(*tables, rtol=1e-11)
    assert found[2] == expected[1]


def test_compiled_programs_that_are_damaged(first, tmp_path):
    """JAX notices, and compiles them again."""
    expected, cache = first
    damaged = tmp_path / "cache"
    damaged.mkdir()
    for path in cache.iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 64] = b"?" * 64
        (damaged / path.name).write_bytes(content)
    assert list(damaged.glob("*-cache"))
    assert written(tmp_path / "run", CORES, damaged) == expected
