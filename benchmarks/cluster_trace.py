"""Times the simulation of a large cluster, and a bare loop over a heap of the same size."""

import heapq
import time

from asyncopt import traces

NUM_UPDATES, NUM_WORKERS = 1_000_000, 10_000


def main():
    """Prints both times and their ratio."""
    began = time.perf_counter()
    trace = traces.cluster(NUM_UPDATES, NUM_WORKERS, compute="exponential", server=1e-5)
    simulated = time.perf_counter() - began

    began = time.perf_counter()
    heap = [(float(worker), worker) for worker in range(NUM_WORKERS)]
    for k in range(NUM_UPDATES):
        heapq.heapreplace(heap, (float(NUM_WORKERS + k * 7919 % NUM_WORKERS + k), k % NUM_WORKERS))
    bare = time.perf_counter() - began
    print(f"{trace}")
    print(
        f"{NUM_UPDATES:,} updates of {NUM_WORKERS:,} workers: {simulated:.2f} s, {simulated / bare:.1f} × a bare heap"
    )


if __name__ == "__main__":
    main()
