"""Measures updates a second of real workers, asynchronous and in rounds, and compares the cluster model with them.

    python benchmarks/real_runs.py                Ray processes, 50 ms a gradient; four minutes
    python benchmarks/real_runs.py --kind threads

The model is fitted to the run of one worker alone, so its numbers for several workers are predictions. The problem is
logistic regression on digits.
"""

import argparse
import dataclasses
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncopt.traces import Trace

COMPUTE = 0.05  # injected latency of a gradient, in seconds
UPDATES_A_WORKER = 160
SLOWDOWN = 4.0


def rate_of(trace: "Trace") -> float:
    """Returns updates a second."""
    rate = trace.updates_per_second
    assert rate is not None  # it has a clock
    return rate


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=["ray", "threads"], default="ray")
    kind = parser.parse_args().kind
    os.environ["PJRT_NPROC"] = "1"
    import jax

    jax.config.update("jax_enable_x64", True)
    import asyncopt
    from asyncopt import runtime
    from asyncopt.analysis.cluster_fit import fit_cluster
    from asyncopt.runtime.ray import Ray

    problem = asyncopt.problems.logistic("digits")
    apam = asyncopt.apam(0.01)

    def real(workers: int, synchronous: bool, stragglers: int) -> asyncopt.traces.Trace:
        optimizer = asyncopt.optim.buffer_updates(apam, size=workers, exponent=0.0) if synchronous else apam
        pool = (Ray if kind == "ray" else runtime.Threads)(
            workers, compute=COMPUTE, stragglers=stragglers, slowdown=SLOWDOWN
        )
        num_updates = UPDATES_A_WORKER * workers
        return runtime.record(
            problem, optimizer, pool, num_updates=num_updates, eval_every=num_updates, synchronous=synchronous
        ).trace

    alone = real(1, False, 0)
    model = fit_cluster(alone)
    compute_mean, server_mean = model.compute.means("compute", 1)[0], model.server.means("server", 1)[0]
    base = rate_of(alone)
    print(f"{kind}: a gradient takes {compute_mean * 1e3:.1f} ms, the server {server_mean * 1e3:.2f} ms an update")
    titles = f"{'a second':>9}{'model':>8}{'ratio':>7}{'speed-up':>9}{'/ p':>6}{'mean delay':>11}"
    print(f"{'workers':>8} {'':26}{titles}")
    for workers, synchronous, stragglers in [
        (1, False, 0), (2, False, 0), (4, False, 0), (8, False, 0), (4, False, 1), (4, True, 0), (4, True, 1),
        (8, False, 1), (8, True, 0), (8, True, 1),
    ]:  # fmt: skip
        trace = alone if workers == 1 else real(workers, synchronous, stragglers)
        make, service = asyncopt.traces.cluster, server_mean
        if synchronous:  # at the end of a round the server applies all of its gradients, one after another
            make, service = asyncopt.traces.rounds, workers * server_mean
        predicted = make(
            trace.num_updates, workers, model.compute, dataclasses.replace(model.server, mean=service),
            stragglers=stragglers, slowdown=SLOWDOWN,
        )  # fmt: skip
        rate, expected = rate_of(trace), rate_of(predicted)
        print(
            f"{workers:8} {'rounds' if synchronous else 'asynchronous':14}{'one slow' if stragglers else '':12}"
            f"{rate:9.1f}{expected:8.1f}{rate / expected:7.3f}"
            f"{rate / base:9.2f}{rate / base / workers:6.2f}{trace.mean_delay:11.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
