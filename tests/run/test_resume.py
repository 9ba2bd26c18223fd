"""Runs that are there already are not made again; whatever they depend on makes them be."""

import os
import pathlib
import random
import shutil
import subprocess
import time

import hydra
import pytest

from asyncopt.files import atomic, fingerprints, records
from asyncopt.run import execute, verification
from asyncopt.run.command_line import CONFIG_FOLDER


def configured(*overrides):
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        small = ["problem=quadratic", "seeds=2", "progress=false", "plot=false"]
        return hydra.compose("config", [*small, *(overrides or ["trace.num_updates=60"])])


pytestmark = pytest.mark.usefixtures("same_environment")


@pytest.fixture
def replays(monkeypatch):
    """The runs that were made and not found."""
    made, replay = [], execute.replay
    monkeypatch.setattr(execute, "replay", lambda *a, **k: made.append(a) or replay(*a, **k))
    return made


def test_the_same_run_is_not_made_again(tmp_path, replays, capsys):
    execute.run(configured(), tmp_path)
    first = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
    table = capsys.readouterr().out
    execute.run(configured("trace.num_updates=60", "progress=true"), tmp_path)
    assert len(replays) == 1
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == first
    said = capsys.readouterr().out
    assert "finished before, and not run again (force=true runs it)" in said
    assert table in said
    execute.run(configured("trace.num_updates=60", "plot=true"), tmp_path)
    assert len(replays) == 1
    assert (tmp_path / "curve.png").exists()


@pytest.mark.parametrize(
    "override",
    ["optimizer.learning_rate=0.25", "trace.max_delay=3", "seeds=[0,2]", "eval_every=10", "force=true"],
)
def test_another_run_is_made(tmp_path, replays, override):
    execute.run(configured(), tmp_path)
    execute.run(configured("trace.num_updates=60", override), tmp_path)
    assert len(replays) == 2


@pytest.mark.parametrize("name", ["metrics.parquet", "summary.json", "config.yaml"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:50])])
def test_a_damaged_run_is_made_again(tmp_path, replays, name, damage):
    execute.run(configured(), tmp_path)
    whole = (tmp_path / "metrics.parquet").read_bytes()
    damage(tmp_path / name)
    execute.run(configured(), tmp_path)
    assert len(replays) == 2
    assert (tmp_path / "metrics.parquet").read_bytes() == whole


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("engine/loop.py", True),
        ("optim/apam.py", True),
        ("run/build.py", True),
        ("checks.py", True),
        ("report/page.py", False),
        ("analysis/fits.py", False),
        ("theory/convex.py", False),
        ("compare.py", False),
    ],
)
def test_only_code_that_computes_counts(file, counts, tmp_path, monkeypatch):
    package = tmp_path / "asyncopt"
    shutil.copytree(pathlib.Path(fingerprints.__file__).parents[1], package)
    monkeypatch.setattr(fingerprints, "_PACKAGE", package)
    sources = []
    for _ in range(2):
        fingerprints.source.cache_clear()
        sources.append(fingerprints.source(but=fingerprints.READERS))
        (package / file).write_text((package / file).read_text() + "# edited\n")
    fingerprints.source.cache_clear()
    assert (sources[0] != sources[1]) == counts


def test_files_code_and_python_count(tmp_path, replays, monkeypatch):
    delays = tmp_path / "delays.csv"
    delays.write_text("0\n1\n0\n")
    config = configured("trace=file", f"trace.path={delays}", "problem.noise=0.5")
    execute.run(config, tmp_path / "run")
    delays.write_text("0\n1\n2\n")
    execute.run(config, tmp_path / "run")
    monkeypatch.setattr(fingerprints, "source", lambda but: "edited")
    execute.run(config, tmp_path / "run")
    monkeypatch.setattr(fingerprints.platform, "python_version", lambda: "3.99.0")
    execute.run(config, tmp_path / "run")
    assert len(replays) == 4


SWEEP = ["-m", "problem=quadratic", "seeds=2", "trace.max_delay=range(8)"]
SHORT = [*SWEEP, "trace.num_updates=1000", "record_bounds=true"]
VECTORIZED = ["hydra/launcher=asyncopt_vectorized", "hydra.launcher.runs_per_device=2"]
COMMANDS = {
    "basic": [*SWEEP, "trace.num_updates=2000", "hydra.sweep.dir=out"],
    "vectorized": [
        *SWEEP, *VECTORIZED, "trace.num_updates=15000", "hydra.sweep.dir=out", "checkpoint_seconds=0.01",
    ],
    "joblib": [*SWEEP, "hydra/launcher=asyncopt_joblib", "trace.num_updates=2000", "hydra.sweep.dir=out"],
    # One evaluation after so many updates: it is on its way for seconds, between checkpoints.
    "one long run": [
        "problem=quadratic", "trace.num_updates=300000", "eval_every=100000", "seeds=2", "hydra.run.dir=out/0",
        "checkpoint_seconds=0.05",
    ],
}  # fmt: skip


