"""A signal ends the program with one line, and with the exit status that shells have for it; nothing is left behind."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}
LONG = ["trace.num_updates=3000000", "seeds=2", "progress=false", "plot=false", "checkpoint_seconds=1.5"]


def started(*overrides, folder):
    """Starts a command line in a session of its own, so that a signal can go to all its processes."""
    return subprocess.Popen(
        [sys.executable, "-m", "asyncopt", *overrides],
        cwd=folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def wait_for(there, process):
    until = time.monotonic() + 120
    while not there():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)


def catches(process, number):
    """Whether the process has a handler for a signal; only Linux tells."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", SIGNALS)
def test_while_modules_are_imported(number, tmp_path):
    process = started(folder=tmp_path)
    wait_for(lambda: catches(process, signal.SIGTERM), process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == SIGNALS[number]
    assert errors == "\nasyncopt: stopped; nothing was computed yet\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_run_is_kept(number, start_command_line, tmp_path):
    command = start_command_line(*LONG, "hydra.run.dir=out", folder=tmp_path)
    while not (tmp_path / "out" / "checkpoint.npz").exists():
        assert command.runs_for(0.01)
    before = (tmp_path / "out" / "checkpoint.npz").stat().st_mtime_ns
    command.kill(number)
    status, _, errors = command.end()
    assert status == SIGNALS[number]
    assert errors == f"asyncopt: stopped; the same command with hydra.run.dir={tmp_path}/out resumes the run\n"
    assert (tmp_path / "out" / "checkpoint.npz").stat().st_mtime_ns > before
    assert not (tmp_path / "out" / "summary.json").exists()


def test_the_workers_of_a_sweep_end_with_it(tmp_path):
    """Ctrl-C in a terminal goes to every process of the session."""
    overrides = [*LONG, "hydra/launcher=asyncopt_joblib", "hydra.sweep.dir=out", "trace.max_delay=1,2"]
    process = started("-m", *overrides, folder=tmp_path)
    wait_for(lambda: list(tmp_path.glob("out/*/checkpoint.npz")), process)
    assert _semaphores(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "asyncopt: stopped; the same command with hydra.sweep.dir=out resumes the sweep\n"
    within = time.monotonic() + 10  # each has the signal, but ends on its own
    while _running(process.pid) and time.monotonic() < within:
        time.sleep(0.05)
    assert not _running(process.pid)
    assert not _semaphores(process.pid)


def _semaphores(process):
    """Returns the named semaphores that joblib has made in a process."""
    return list(pathlib.Path("/dev/shm").glob(f"sem.loky-{process}-*"))


def _running(session):
    """Returns the processes of a session that still run."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it has ended meanwhile
            continue
        if int(its_session) == session and state != "Z":
            found.append((folder / "cmdline").read_text())
    return found


SCRIPT = """
import gc, os, signal, sys
from asyncopt import stopping
def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)
def callback(phase, info):  # where an exception would be ignored
    if phase == "stop":
        gc.callbacks.clear()
        send()
stopping.install()
with stopping.resumable("this resumes it"):
    {}
print("the end")
"""


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("send()", 143, "\nasyncopt: stopped; this resumes it\n"),
        ("with stopping.deferred(): send(signal.SIGINT)", 130, "\nasyncopt: stopped; this resumes it\n"),
        (
            "with stopping.deferred(): stopping.check(); send(); print('on', file=sys.stderr); stopping.check(); 1 / 0",
            143,
            "on\nasyncopt: stopped; this resumes it\n",
        ),
        (
            "with stopping.deferred(): stopping.check(); send(); print('written', file=sys.stderr)",
            143,
            "written\nasyncopt: stopped; this resumes it\n",
        ),
        ("with stopping.deferred(): stopping.check(); send(); send()", 143, "\nasyncopt: stopped; this resumes it\n"),
        ("with stopping.raising(): send(); 1 / 0", 143, "asyncopt: stopped; this resumes it\n"),
        (
            "with stopping.deferred(): stopping.check(); gc.callbacks.append(callback); gc.collect(); "
            "stopping.check(); 1 / 0",
            143,
            "asyncopt: stopped; this resumes it\n",
        ),
        ("stopping.check()", 0, ""),
    ],
)
def test_when_a_signal_counts(body, status, said, tmp_path):
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(body)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, said)
    assert done.stdout == ("the end\n" if status == 0 else "")


def test_a_program_of_the_users_own_keeps_its_ctrl_c():
    body = "from asyncopt import stopping\nwith stopping.deferred(): stopping.check(); os.kill(os.getpid(), 2); 1 / 0"
    done = subprocess.run([sys.executable, "-c", f"import os\n{body}"], capture_output=True, text=True, check=False)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert "ZeroDivisionError" not in done.stderr


@pytest.mark.parametrize(
    "command", ["version", "problem=quadratic trace.num_updates=5 seeds=1 plot=false progress=false"]
)
def test_when_nobody_reads_its_output(command, tmp_path):
    """As in ``asyncopt report FOLDER | head``, which closes the pipe before all of it is written."""
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "asyncopt", *command.split()],
        cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, "")
