"""Studies and run folders made of numbers with known exponents, without any replay."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import scipy.stats

from asyncopt import theory
from asyncopt.analysis import Study
from asyncopt.files.records import Record, save
from asyncopt.run import staleness

LENGTHS = (1000, 3162, 10_000, 31_623, 100_000)
RULES = (0, "K**0.125", "K**0.25", "K**0.375", "K**0.5")
SETTINGS = {"learning_rate": 1.0, "schedule": "inverse_sqrt_horizon", "b1": 0.9, "b2": 0.99, "eps": 0.1}
CONSTANTS = {"dimension": 3.0, "smoothness": 1.0, "gradient_bound": 1.0, "diameter": 2.0, "lower_bound": 0.0}
# What a run records besides its gaps; sums that make the a-posteriori bound of a gap 1/√K about 10/√K.
RECORDED = {"drift": 0.0, "scale_l1": 1.0, "scaled_momentum_sum": 1.0, "momentum_l1": 1.0, "scaled_gradient_sum": 1.0}

# Deviations of 16 seeds from their mean: one up, one down; and those of a normal sample, whose mean has the standard
# error 1.
SIGNS = np.array([-1.0, 1.0] * 8)
NORMAL = 4 * scipy.stats.zscore(scipy.stats.norm.ppf((np.arange(16) + 0.5) / 16), ddof=1)
# That mean over all seeds, and then without each of them. Its interval is from -REACH to REACH.
UNIT = np.append(0.0, -NORMAL / 15)
REACH = scipy.stats.t.ppf(0.975, 15)


def study(
    truth,
    rng,
    *,
    rules=RULES,
    lengths=LENGTHS,
    seeds=16,
    noise=0.2,
    shared=0.1,
    errors=None,
    bound=None,
    prior=10.0,
    **fields,
):
    """Returns a study in which cell (τ, K) has mean truth(τ, K), with noise of each run and of each seed.

    Both factors are gamma distributed with mean 1 and the given standard deviations: positive and skewed, as gaps are.
    ``shared`` is common to all cells of a seed, as the same mini-batches are. ``errors(rng, shape)`` draws other
    factors of mean 1 in place of the gamma distributed ones of each run. ``bound(τ, K)`` returns the leading part and
    the delay's part of the a-posteriori bound; without it, the bound is ten times the mean. The a-priori bound is
    ``prior`` times the a-posteriori one.
    """
    rows, columns, bounds = [], [], []
    errors = errors or (lambda rng, shape: gamma(rng, noise, shape))
    common = gamma(rng, shared, (seeds, 1))
    for rule, k in itertools.product(map(staleness.parse, rules), lengths):
        delay = rule(k)
        rows.append({
            "rule": rule.label, "exponent": rule.exponent, "factor": rule.factor, "num_updates": k,
            "delay": float(delay), "mean_delay": float(delay), "max_delay": delay, "num_workers": delay + 1,
            "throughput": np.nan, "run": "", "diverged": 0,
        })  # fmt: skip
        columns.append(truth(delay, k) * common * errors(rng, (seeds, 1)))
        bounds.append(bound(delay, k) if bound else (10 * columns[-1].mean(), 0.0))
    values = np.hstack(columns)
    leading, delayed = (np.array(part, float) for part in zip(*bounds, strict=True))
    parts = {"leading": leading, "lower_order": np.zeros_like(leading), "delay": delayed}
    total = leading + delayed
    known = {"quantity": "average_gap", "theorem": theory.THEOREMS["convex"], "outside": "", **fields}
    return Study(
        name="synthetic",
        method="APAM",
        cells=pd.DataFrame(rows).assign(a_posteriori=total, a_priori=prior * total, a_priori_delay=prior * delayed),
        values=values,
        seeds=tuple(range(seeds)),
        limit=float(values[np.isfinite(values)].max()),
        bounds={name: np.tile(part, (seeds, 1)) for name, part in parts.items()},
        **known,
    )


def without(study, cells):
    """Returns a study without some of its cells, which are given by their numbers."""
    kept = [cell for cell in range(len(study.cells)) if cell not in cells]
    rows = study.cells.iloc[kept].reset_index(drop=True)
    bounds = {name: part[:, kept] for name, part in study.bounds.items()}
    return dataclasses.replace(study, cells=rows, values=study.values[:, kept], bounds=bounds)


def gamma(rng, deviation, shape):
    if deviation == 0:
        return np.ones(shape)
    return rng.gamma(1 / deviation**2, deviation**2, shape)


def record(rule, k, gaps, *, optimizer="APAM"):
    """Returns a run as it is on disk, a seed for each gap that F = ‖x‖²/2 has at the end; it is 1 at the start."""
    rule, steps = staleness.parse(rule), np.array([0, k])
    gap = np.stack([np.ones(len(gaps)), gaps], axis=1).ravel()
    frame = {"seed": np.repeat(np.arange(len(gaps)), 2), "step": np.tile(steps, len(gaps)), "grad_norm_sq": 2 * gap}
    frame |= dict.fromkeys(("objective", "gap", "average_objective", "average_gap"), gap)
    recorded = {"step_size": k**-0.5, "scaled_momentum_max": 1.0, **RECORDED}
    config = {
        "problem": {"batch_size": 1},
        "optimizer": {**SETTINGS, "bias_correction": False},
        "trace": {"num_updates": k, "delay": rule(k)},
    }
    delays = {"max_delay": rule(k), "mean_delay": float(rule(k)), "mean_square_delay": float(rule(k)) ** 2}
    summary = {
        "trace": {"num_updates": k, "num_workers": 1, **delays},
        "problem": {**CONSTANTS, "convex": True, "attains_rate": False},
        "labels": {"problem": "bowl", "optimizer": optimizer, "constraint": "box", "trace": "constant"},
        "staleness": {"label": rule.label, "factor": rule.factor, "exponent": rule.exponent, "settings": ["delay"]},
    }
    return Record(config, pd.DataFrame(frame).assign(**recorded), summary)


def write(folder, truth, *, rules=RULES, lengths=LENGTHS, seeds=16, noise=0.02, **settings):
    """Writes a run folder for each rule and K, with mean gap truth(τ, K)."""
    rng = np.random.default_rng(0)
    for number, (rule, k) in enumerate(itertools.product(rules, lengths)):
        gaps = truth(staleness.parse(rule)(k), k) * gamma(rng, noise, seeds)
        save(folder / str(number), record(rule, k, gaps, **settings))
