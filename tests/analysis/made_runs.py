"""Made runs of methods on the simulated cluster, whose loss falls exponentially in time; and trials given by hand."""

import numpy as np
import pandas as pd

import asyncopt
from asyncopt.analysis import advantages
from asyncopt.analysis.comparison import Comparison, Trial
from asyncopt.analysis.comparison_draws import NUM_RESAMPLES, NUM_SPLITS, Replicates
from asyncopt.files.records import Record

SEEDS = 8
METHODS = {"APAM": "cluster", "SGD": "cluster", "SGD with momentum": "cluster", "synchronous AMSGrad": "rounds"}
GRID = (0.01, 0.1, 1.0)
# Of a trial given by hand: seconds for a gradient, and for the server.
CLOCK = {"compute": {"distribution": "constant", "mean": 1.0}, "server": {"distribution": "constant", "mean": 0.5}}


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


def advantages_of(compared):
    """The verdicts on which method is faster, after the correction for their number."""
    return list(advantages.judge(compared)[0].values())


def trial(method="APAM", rate=0.1, *, values=(8.0, 4.0, 0.0), time=(0.0, 1.0, 2.0), step=(0, 10, 20), **settings):
    """A trial of four runs, which are all the same unless ``values`` has a row for each."""
    values = np.broadcast_to(np.array(values, float), (4, len(step)))
    times = np.broadcast_to(np.array(time, float), values.shape)
    known = {"clock": "a clock", "num_workers": 2, "taken": None, "trace": {**CLOCK, "num_workers": 2}} | settings
    runs = {"step": np.array(step), "clocks": (0,) * 4, "seeds": tuple(range(4)), "time": times}
    return Trial(method=method, learning_rate=rate, values={"loss": values}, **(runs | known))


def comparison(*trials, progress=0.5, **settings):
    """A comparison of these trials; the target is half-way down."""
    return Comparison("made", 20, trials, progress, **settings)


def replicates(splits, resamples, units=8, seeds=8):
    """A number for each draw, from numbers for the splits and for the resamples, or one for all of them."""
    values = np.append(np.broadcast_to(splits, NUM_SPLITS), np.broadcast_to(resamples, NUM_RESAMPLES))
    return Replicates(values, units, seeds)
