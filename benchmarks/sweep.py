"""Times sweeps of logistic regression on digits under each launcher, side by side, in wall-clock seconds.

    python benchmarks/sweep.py           256 short jobs: 16 delays, 16 step sizes, 4 seeds, 2,000 updates
    python benchmarks/sweep.py --long    32 long jobs of 16 seeds and 50,000 updates; takes ten minutes

Every command line is a process of its own, and its start-up counts. A short run before it compiles the programs, which
are kept. Only a sample of the jobs with one seed at a time is run; its time is scaled up to all of them.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

ASYNCOPT = [sys.executable, "-m", "asyncopt"]
EMPTY = [sys.executable, str(pathlib.Path(__file__).with_name("empty_app.py"))]
QUIET = ["plot=false", "progress=false"]
SAMPLE = 32  # jobs of one seed, of 512


def seconds(command: list[str], *overrides: str) -> float:
    """Returns how long a sweep into a folder of its own takes."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        subprocess.run(
            [*command, "-m", *QUIET, f"hydra.sweep.dir={folder}", *overrides],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return time.perf_counter() - began


def show(name: str, value: float, note: str = "") -> float:
    """Prints a line of the table."""
    print(f"  {name:44}{value:8.1f} s  {note}", flush=True)
    return value


def short() -> None:
    """Times 256 jobs, Hydra alone, the arithmetic alone, and the basic launcher."""
    shape = ["trace.num_updates=2000", "seeds=4"]
    sweep = [*shape, "trace.max_delay=range(0,160,10)", "optimizer.learning_rate=range(0.1,1.7,0.1)"]
    small = [*shape, "trace.max_delay=0,150", "optimizer.learning_rate=range(0.1,0.5,0.1)"]
    for launcher in ("basic", "asyncopt_vectorized"):
        seconds(ASYNCOPT, f"hydra/launcher={launcher}", *small)
    print("256 jobs: 16 delays, 16 step sizes, 4 seeds each, 2,000 updates")
    empty = show("Hydra, 256 empty jobs", seconds(EMPTY, *sweep))
    one = show("the 1,024 runs as batches, compiled", batches())
    vectorized = show("launcher asyncopt_vectorized", seconds(ASYNCOPT, "hydra/launcher=asyncopt_vectorized", *sweep))
    basic = show("launcher basic", seconds(ASYNCOPT, "hydra/launcher=basic", *sweep))
    print(f"  vectorized / (Hydra + batches)    {vectorized / (empty + one):.2f}")
    print(f"  vectorized / basic                {vectorized / basic:.2f}")


def batches() -> float:
    """Returns how long the arithmetic of the short sweep takes: one program, called for 32 runs at a time.

    All 1,024 at a time take twice as long, since they do not fit into a core's cache.
    """
    import os

    os.environ["PJRT_NPROC"] = "1"
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    import asyncopt
    from asyncopt.engine import Run, Settings, batch, plan, replay_batch

    problem = asyncopt.problems.logistic("digits")
    traces = [asyncopt.traces.uniform(2000, delay) for delay in range(0, 160, 10)]
    optimizers = [
        asyncopt.optim.parametric(
            asyncopt.apam, learning_rate=asyncopt.optim.step_size("inverse_sqrt_horizon", alpha / 10, 2000)
        )
        for alpha in range(1, 17)
    ]
    runs = [Run(problem, optimizer, trace, range(4)) for trace in traces for optimizer in optimizers]
    varying = batch.varying_leaves(runs)
    capacity = max(plan(trace).capacity for trace in traces)
    parts = [runs[first : first + 8] for first in range(0, len(runs), 8)]
    replay_batch(parts[-1], Settings(), varying=varying, capacity=capacity)  # compiles
    began = time.perf_counter()
    for part in parts:
        replay_batch(part, Settings(), varying=varying, capacity=capacity)
    return time.perf_counter() - began


def long() -> None:
    """Times 32 jobs of 16 seeds, one seed at a time, and joblib."""
    shape = ["trace.num_updates=50000"]
    delays, steps = "trace.max_delay=range(0,160,20)", "optimizer.learning_rate=0.2,0.4,0.8,1.6"
    for overrides in (["hydra/launcher=asyncopt_vectorized", "seeds=16"], ["hydra/launcher=basic", "seeds=1"]):
        seconds(ASYNCOPT, "trace.num_updates=50000", "eval_every=50000", "trace.max_delay=140", *overrides)
    print("32 jobs: 8 delays, 4 step sizes, 16 seeds each, 50,000 updates")
    vectorized = show(
        "launcher asyncopt_vectorized",
        seconds(ASYNCOPT, "hydra/launcher=asyncopt_vectorized", "seeds=16", *shape, delays, steps),
    )
    joblib = show("launcher joblib", seconds(ASYNCOPT, "hydra/launcher=joblib", "seeds=16", *shape, delays, steps))
    sample = seconds(ASYNCOPT, "hydra/launcher=basic", "seeds=[0]", *shape, delays, steps)
    basic = show("launcher basic, one seed at a time", sample * 512 / SAMPLE, f"{SAMPLE} of 512 jobs, {sample:.1f} s")
    sample = seconds(ASYNCOPT, "hydra/launcher=joblib", "seeds=[0]", *shape, delays, steps)
    by_one = show("launcher joblib, one seed at a time", sample * 512 / SAMPLE, f"{SAMPLE} of 512 jobs, {sample:.1f} s")
    print(f"  basic one by one / vectorized   {basic / vectorized:.2f}")
    print(f"  joblib one by one / vectorized  {by_one / vectorized:.2f}")
    print(f"  joblib / vectorized             {joblib / vectorized:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="the long jobs, instead of the short ones")
    (long if parser.parse_args().long else short)()
