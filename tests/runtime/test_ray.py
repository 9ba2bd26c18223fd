"""Workers and servers in processes of their own that the tests kill."""

import concurrent.futures
import ipaddress
import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

import asyncopt
from asyncopt import InputError, runtime
from asyncopt.files import records
from asyncopt.run import verification
from asyncopt.runtime.ray import Ray
from asyncopt.runtime.ray_session import ray_session
from asyncopt.traces import policies
from tests.runtime.test_server import APAM, check_replays

QUADRATIC = asyncopt.problems.quadratic(dimension=20)


@pytest.fixture
def nothing_left(monkeypatch):
    """Checks that of the processes that a test starts, none is left after it."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("ASYNCOPT_TEST", mark)
    monkeypatch.setenv("PJRT_NPROC", "1")
    yield mark
    until = time.monotonic() + 60  # when a server is killed, Ray itself takes a while to notice
    while (left := _marked(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    assert not left


def _marked(mark):
    commands = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes() and int(path.name) != os.getpid():
                commands[int(path.name)] = (path / "cmdline").read_bytes()[:80]
        except OSError:  # it is gone
            continue
    return {pid: command for pid, command in commands.items() if command}  # a zombie has none


def _listening(processes):
    """Returns the addresses at which processes listen to others."""
    sockets = set()
    for process in processes:
        for descriptor in pathlib.Path(f"/proc/{process}/fd").glob("*"):
            try:
                sockets.add(os.readlink(descriptor))
            except OSError:  # it is closed
                continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                raw = bytes.fromhex(fields[1].split(":")[0])
                words = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))  # each in the machine's order
                address = ipaddress.ip_address(words)
                addresses.add(str(getattr(address, "ipv4_mapped", None) or address))
    return addresses


def test_workers_that_are_killed_are_replaced(nothing_left):
    """Slow: Ray starts, and six processes import JAX."""
    pool = Ray(3, compute=0.01)

    class Watched:
        """Kills a worker's process in mid-run, three times."""

        def __init__(self):
            self.times, self.left = 0, [40, 120, 200]

        def __getattr__(self, name):
            return getattr(pool, name)

        def receive(self):
            self.times += 1
            if self.left and self.times >= self.left[0]:
                worker = len(self.left) - 1
                os.kill(pids[worker], signal.SIGKILL)
                self.left.pop(0)
            return pool.receive()

        def start(self, *arguments):
            pool.start(*arguments)
            pids.extend(pool.worker_processes())
            addresses.update(_listening({os.getpid(), *_marked(nothing_left)}))

    pids, addresses = [], set()
    recording = runtime.record(QUADRATIC, APAM, Watched(), num_updates=400, seed=1)
    assert recording.trace.num_updates == 400
    assert [incident["what"] for incident in recording.incidents] == ["lost"] * 3
    assert sorted(incident["worker"] for incident in recording.incidents) == [0, 1, 2]
    assert recording.summary()["workers_replaced"] == 3
    assert 0 < recording.trace.mean_delay <= 2  # less than p - 1 while a new worker starts
    check_replays(recording, seed=1)
    assert len(pids) == 3
    assert addresses == {"127.0.0.1"}  # this machine only


def test_a_late_worker_is_stopped_by_a_policy(nothing_left):
    """Slow: Ray starts, and two processes import JAX. Worker 1 takes half a minute for a gradient, and is stopped."""
    pool = Ray(2, compute=[0.005, 30.0])
    began = time.monotonic()
    recording = runtime.record(QUADRATIC, APAM, pool, num_updates=60, policy=policies.ringmaster(4), eval_every=10)
    assert recording.trace.cancelled >= 1
    assert set(recording.trace.worker) == {0}
    assert time.monotonic() - began < 30 * recording.trace.cancelled
    check_replays(recording, eval_every=10)


def test_a_server_that_is_killed_resumes(nothing_left, tmp_path):
    """Slow: Ray starts twice, and four processes import JAX."""
    command = [
        sys.executable, "-m", "asyncopt", "runtime=ray", "runtime.workers=2", "problem=quadratic", "progress=false",
        "trace.num_updates=600", "runtime.compute=0.005", "checkpoint_seconds=0.1", "hydra.run.dir=out", "plot=false",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path) as begun:
        while not (tmp_path / "out" / "checkpoint.npz").exists():
            assert begun.poll() is None
            time.sleep(0.01)
        begun.kill()
    assert not (tmp_path / "out" / "summary.json").exists()
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "updates a second on the real clock" in ended.stdout
    log = (tmp_path / "out" / "asyncopt.log").read_text()
    assert "the run resumes from its checkpoint" in log
    record = records.load_run(tmp_path / "out")
    assert record.summary["trace"]["num_updates"] == 600
    assert not (tmp_path / "out" / "checkpoint.npz").exists()
    verified = verification.verify(tmp_path / "out")
    assert verified.differs_at is None, verified.text
    assert "600 updates of 2 workers: every iterate is bit-identical to the recorded one" in verified.text


def test_a_worker_that_does_not_answer_fails():
    """Without Ray: a pool whose worker never answers."""
    pool = Ray(2, patience=0.5)
    pool._pending = {7: (1, time.monotonic())}
    began = time.monotonic()
    message, _ = pool.receive()
    assert time.monotonic() - began < 5
    assert message == runtime.WorkerFailure(1, "no answer within 0.5 s")
    assert not pool._pending
    # However often the others answer.
    pool._pending = {8: (1, time.monotonic() - 1), 9: (0, time.monotonic())}
    answer = concurrent.futures.Future()
    answer.set_result("a gradient")
    pool._answers.put((9, answer, 1.5))
    assert pool.receive()[0] == runtime.WorkerFailure(1, "no answer within 0.5 s")
    assert pool.receive() == ("a gradient", 1.5)


def test_ctrl_c_ends_what_ray_has_started(monkeypatch):
    """While it starts, and while the workers of a run are ended."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    ended = []
    monkeypatch.setattr("ray.shutdown", lambda: ended.append("ray"))
    monkeypatch.setattr("ray.init", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Ray(2).start(QUADRATIC, 0, np.zeros(20))
    assert ended == ["ray"]
    monkeypatch.setattr("ray.init", lambda **_: None)
    monkeypatch.setattr("ray.kill", interrupted)
    pool = Ray(2)
    pool._session.enter_context(ray_session(None))
    pool._actors = ["an actor"]
    with pytest.raises(KeyboardInterrupt):
        pool.close()
    assert ended == ["ray", "ray"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"workers": 1, "num_cpus": -1}, "num_cpus is -1"),
        ({"workers": 1, "patience": 0}, "patience is 0"),
        ({"workers": 1, "stragglers": -1}, "stragglers is -1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        Ray(**arguments)


@pytest.mark.parametrize(
    ("address", "found"),
    [("127.0.0.1:1", set()), ("ray://127.0.0.1:1", set()), ("auto", set()), ("auto", {"127.0.0.1:1"})],
)
def test_no_cluster_at_that_address(address, found, monkeypatch):
    """For "auto", Ray finds no cluster, or one that was killed a moment ago."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", lambda: found)  # other tests start clusters
    with pytest.raises(InputError, match=f"address is '{address}', expected that of a running Ray cluster"):
        Ray(1, address=address).start(QUADRATIC, 0, np.zeros(20))
