"""Made runs of methods on the simulated cluster, whose loss falls exponentially in time."""

import numpy as np
import pandas as pd

import asyncopt
from asyncopt.analysis import advantages
from asyncopt.files.records import Record

SEEDS = 8
METHODS = {"APAM": "cluster", "SGD": "cluster", "SGD with momentum": "cluster", "synchronous AMSGrad": "rounds"}
GRID = (0.01, 0.1, 1.0)


def on_a_grid(method, speed, *, rates=GRID, **settings):
    """Runs of which those with a step size of 0.1 are the fastest; the others are half as fast."""
    return [
        run for rate in rates for run in made_runs(method, speed if rate == 0.1 else speed / 2, rate=rate, **settings)
    ]


def made_runs(method, speed, *, num_clocks=4, distribution="exponential", **settings):
    """A run for each clock; one if the clock is not random."""
    clocks = num_clocks if distribution == "exponential" else 1
    return [made_run(method, speed, distribution=distribution, clock_seed=clock, **settings) for clock in range(clocks)]


def made_run(
    method,
    speed,
    *,
    rate=0.1,
    workers=2,
    distribution="exponential",
    seed_speeds=None,
    noise=0.02,
    mean=1.0,
    take=None,
    clock_seed=0,
    seeds=range(SEEDS),
    optimizer=None,
    cluster=None,
    more=None,
):
    """A run whose loss falls as exp(-speed t) on the clock of its trace, each seed a little faster or slower."""
    kind = METHODS[method]
    clock = {"compute": {"distribution": distribution, "mean": mean}, "server": {"distribution": distribution}}
    clock["server"]["mean"] = 0.02
    clock |= cluster or {}
    rounds = {"take": take} if kind == "rounds" else {}
    trace = getattr(asyncopt.traces, kind)(640, workers, seed=clock_seed, **clock, **rounds)
    steps = np.arange(0, 641, 20)
    time = np.concatenate([[0.0], trace.time])[steps]
    factors = seed_speeds
    if factors is None:
        factors = np.exp(noise * np.random.default_rng(seeds).normal(size=len(seeds)))
    loss = 1 + np.exp(-speed * np.outer(factors, time))
    frame = pd.DataFrame(
        {
            "seed": np.repeat(seeds, len(steps)),
            "step": np.tile(steps, len(seeds)),
            "time": np.tile(time, len(seeds)),
            "objective": loss.ravel(),
        }
    )
    settings = {"num_workers": workers, "stragglers": 0, "slowdown": 4.0, "network": {"distribution": "constant"}}
    settings["network"]["mean"] = 0.0
    config = {
        "optimizer": {"_target_": method.split()[0], "learning_rate": rate, **(optimizer or {})},
        "trace": {"_target_": f"asyncopt.traces.{kind}", **settings, **clock, **rounds, "seed": clock_seed},
        "precision": "float64",
        **(more or {}),
    }
    labels = {"problem": "quadratic", "method": method, "clock": f"{distribution} times", "trace": kind}
    return Record(config, frame, {"trace": {}, "problem": {}, "labels": labels})


def advantages_of(comparison):
    """The verdicts on which method is faster, after the correction for their number."""
    return list(advantages.judge(comparison)[0].values())
