"""Measures what a delay costs: the replay loop under delay and the plain Optax loop, side by side.

Prints, for small and large parameters, the time of an update in each of
  plain        a jitted scan over the Optax optimizer: no history, nothing measured
  measured     the same, plus what every replay measures (average, drift, divergence); no history, no delay
  replay       the replay loop under uniform delay up to 20
  + bounds     the replay loop that also measures what the convergence bounds need
  + certified  the same, and the certificate of every run: what `record_bounds=true` records on a problem with a known
               minimiser
and the ratios that matter. Runs of the four are interleaved; the median of each is reported.
"""

import os

# One thread a device, as `python -m asyncopt` has it. The variable PJRT_NPROC=2 shows what more threads cost.
os.environ.setdefault("PJRT_NPROC", "1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from timing import microseconds_per_update

import asyncopt
from asyncopt.engine import ApamProbe, loop, measure, plan, probes
from asyncopt.engine.state import Schedule
from asyncopt.problems import data

MAX_DELAY = 20


def wide_data(num_features: int) -> data.Dataset:
    """Returns random dense rows; only their shape matters here."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(512, num_features)) / np.sqrt(num_features)
    labels = generator.integers(0, 10, 512)
    return data.split("random", features, labels, 10, test_fraction=0.0, seed=0)


def compare(title, problem, num_updates):
    """Times the four loops and prints a table."""
    trace = asyncopt.traces.uniform(num_updates, MAX_DELAY)
    optimizer = asyncopt.apam(1e-3)
    batch_keys = loop.batch_keys(jax.random.key(0), jnp.arange(num_updates))
    loops = {
        "plain": plain_loop(problem, optimizer, batch_keys, num_updates, measured=False),
        "measured": plain_loop(problem, optimizer, batch_keys, num_updates, measured=True),
        "replay": replay_loop(problem, optimizer, batch_keys, trace, ()),
        "+ bounds": replay_loop(problem, optimizer, batch_keys, trace, (ApamProbe(),)),
    }
    certified = probes.chosen(optimizer, problem, record_bounds=True, probes=())
    if len(certified) > 1:
        loops["+ certified"] = replay_loop(problem, optimizer, batch_keys, trace, certified)
    median = microseconds_per_update(loops, num_updates)
    print(f"\n{title}, {num_updates:,} updates, {jnp.zeros(()).dtype}")
    for name, microseconds in median.items():
        print(f"  {name:11s} {microseconds:9.1f} µs an update")
    print(f"  replay / measured  {median['replay'] / median['measured']:.3f}")
    print(f"  replay / plain     {median['replay'] / median['plain']:.3f}")
    print(f"  + bounds / plain   {median['+ bounds'] / median['plain']:.3f}")
    if len(certified) > 1:
        print(f"  certified / replay {median['+ certified'] / median['replay']:.3f}")


def main():
    """Times all three problems."""
    jax.config.update("jax_enable_x64", True)
    compare("digits, 650 parameters", asyncopt.problems.logistic("digits"), 5_000)
    wide = asyncopt.problems.logistic(wide_data(10_000), l2=1.0, intercept=False)
    compare("random rows, 100,000 parameters", wide, 300)
    compare("quadratic, 100,000 parameters", asyncopt.problems.quadratic(100_000), 300)


if __name__ == "__main__":
    main()