@pytest.fixture
def started(start_command_line):
    """Starts a command line, and makes its folder if need be."""

    def start(command, folder):
        folder.mkdir(exist_ok=True)
        return start_command_line(*command, "progress=false", "plot=false", folder=folder)

    return start


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_random_moments(name, tmp_path, started, request):
    """Whatever the moment: what was whole stays as it is, and at the end every file is that of a run left alone.

    Slow: four processes or more, one after another.
    """
    command = COMMANDS[name]
    whole = started(command, tmp_path / "whole")
    began = time.monotonic()
    while not list(tmp_path.glob("whole/out/*")) and whole.poll() is None:
        time.sleep(0.01)
    first = time.monotonic() - began
    assert whole.end()[0] == 0
    last = time.monotonic() - began
    generator = random.Random(name)
    killed, interrupted, finished = tmp_path / "killed", 0, {}
    for _ in range(request.config.getoption("kills")):
        begun = started(command, killed)
        # In the first part of the time that it took when everything had still to be compiled.
        if begun.runs_for(first + generator.uniform(0.0, 0.4) * (last - first)):
            interrupted += 1
            begun.kill()
        begun.end()
        if name == "joblib":
            time.sleep(2)  # its workers look every half second whether their parent is there
        for path in finished:
            assert path.stat().st_mtime_ns == finished[path]  # not run again
        finished = {path: path.stat().st_mtime_ns for path in killed.glob("out/*/summary.json")}
        for path in finished:
            records.load_run(path.parent)
    assert interrupted > 0
    status, output, errors = started(command, killed).end()
    assert status == 0, errors
    assert output.count("finished before, and not run again") == len(finished)
    runs = sorted(path.parent.relative_to(tmp_path / "whole") for path in tmp_path.glob("whole/out/*/summary.json"))
    assert len(runs) == (1 if name == "one long run" else 8)
    for run in runs:
        for file in ("metrics.parquet", "config.yaml"):
            assert (killed / run / file).read_bytes() == (tmp_path / "whole" / run / file).read_bytes()
        assert not (killed / run / "checkpoint.npz").exists()


def test_threads_killed_at_random_moments(tmp_path, started, request):
    """A real run cannot be made twice; what is resumed is replayed to the same bits as what was not stopped."""
    command = [
        "runtime=threads", "runtime.workers=2", "problem=quadratic", "trace.num_updates=400", "runtime.compute=0.003",
        "checkpoint_seconds=0.05", "hydra.run.dir=out",
    ]  # fmt: skip
    generator = random.Random("threads")
    checkpoint, summary = (tmp_path / "out" / name for name in ("checkpoint.npz", "summary.json"))
    for _ in range(request.config.getoption("kills")):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        begun = started(command, tmp_path)
        while not checkpoint.exists():
            assert begun.runs_for(0.01)
        assert begun.runs_for(generator.uniform(0.0, 0.3))
        begun.kill()
        begun.end()
        assert not summary.exists()
        status, _, errors = started(command, tmp_path).end()
        assert status == 0, errors
        assert "the run resumes from its checkpoint" in (tmp_path / "out" / "asyncopt.log").read_text()
        verified = verification.verify(tmp_path / "out")
        assert verified.differs_at is None, verified.text
        assert "400 updates of 2 workers: every iterate is bit-identical" in verified.text


def test_two_sweeps_at_once_in_one_folder(tmp_path, command_lines, start_command_line):
    """They ask for different runs: each folder then holds one of the two, whole. Slow: 32 jobs in four processes."""
    sweeps = {
        "0.5": [*SHORT, "hydra.sweep.dir=out", "optimizer.learning_rate=0.5"],
        "1.0": [*SHORT, *VECTORIZED, "hydra.sweep.dir=out", "optimizer.learning_rate=1.0"],
    }
    for step, command in sweeps.items():
        (tmp_path / step).mkdir()
        status, errors = command_lines(*command, "progress=false", "plot=false", folder=tmp_path / step)
        assert status == 0, errors
    (tmp_path / "shared").mkdir()
    both = []
    for step, command in sweeps.items():
        own = [*command, "progress=false", "plot=false", f"hydra.sweep.dir={tmp_path}/shared/out"]
        both.append(start_command_line(*own, folder=tmp_path / step))
    for begun in both:
        status, _, errors = begun.end()
        assert status == 0, errors
    for number in range(8):
        shared = tmp_path / "shared" / "out" / str(number)
        alone = tmp_path / str(records.load_run(shared).config["optimizer"]["learning_rate"]) / "out" / str(number)
        for file in ("metrics.parquet", "config.yaml"):
            assert (shared / file).read_bytes() == (alone / file).read_bytes()


@pytest.fixture
def small_disk(tmp_path):
    """A file system that is soon full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "asyncopt-test", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("launcher", [[], VECTORIZED], ids=["basic", "vectorized"])
def test_a_full_disk_ends_with_an_error_and_keeps_what_was_done(small_disk, tmp_path, started, launcher):
    command = [*SHORT, *launcher, f"hydra.sweep.dir={small_disk}/out", "hydra.output_subdir=null"]
    status, _, errors = started(command, tmp_path / "elsewhere").end()
    assert status == 1
    assert "No space left on device" in errors
    assert "Traceback" not in errors
    done = [path.parent for path in small_disk.glob("out/*/summary.json")]
    assert 0 < len(done) < 8
    for folder in done:
        assert len(records.load_run(folder).metrics) > 100
    assert not list(small_disk.glob("out/*/*.partial*"))


def test_what_a_killed_process_left_goes_in_time(tmp_path):
    old, new = tmp_path / "tmpold.partial.txt", tmp_path / "tmpnew.partial.txt"
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    atomic.write(tmp_path / "file.txt", lambda path: path.write_text("whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "tmpnew.partial.txt"]
