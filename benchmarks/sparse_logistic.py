"""Times sparse logistic regression of the shape of rcv1: the replay loop and a NumPy and SciPy loop, side by side.

The data are 20,242 rows of 47,236 features with 72 values each, in mini-batches of 64. Both loops take the gradient at
the stale iterate, make APAM's step on all coordinates, and keep a history. Runs are interleaved; medians are printed.
"""

import os

# One thread a device, as `python -m asyncopt` has it. The variable PJRT_NPROC=2 shows what more threads cost.
os.environ.setdefault("PJRT_NPROC", "1")

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from replay_overhead import replay_loop
from timing import microseconds_per_update

import asyncopt
from asyncopt.engine import ApamProbe, loop, plan
from asyncopt.problems import data

NUM_ROWS, NUM_FEATURES, ROW_VALUES, BATCH_SIZE = 20_242, 47_236, 72, 64
MAX_DELAY, NUM_UPDATES = 20, 1_000
STEP_SIZE = 1e-3


def rcv1_shaped() -> data.Dataset:
    """Returns random rows of unit length, labelled by a random hyperplane."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.permuted(np.tile(np.arange(656), (NUM_ROWS, 1)), axis=1)[:, :ROW_VALUES], axis=1)
    columns = columns * 72 + rng.integers(0, 72, columns.shape)  # distinct columns, all below 47,232
    values = rng.exponential(size=columns.shape)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    starts = np.arange(0, NUM_ROWS * ROW_VALUES + 1, ROW_VALUES)
    rows = scipy.sparse.csr_array((values.ravel(), columns.ravel(), starts), shape=(NUM_ROWS, NUM_FEATURES))
    labels = (rows @ rng.normal(size=NUM_FEATURES) > 0).astype(int)
    return data.split("rcv1-shaped", rows, labels, 2, test_fraction=0.0, seed=0)


def scipy_loop(dataset, trace, dtype):
    """Returns the same run in NumPy and SciPy, with the same slots for the history."""
    slots = plan(trace)
    rows = dataset.features.astype(dtype)
    signs = np.where(dataset.labels == 1, 1, -1).astype(dtype)
    step_size, b1, b2, eps = (dtype(x) for x in (STEP_SIZE, 0.9, 0.999, 1e-8))

    def loop():
        rng = np.random.default_rng(0)
        x, m, v, v_max = (np.zeros(NUM_FEATURES, dtype) for _ in range(4))
        history = np.zeros((slots.capacity, NUM_FEATURES), dtype)
        for k in range(trace.num_updates):
            batch = rng.integers(0, NUM_ROWS, BATCH_SIZE)
            picked, sign = rows[batch], signs[batch]
            scores = picked @ history[slots.read_slot[k]]
            g = picked.T @ (-sign / (1 + np.exp(sign * scores))) / dtype(BATCH_SIZE)
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            v_max = np.maximum(v_max, v)
            x = x - step_size * m / (np.sqrt(v_max) + eps)
            history[slots.write_slot[k]] = x
        return x

    return loop


def main():
    """Prints the microseconds of an update, and the ratio."""
    dataset = rcv1_shaped()
    trace = asyncopt.traces.uniform(NUM_UPDATES, MAX_DELAY)
    for dtype in (np.float32, np.float64):
        jax.config.update("jax_enable_x64", dtype is np.float64)
        problem = asyncopt.problems.logistic(dataset, l2=0.0, batch_size=BATCH_SIZE, intercept=False)
        batch_keys = loop.batch_keys(jax.random.key(0), jnp.arange(NUM_UPDATES))
        optimizer = asyncopt.apam(STEP_SIZE)
        loops = {
            "replay": replay_loop(problem, optimizer, batch_keys, trace, recorded=()),
            "replay, with bounds": replay_loop(problem, optimizer, batch_keys, trace, recorded=(ApamProbe(),)),
            "NumPy and SciPy": scipy_loop(dataset, trace, dtype),
        }
        median = microseconds_per_update(loops, NUM_UPDATES)
        print(f"\nrcv1-shaped, batch {BATCH_SIZE}, {NUM_UPDATES:,} updates, {dtype.__name__}")
        for name, microseconds in median.items():
            print(f"  {name:20s} {microseconds:9.1f} µs an update")
        print(f"  NumPy and SciPy / replay  {median['NumPy and SciPy'] / median['replay']:.1f}")


if __name__ == "__main__":
    main()
