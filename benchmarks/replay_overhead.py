"""Measures what a replay costs: called from Python, and its compiled loop, beside a plain Optax loop.

Prints, for small and large parameters, the time of an update in each of
  plain           a jitted scan over the Optax optimizer: no history, nothing measured
  measured        the same, plus what every replay measures (average, drift, divergence); no history, no delay
  loop            the loop of the replay under uniform delay up to 20, without evaluations
  loop, bounds    the same with `record_bounds=True`, which certifies a run where the minimiser is known
  replay          `asyncopt.replay` as it is called, with its default evaluations, planning and reading included
  replay, bounds  the same with `record_bounds=True`
and their ratios to the plain loop, with quartiles. The variable PJRT_NPROC=1 gives XLA one thread, as
`python -m asyncopt` does. Without it XLA takes all cores.
"""

import jax
import jax.numpy as jnp
import timing
from loops import MAX_DELAY, plain_loop, replay_loop
from workloads import wide_data

import asyncopt
from asyncopt.engine import probes


def compare(title, problem, num_updates):
    """Times the loops and prints a table."""
    trace = asyncopt.traces.uniform(num_updates, MAX_DELAY)
    optimizer = asyncopt.apam(1e-3)
    recorded = probes.chosen(optimizer, problem, record_bounds=True, probes=())
    calls = {
        "plain": plain_loop(problem, optimizer, num_updates),
        "measured": plain_loop(problem, optimizer, num_updates, measured=True),
        "loop": replay_loop(problem, optimizer, trace),
        "loop, bounds": replay_loop(problem, optimizer, trace, recorded),
        "replay": lambda: asyncopt.replay(problem, optimizer, trace).params,
        "replay, bounds": lambda: asyncopt.replay(problem, optimizer, trace, record_bounds=True).params,
    }
    precision = jnp.zeros(()).dtype
    return timing.compare(f"{title}, {num_updates:,} updates, {precision}, an update", calls, num_updates)


def main():
    """Times all three problems, in both precisions, and returns the rows."""
    rows = []
    for double in (False, True):
        jax.config.update("jax_enable_x64", double)
        rows += compare("digits, 650 parameters", asyncopt.problems.logistic("digits"), 20_000)
        wide = asyncopt.problems.logistic(wide_data(10_000), l2=1.0, intercept=False)
        rows += compare("random rows, 100,000 parameters", wide, 1_000)
        rows += compare("quadratic, 100,000 parameters", asyncopt.problems.quadratic(100_000), 1_000)
    return rows


if __name__ == "__main__":
    timing.script(main, __doc__)
