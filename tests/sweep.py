"""Small sweeps as ``python -m asyncopt -m`` leaves them, made without its start-up for every job."""

import itertools

import optax
from omegaconf import OmegaConf

import asyncopt
from asyncopt.engine import Run, Settings, replay_batch
from asyncopt.files import records
from asyncopt.optim import step_size
from asyncopt.run import staleness

LENGTHS = (30, 100, 600, 3000)
# Not about the minimiser: an iterate thrown from side to side would still be right on average.
BOX = asyncopt.Box(-1.0, 0.25)


def quadratic(num_updates):
    del num_updates
    return asyncopt.problems.quadratic(3, 4.0, noise=1.0, init_scale=0.2, constraint=BOX)


def run(
    folder,
    rules,
    *,
    problem=quadratic,
    lengths=LENGTHS,
    seeds=16,
    learning_rate=1.0,
    schedule="inverse_sqrt_horizon",
    wrap=lambda transform: transform,
    target="asyncopt.apam",
):
    """Writes a run folder for each rule of constant delays and each K. ``wrap`` may spoil the optimizer."""
    settings = {"b1": 0.9, "b2": 0.9, "eps": 0.1}

    numbers = itertools.count()
    for k in lengths:
        made = problem(k)
        # As the command line does it: a step size is an input, and tests that differ in it share a compilation.
        alpha = step_size(schedule, learning_rate, k)
        optimizer = wrap(
            asyncopt.optim.parametric(asyncopt.apam, learning_rate=alpha, **settings, constraint=made.constraint)
        )
        traces = [asyncopt.traces.constant(k, staleness.parse(rule)(k)) for rule in rules]
        # One batch for all rules, so that they share a compilation.
        runs = [Run(made, optimizer, trace, range(seeds)) for trace in traces]
        for rule, trace, result in zip(rules, traces, replay_batch(runs, Settings()), strict=True):
            _save(rule, trace, result, folder / str(next(numbers)), made, target, learning_rate, schedule, settings)


def _save(rule, trace, result, folder, made, target, learning_rate, schedule, settings):
    """Writes a run as the command line does."""
    config = {
        "staleness": rule,
        "problem": {"_target_": f"asyncopt.problems.{type(made).__name__.lower()}"},
        "optimizer": {
            "_target_": target,
            "learning_rate": learning_rate,
            "schedule": schedule,
            "bias_correction": False,
            **settings,
        },
        "trace": {"_target_": "asyncopt.traces.constant", "num_updates": trace.num_updates, "delay": trace.max_delay},
        "precision": "float64",
    }
    records.save_run(folder, OmegaConf.create(config), made, trace, result)


def ascent(transform):
    """The optimizer with the wrong sign."""
    return optax.chain(optax.scale(-1.0), transform)
