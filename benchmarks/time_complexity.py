"""Seconds that servers need for ‖∇F‖² <= ε, over the lower bound of time complexity, as the number of workers grows.

    python benchmarks/time_complexity.py

Worker i takes i seconds, i from 1, so that more workers hardly help. The bound is that of Tyurin and Richtárik
(https://arxiv.org/abs/2305.12387), without its constant:

    min over m of (1/m Σ_{i<=m} 1/τ_i)^-1 (L Δ / ε + σ² L Δ / (m ε²)).

For an optimal server the ratio stays within a constant factor. Each server has the best of six step sizes.
"""

import jax
import numpy as np
import optax

import asyncopt
from asyncopt.traces import Clock, policies, simulate

DIMENSION, NOISE, ACCURACY, SEEDS = 16, 0.3, 0.1, 4
STEP_SIZES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
NUM_WORKERS = (4, 16, 64, 256, 1024)
LIMIT = 0.6  # simulated seconds, over the bound


def bound(seconds, excess, variance):
    """Returns the lower bound in seconds, with L = 1."""
    number = np.arange(1, len(seconds) + 1)
    harmonic = number / np.cumsum(1 / np.sort(seconds))
    return np.min(harmonic * (excess / ACCURACY + variance * excess / (number * ACCURACY**2)))


def seconds_needed(problem, trace):
    """Returns the seconds until the mean of ‖∇F‖² over seeds is at most ε, with the best step size; or infinity."""
    best = np.inf
    for step_size in STEP_SIZES:
        every = max(trace.num_updates // 300, 1)
        run = asyncopt.replay(problem, optax.sgd(step_size), trace, seeds=SEEDS, eval_every=every)
        reached = np.flatnonzero(run.grad_norm_sq.mean(axis=0) <= ACCURACY)
        if len(reached) and run.time is not None:
            best = min(best, run.time[reached[0]])
    return best


def main():
    """Prints a row for each number of workers."""
    problem = asyncopt.problems.quadratic(DIMENSION, 10.0, noise=NOISE)
    starts = [problem.init(asyncopt.engine.init_key(jax.random.key(seed))) for seed in range(SEEDS)]
    excess = float(np.mean([problem.objective(start) for start in starts]))
    variance = NOISE**2 * DIMENSION
    batch = int(np.ceil(variance / ACCURACY))
    servers = {
        "Ringmaster": policies.ringmaster(batch),
        "Rennala": policies.rennala(batch),
        "asynchronous": policies.asynchronous(),
    }
    print("workers", *servers, sep="\t")
    for num_workers in NUM_WORKERS:
        seconds = np.arange(1.0, num_workers + 1)
        least, ratios = bound(seconds, excess, variance), []
        for policy in servers.values():
            trace = simulate(policy, Clock(num_workers, seconds.tolist()), until=LIMIT * least)
            ratios.append(seconds_needed(problem, trace) / least)
        print(num_workers, *(f"{ratio:.3f}" if np.isfinite(ratio) else f"> {LIMIT}" for ratio in ratios), sep="\t")


if __name__ == "__main__":
    main()
