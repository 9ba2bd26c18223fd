"""Small sweeps as ``python -m asyncopt -m`` leaves them, made without its start-up for every job."""

import functools
import itertools

import optax
from omegaconf import OmegaConf

import asyncopt
from asyncopt import staleness, store
from asyncopt.optim import step_size

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

    @functools.cache  # the same objects for all rules, so that they share a compilation
    def parts(k):
        made = problem(k)
        optimizer = wrap(asyncopt.apam(step_size(schedule, learning_rate, k), **settings, constraint=made.constraint))
        return made, optax.with_extra_args_support(optimizer)

    for number, (k, rule) in enumerate(itertools.product(lengths, rules)):
        made, optimizer = parts(k)
        trace = asyncopt.traces.constant(k, staleness.parse(rule)(k))
        result = asyncopt.replay(made, optimizer, trace, seeds=range(seeds))
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
            "trace": {"_target_": "asyncopt.traces.constant", "num_updates": k, "delay": trace.max_delay},
            "precision": "float64",
        }
        store.save_run(folder / str(number), OmegaConf.create(config), made, trace, result)


def ascent(transform):
    """The optimizer with the wrong sign."""
    return optax.chain(optax.scale(-1.0), transform)
