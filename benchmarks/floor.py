"""Compares an update of five workloads with the least time that this machine could need for it.

The least time is the larger of two: the bytes that an update must read and write, over the rate of a stream through
arrays of that size, and its multiplications and additions, over the rate of a matrix product. Both rates are measured
in the same run. Bytes count each array once: x, m, v, v̂ are read and written; the gradient is written and read; the
stale iterate is read and the new one kept; the average is read and written; and the mini-batch is read.
"""

import os

# One thread a device, as `python -m asyncopt` has it.
os.environ.setdefault("PJRT_NPROC", "1")

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
from replay_overhead import wide_data

import asyncopt
from asyncopt.problems import data

ARRAYS = 4 * 2 + 2 + 2 + 2  # passes over arrays of the parameters' size
ITEM = 4  # bytes, in single precision
ROUNDS = 5
VALUES_A_ROW = 74  # of rcv1_like, on average


class Workload(NamedTuple):
    """What an update of a workload must do, and how many are timed."""

    problem: object
    batch_bytes: float
    operations: float  # of the gradient
    num_updates: int
    num_seeds: int = 1


def dense(problem, batch_size, num_updates, num_seeds=1):
    """Returns the workload of a linear model on dense rows: two products with the mini-batch."""
    size, rows = problem.constants.dimension, problem.rows.values
    return Workload(problem, batch_size * rows.shape[1] * ITEM, 4 * batch_size * size, num_updates, num_seeds)


def sparse(problem, batch_size, values_a_row, num_updates):
    """Returns the workload of a linear model on sparse rows: each value is read with its column, and used twice."""
    values = batch_size * values_a_row
    return Workload(problem, values * 2 * ITEM, 4 * values, num_updates)


def network(problem, batch_size, num_updates, multiplications):
    """Returns the workload of a network: a gradient takes three times the multiplications of its scores."""
    pixels = problem.images[0].size
    return Workload(problem, batch_size * pixels, 2 * 3 * batch_size * multiplications, num_updates)


def stream_rate(num_bytes):
    """Returns bytes a second of y = a x + y, over arrays that hold so many bytes together."""
    size = max(int(num_bytes / 2 / ITEM), 1024)
    passes = max(int(2e8 / num_bytes), 10)

    @jax.jit
    def run(x, y):
        return jax.lax.fori_loop(0, passes, lambda _, y: 0.5 * x + y, y)

    x = jnp.ones(size, jnp.float32)
    return 3 * size * ITEM * passes / best(lambda: run(x, x))


def product_rate():
    """Returns multiplications and additions a second of a product of square matrices."""
    size = 512
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a: jax.lax.fori_loop(0, 10, lambda _, b: a @ b, a))
    return 10 * 2 * size**3 / best(lambda: product(a))


def best(call):
    """Returns the seconds of the fastest of several calls, the first of which compiles."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def microseconds(workload):
    """Returns the time of an update of one seed, without evaluations, and the parameters."""
    trace = asyncopt.traces.uniform(workload.num_updates, 20)
    optimizer = asyncopt.apam(1e-3)
    runs = [
        asyncopt.replay(
            workload.problem, optimizer, trace, seeds=range(workload.num_seeds), eval_every=trace.num_updates
        )
        for _ in range(ROUNDS)
    ]
    seconds = min(run.seconds - run.evaluation_seconds for run in runs)
    leaves = jax.tree.leaves(runs[0].params)
    return seconds / workload.num_updates / workload.num_seeds * 1e6, sum(leaf[0].size for leaf in leaves)


def main():
    """Prints the table."""
    fashion = data.fashion_mnist()
    text = data.rcv1_like()
    logistic, digits = asyncopt.problems.logistic, asyncopt.problems.logistic("digits")
    lenet = 6 * 5 * 5 * 28 * 28 + 16 * 6 * 5 * 5 * 10 * 10 + 400 * 120 + 120 * 84 + 84 * 10
    workloads = {
        "digits": dense(digits, 32, 20_000),
        "digits, 16 seeds": dense(digits, 32, 5_000, 16),
        "dense rows, 100,000 parameters": dense(logistic(wide_data(10_000), l2=1.0, intercept=False), 32, 500),
        "rcv1_like": sparse(logistic(text, 0.0, 64, intercept=False), 64, VALUES_A_ROW, 949),
        "LeNet-5": network(asyncopt.problems.lenet5(fashion, objective_images=500), 40, 200, lenet),
        "perceptron": network(asyncopt.problems.perceptron(fashion, objective_images=500), 40, 500, 784 * 100 + 1000),
    }
    print(f"product: {product_rate() / 1e9:.1f} G multiplications and additions a second")
    print(f"{'':32}{'MB':>8}{'GB/s':>8}{'M ops':>8}{'least µs':>10}{'µs':>10}{'ratio':>8}")
    rate = product_rate()
    for name, workload in workloads.items():
        measured, parameters = microseconds(workload)
        num_bytes = ARRAYS * parameters * ITEM + workload.batch_bytes
        bandwidth = stream_rate(num_bytes)
        least = 1e6 * max(num_bytes / bandwidth, workload.operations / rate)
        print(
            f"{name:32}{num_bytes / 1e6:8.2f}{bandwidth / 1e9:8.1f}{workload.operations / 1e6:8.2f}"
            f"{least:10.1f}{measured:10.1f}{measured / least:8.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
