"""Studies made of numbers with known exponents, without any run."""

import itertools

import numpy as np
import pandas as pd

from asyncopt.analysis import Study
from asyncopt.run import staleness

LENGTHS = (1000, 3162, 10_000, 31_623, 100_000)
RULES = (0, "K**0.125", "K**0.25", "K**0.375", "K**0.5")


def study(truth, rng, *, rules=RULES, lengths=LENGTHS, seeds=16, noise=0.2, shared=0.1, outside="", **fields):
    """Returns a study in which cell (τ, K) has mean truth(τ, K), with noise of each run and of each seed.

    Both factors are gamma distributed with mean 1 and the given standard deviations: positive and skewed, as gaps are.
    ``shared`` is common to all cells of a seed, as the same mini-batches are.
    """
    rows, columns = [], []
    common = gamma(rng, shared, (seeds, 1))
    for rule, k in itertools.product(map(staleness.parse, rules), lengths):
        delay = rule(k)
        rows.append(
            {
                "rule": rule.label,
                "exponent": rule.exponent,
                "factor": rule.factor,
                "num_updates": k,
                "delay": float(delay),
                "mean_delay": float(delay),
                "max_delay": delay,
                "num_workers": delay + 1,
                "throughput": np.nan,
                "run": "",
                "diverged": 0,
            }
        )
        columns.append(truth(delay, k) * common * gamma(rng, noise, (seeds, 1)))
    settings = {"problem": "asyncopt.problems.logistic", "quantity": "average_gap", "theorem": "convex", **fields}
    values = np.hstack(columns)
    cells = pd.DataFrame(rows).assign(a_posteriori=10 * values.mean(axis=0), a_priori=100 * values.mean(axis=0))
    return Study(
        name="synthetic",
        method="asyncopt.apam",
        outside=outside,
        cells=cells,
        values=values,
        seeds=tuple(range(seeds)),
        limit=float(values.max()),
        **settings,
    )


def gamma(rng, deviation, shape):
    if deviation == 0:
        return np.ones(shape)
    return rng.gamma(1 / deviation**2, deviation**2, shape)
