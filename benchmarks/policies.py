"""Times simulations of 10,000 workers under each policy, beside a sort of as many numbers as gradients come.

About a million gradients come: each job takes a second on average, with an exponential distribution. Before the first
time, Numba compiles the machine of long simulations, if it is installed. It takes five minutes, and prints the most
memory that the process took.
"""

import functools
import resource

import numpy as np
import timing

from asyncopt import traces
from asyncopt.traces import policies

NUM_WORKERS, SECONDS = 10_000, 100.0
POLICIES = {
    "asynchronous": policies.asynchronous(),
    "asynchronous, no waiting": policies.asynchronous(waits=False),
    "assignments at random": policies.assignments(),
    "shuffled assignments": policies.assignments("shuffled"),
    "rounds of the first half": policies.rounds(take=0.5),
    "ringmaster, R = 2,000, no stops": policies.ringmaster(2_000, stops=False),
    "ringmaster, R = 2,000": policies.ringmaster(2_000),
    "rennala, B = 1,000": policies.rennala(1_000),
    "buffered, b = 100": policies.buffered(100),
    "ringleader": policies.ringleader(),
    "malenia, S = 20,000": policies.malenia(20_000),
}


def main():
    """Returns the rows, and prints the memory."""
    clock = traces.Clock(NUM_WORKERS, compute="exponential", seed=1)
    numbers = np.random.default_rng(0).random(1_000_000)
    made = {}

    def simulate(name):
        made[name] = traces.simulate(POLICIES[name], clock, until=SECONDS)

    calls = {"sort of a million numbers": lambda: np.sort(numbers)}
    calls |= {name: functools.partial(simulate, name) for name in POLICIES}
    rows = timing.compare(f"{NUM_WORKERS:,} workers, {SECONDS:g} seconds", calls, rounds=3)
    for name, trace in made.items():
        print(f"  {name:32} {trace.arrivals:9,} gradients came, {trace.cancelled:9,} were stopped")
    print(f"  at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB of memory")
    return rows


if __name__ == "__main__":
    timing.script(main, __doc__)
