"""Compares an update of five workloads with the least time that this machine could need for it.

The least time is the larger of two: the bytes that an update must read and write, over the rate of a stream through
arrays of that size, and its multiplications and additions, over the rate of a matrix product. Both rates are measured
in the same run. Bytes count each array once: x, m, v, v̂ are read and written; the gradient is written and read; the
stale iterate is read and the new one kept; the average is read and written; and the mini-batch is read.
"""

import os

# One thread a device, as `python -m asyncopt` has it.
os.environ.setdefault("PJRT_NPROC", "1")

import jax
import jax.numpy as jnp
import timing
from loops import microseconds_of_one
from workloads import ITEM, workloads

ARRAYS = 4 * 2 + 2 + 2 + 2  # passes over arrays of the parameters' size
SEEDS = {"digits": (1, 16)}


def stream_rate(num_bytes):
    """Returns bytes a second of y = a x + y, over arrays that hold so many bytes together."""
    size = max(int(num_bytes / 2 / ITEM), 1024)
    passes = max(int(2e8 / num_bytes), 10)

    @jax.jit
    def run(x, y):
        return jax.lax.fori_loop(0, passes, lambda _, y: 0.5 * x + y, y)

    x = jnp.ones(size, jnp.float32)
    return 3 * size * ITEM * passes / timing.fastest(lambda: run(x, x))


def product_rate():
    """Returns multiplications and additions a second of a product of square matrices."""
    size = 512
    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a: jax.lax.fori_loop(0, 10, lambda _, b: a @ b, a))
    return 10 * 2 * size**3 / timing.fastest(lambda: product(a))


def main():
    """Prints the table."""
    print(f"product: {product_rate() / 1e9:.1f} G multiplications and additions a second")
    print(f"{'':32}{'MB':>8}{'GB/s':>8}{'M ops':>8}{'least µs':>10}{'µs':>10}{'ratio':>8}")
    for name, make in workloads().items():
        workload = make()
        for num_seeds in SEEDS.get(name, (1,)):
            measured, run = microseconds_of_one(workload.problem, workload.num_updates // num_seeds, num_seeds)
            parameters = sum(leaf[0].size for leaf in jax.tree.leaves(run.params))
            num_bytes = ARRAYS * parameters * ITEM + workload.batch_bytes
            bandwidth, rate = stream_rate(num_bytes), product_rate()
            least = 1e6 * max(num_bytes / bandwidth, workload.operations / rate)
            title = name if num_seeds == 1 else f"{name}, {num_seeds} seeds"
            print(
                f"{title:32}{num_bytes / 1e6:8.2f}{bandwidth / 1e9:8.1f}{workload.operations / 1e6:8.2f}"
                f"{least:10.1f}{measured:10.1f}{measured / least:8.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
