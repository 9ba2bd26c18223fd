"""Says where the time of a sweep goes: composing, planning, compiling, running, writing, Hydra's own part of each job.

    python benchmarks/sweep_parts.py [--jobs 8 64 512 4096] [--devices 1 2]

Each sweep is a process of its own, with the vectorised launcher: logistic regression on digits, 500 updates, one seed,
under so many step sizes. A short sweep before compiles the programs, which are kept, as a user's second sweep has it.
The part "hydra" is what Hydra itself does for each job: it copies the configuration several times, and writes it.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

PARTS = ("starting", "composing", "planning", "compiling", "running", "writing", "hydra", "other")
UPDATES = 500


def in_this_process(overrides, output):
    """Runs a sweep, with the functions of each part timed, and writes the seconds of each."""
    began = float(os.environ["BEGAN"])
    seconds: dict[str, float] = collections.defaultdict(float)

    def timed(owner, name, part, without=()):
        inner = getattr(owner, name)

        def outer(*arguments, **named):
            start, others = time.perf_counter(), sum(seconds[other] for other in without)
            try:
                return inner(*arguments, **named)
            finally:
                others = sum(seconds[other] for other in without) - others
                seconds[part] += time.perf_counter() - start - others

        setattr(owner, name, outer)

    from asyncopt import __main__ as program
    from asyncopt.engine import batch
    from asyncopt.files import records
    from asyncopt.sweeps import plan
    from hydra_plugins.asyncopt_launcher import _composed, _core

    def compiled(event, duration_secs, **_):
        if event.rsplit("/", 1)[-1] in ("jaxpr_to_mlir_module_duration", "backend_compile_duration"):
            seconds["compiling"] += duration_secs

    import jax

    jax.monitoring.register_event_duration_secs_listener(compiled)
    timed(_composed.ComposedOnce, "load_sweep_config", "composing")
    timed(plan, "plan", "planning", without=["compiling"])
    timed(batch, "drive", "running", without=["compiling"])
    timed(records, "save", "writing")
    timed(_core, "run_job", "hydra", without=["writing"])  # copies the configuration, and writes .hydra
    seconds["starting"] = time.time() - began
    sys.argv = ["asyncopt", *overrides]
    program.main()
    seconds["total"] = time.time() - began
    output.write_text(json.dumps(seconds))


def sweep(num_jobs, num_devices):
    """Returns the seconds of each part of a sweep."""
    devices = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={num_devices}", "PJRT_NPROC": "1"}
    environment = {**os.environ, **devices, "BEGAN": str(time.time())}
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder, "seconds.json")
        overrides = [
            "-m", "hydra/launcher=asyncopt_vectorized", f"hydra.sweep.dir={folder}/sweep", "plot=false",
            "progress=false", f"trace.num_updates={UPDATES}", "seeds=1",
            f"optimizer.learning_rate=range(1,{num_jobs + 1})",
        ]  # fmt: skip
        command = [sys.executable, __file__, "--here", str(output), *overrides]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds = collections.defaultdict(float, json.loads(output.read_text()))
    seconds["other"] = seconds["total"] - sum(seconds[part] for part in PARTS)
    return seconds


def main():
    """Prints the table."""
    if sys.argv[1:2] == ["--here"]:
        in_this_process(sys.argv[3:], pathlib.Path(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, nargs="+", default=[8, 64, 512, 4096])
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    print(f"{'jobs':>6}{'devices':>8}{'seconds':>9}{'jobs/s':>8}" + "".join(f"{part:>11}" for part in PARTS))
    for num_devices in options.devices:
        for num_jobs in options.jobs:
            sweep(min(num_jobs, 64), num_devices)
            seconds = sweep(num_jobs, num_devices)
            shares = "".join(f"{seconds[part] / seconds['total']:11.0%}" for part in PARTS)
            total = seconds["total"]
            print(f"{num_jobs:6}{num_devices:8}{total:9.1f}{num_jobs / total:8.1f}{shares}", flush=True)


if __name__ == "__main__":
    main()
