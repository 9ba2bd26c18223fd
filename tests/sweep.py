"""Small sweeps as ``python -m asyncopt -m`` leaves them, made without its start-up for every job."""

import itertools

import jax
import optax

import asyncopt
from asyncopt.engine import ApamProbe, Run, Settings, replay_batch
from asyncopt.files import manifest
from asyncopt.optim import step_size
from asyncopt.run import execute, staleness
from asyncopt.run.task import Task

LENGTHS = (30, 100, 600, 3000)
# Not about the minimiser: an iterate thrown from side to side would still be right on average.
BOX = asyncopt.Box(-1.0, 0.25)


def list_anew(folder):
    """Writes the checksums of all runs below a folder anew, as whoever changes a file on purpose would."""
    for path in folder.rglob(manifest.NAME):
        manifest.write(path.parent, [name for name in manifest.read(path.parent) if (path.parent / name).exists()])


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
        # By the method's name, as the command line chooses it: an optimizer that was spoilt in secret has bounds, too.
        probes = (ApamProbe(apam_state),) if target == "asyncopt.apam" else ()
        # One batch for all rules, so that they share a compilation.
        runs = [Run(made, optimizer, trace, range(seeds), probes) for trace in traces]
        for rule, one_run, result in zip(rules, runs, replay_batch(runs, Settings(eval_every="percent")), strict=True):
            _save(rule, one_run, result, folder / str(next(numbers)), target, learning_rate, schedule, settings)


def apam_state(state):
    """The one ApamState in an optimizer's state."""
    leaves = jax.tree.leaves(state, is_leaf=lambda leaf: isinstance(leaf, asyncopt.optim.ApamState))
    return next(leaf for leaf in leaves if isinstance(leaf, asyncopt.optim.ApamState))


def _save(rule, run, result, folder, target, learning_rate, schedule, settings):
    """Writes a run as the command line does."""
    config = {
        "staleness": rule,
        "problem": {"_target_": f"asyncopt.problems.{type(run.problem).__name__.lower()}"},
        "optimizer": {
            "_target_": target,
            "learning_rate": learning_rate,
            "schedule": schedule,
            "bias_correction": False,
            **settings,
        },
        "trace": {
            "_target_": "asyncopt.traces.constant",
            "num_updates": run.trace.num_updates,
            "delay": run.trace.max_delay,
        },
        "precision": "float64",
        "handling": None,
        "runtime": None,
    }
    execute.save(Task(config, run.trace), folder, run, result)


def ascent(transform):
    """The optimizer with the wrong sign."""
    return optax.chain(optax.scale(-1.0), transform)
