"""Times traces of 10⁷ updates: simulation and plan beside a sort of as many numbers, a replay beside a plain loop.

It takes five minutes.

The most memory that the process took is printed at the end.
"""

import resource

import numpy as np
import timing
from loops import plain_loop

import asyncopt
from asyncopt import traces
from asyncopt.engine import plan

NUM_UPDATES, NUM_WORKERS = 10_000_000, 10_000


def main():
    """Returns the rows, and prints the memory."""
    numbers = np.random.default_rng(0).random(NUM_UPDATES)
    simulated = traces.cluster(NUM_UPDATES, NUM_WORKERS, compute="exponential", server=1e-5)
    drawn = traces.uniform(NUM_UPDATES, 20)
    rows = timing.compare(
        f"{NUM_UPDATES:,} updates",
        {
            "sort of as many numbers": lambda: np.sort(numbers),
            "cluster of 10,000 workers": lambda: traces.cluster(
                NUM_UPDATES, NUM_WORKERS, compute="exponential", server=1e-5
            ),
            "plan of that trace": lambda: plan(_fresh(simulated)),
            "uniform delays up to 20": lambda: traces.uniform(NUM_UPDATES, 20),
            "plan of that trace too": lambda: plan(_fresh(drawn)),
        },
        rounds=5,
    )
    rows += _replayed(asyncopt.problems.quadratic(10), asyncopt.apam(1e-3), drawn)
    print(f"  at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB of memory")
    return rows


def _replayed(problem, optimizer, trace):
    """Returns the rows of a replay."""
    calls = {
        "plain": plain_loop(problem, optimizer, NUM_UPDATES),
        "replay": lambda: asyncopt.replay(problem, optimizer, trace).params,
    }
    title = f"a quadratic of 10 parameters, {NUM_UPDATES:,} updates, an update"
    return timing.compare(title, calls, number=NUM_UPDATES, rounds=3)


def _fresh(trace):
    """Returns the same trace, without what it has computed of itself before."""
    return traces.Trace(trace.read_version, worker=trace.worker, time=trace.time, num_workers=trace.num_workers)


if __name__ == "__main__":
    timing.script(main, __doc__)
