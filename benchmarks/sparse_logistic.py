"""Times logistic regression on rows of text: the replay loop and a NumPy and SciPy loop, side by side.

The data are `rcv1_like`: 20,242 rows of 47,236 features, with 74 values on average and 769 at most, in mini-batches of
64. Both loops take the gradient at the stale iterate, make APAM's step on all coordinates, and keep a history. Then
evaluations of F and its gradient on all rows, and `asyncopt.replay` as it is called, with its default evaluations.
"""

import os

# One thread a device, as `python -m asyncopt` has it. The variable PJRT_NPROC=2 shows what more threads cost.
os.environ.setdefault("PJRT_NPROC", "1")

import jax
import numpy as np
import timing
from loops import replay_loop

import asyncopt
from asyncopt.engine import ApamProbe, plan
from asyncopt.problems import data

BATCH_SIZE = 64
MAX_DELAY, NUM_UPDATES = 20, 949  # three epochs
STEP_SIZE = 1e-3


def scipy_loop(dataset, trace, dtype):
    """Returns the same run in NumPy and SciPy, with the same slots for the history."""
    slots = plan(trace)
    num_rows, num_features = dataset.features.shape
    rows = dataset.features.astype(dtype)
    signs = np.where(dataset.labels == 1, 1, -1).astype(dtype)
    step_size, b1, b2, eps = (dtype(x) for x in (STEP_SIZE, 0.9, 0.999, 1e-8))

    def loop():
        rng = np.random.default_rng(0)
        x, m, v, v_max = (np.zeros(num_features, dtype) for _ in range(4))
        history = np.zeros((slots.largest_capacity, num_features), dtype)
        for k in range(trace.num_updates):
            batch = rng.integers(0, num_rows, BATCH_SIZE)
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


def scipy_evaluation(dataset, dtype):
    """Returns F and its gradient on all rows, in NumPy and SciPy."""
    rows = dataset.features.astype(dtype)
    signs = np.where(dataset.labels == 1, 1, -1).astype(dtype)
    x = np.zeros(rows.shape[1], dtype)

    def evaluation():
        scores = signs * (rows @ x)
        return np.mean(np.logaddexp(0, -scores)), rows.T @ (-signs / (1 + np.exp(scores))) / len(signs)

    return evaluation


def compare(dataset, dtype):
    """Times updates and evaluations; returns the rows."""
    trace = asyncopt.traces.uniform(NUM_UPDATES, MAX_DELAY)
    problem = asyncopt.problems.logistic(dataset, l2=0.0, batch_size=BATCH_SIZE, intercept=False)
    optimizer = asyncopt.apam(STEP_SIZE)
    evaluate = jax.jit(jax.value_and_grad(problem.objective))
    start = problem.init(jax.random.key(0))
    updates = timing.compare(
        f"rcv1_like, {np.dtype(dtype)}, an update of {NUM_UPDATES}",
        {
            "NumPy and SciPy": scipy_loop(dataset, trace, dtype),
            "loop": replay_loop(problem, optimizer, trace),
            "loop, bounds": replay_loop(problem, optimizer, trace, recorded=(ApamProbe(),)),
            "replay": lambda: asyncopt.replay(problem, optimizer, trace).params,
        },
        NUM_UPDATES,
    )
    return updates + timing.compare(
        f"rcv1_like, {np.dtype(dtype)}, F and its gradient",
        {"NumPy and SciPy": scipy_evaluation(dataset, dtype), "compiled": lambda: evaluate(start)},
    )


def main():
    """Compares in single and in double precision, and returns the rows."""
    dataset = data.rcv1_like()
    rows = []
    for dtype in (np.float32, np.float64):
        jax.config.update("jax_enable_x64", dtype is np.float64)
        rows += compare(dataset, dtype)
    return rows


if __name__ == "__main__":
    timing.script(main, __doc__)
