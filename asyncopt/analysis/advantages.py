"""The claims of a comparison: ours reaches the target before each rival, and why the synchronous method is later."""

import itertools
import math

import numpy as np

from asyncopt import theory
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.comparison import OURS, RANDOM, STEADY, SYNCHRONOUS, Comparison, Trial
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED, Verdict

# The throughput of a trace of a few hundred rounds is expected within this share of the predicted one.
THROUGHPUT_TOLERANCE = 0.1
# Clocks that add the same durations in different orders differ by less than this.
_ROUNDING = 1e-9


def advantages(comparison: Comparison) -> list[Verdict]:
    """Returns a verdict for each rival, clock, number of workers and quantity: the ratio of times is above 1."""
    rivals = [method for method in comparison.methods if method != OURS]
    settings = itertools.product(comparison.quantities, rivals, comparison.clocks, comparison.num_workers)
    verdicts = (_advantage(comparison, rival, clock, p, quantity) for quantity, rival, clock, p in settings)
    return [verdict for verdict in verdicts if verdict is not None]


def _advantage(comparison: Comparison, rival: str, clock: str, num_workers: int, quantity: str) -> Verdict | None:
    pair = [comparison.tuned(method, clock, num_workers, quantity) for method in (OURS, rival)]
    if None in pair:
        return None
    measured = comparison.estimate(comparison.advantage(rival, clock, num_workers, quantity))
    outcome, rule = above_one(measured)
    at_edge = [trial.method for trial in pair if trial is not None and comparison.at_edge(trial)]
    rule += "".join(f"; {method}'s step size is the last of the grid" for method in at_edge)
    claim = f"{OURS} reaches the target {quantity} before {rival}: {workers(num_workers)}, {clock}"
    return Verdict(claim, "ratio of times > 1", measured, 2 * len(comparison.seeds), outcome, rule)


def shrinking(comparison: Comparison) -> list[Verdict]:
    """Returns a verdict for each number of workers: the synchronous method loses less with constant times."""
    verdicts = []
    for quantity, p in itertools.product(comparison.quantities, comparison.num_workers):
        settings = itertools.product((OURS, SYNCHRONOUS), (RANDOM, STEADY))
        if p == 1 or any(comparison.tuned(method, clock, p, quantity) is None for method, clock in settings):
            continue
        random, steady = (comparison.advantage(SYNCHRONOUS, clock, p, quantity) for clock in (RANDOM, STEADY))
        with np.errstate(invalid="ignore"):
            measured = comparison.estimate(random / steady)
        outcome, rule = above_one(measured)
        claim = f"the synchronous method loses less time to the {quantity} with constant times: {workers(p)}"
        verdicts.append(Verdict(claim, "ratio of ratios > 1", measured, 4 * len(comparison.seeds), outcome, rule))
    return verdicts


def throughputs(comparison: Comparison) -> list[Verdict]:
    """Returns a verdict for each clock and p with a formula: our gradients per second over the synchronous ones."""
    verdicts = []
    for clock, p in itertools.product(comparison.clocks, comparison.num_workers):
        pair = [comparison.tried(method, clock, p) for method in (OURS, SYNCHRONOUS)]
        predicted = _predicted_ratio(pair[0][0]) if all(pair) else None
        if predicted is None:
            continue
        ratio = pair[0][0].throughput / pair[1][0].throughput
        holds = abs(ratio / predicted - 1) <= THROUGHPUT_TOLERANCE
        outcome, rule = (CONFIRMED, "within") if holds else (VIOLATED, "not within")
        claim = f"gradients a second, over the synchronous method's: {workers(p)}, {clock}"
        measured, rule = Estimate(ratio, math.nan, math.nan), f"{rule} {THROUGHPUT_TOLERANCE:.0%}"
        verdicts.append(Verdict(claim, f"{predicted:.3g}", measured, 2, outcome, rule))
    return verdicts


def _predicted_ratio(trial: Trial) -> float | None:
    """Returns what the formulas give for the trial's clock, or None where they do not apply."""
    trace, compute, server = trial.trace, trial.trace["compute"], trial.trace["server"]
    alike = not trace.get("stragglers") and not trace["network"]["mean"] and np.isscalar(compute["mean"])
    distribution = compute["distribution"]
    if not alike or distribution not in ("exponential", "constant") or server["distribution"] != distribution:
        return None
    settings = (trial.num_workers, compute["mean"], server["mean"], distribution)
    return theory.asynchronous_throughput(*settings) / theory.synchronous_throughput(*settings)


def above_one(measured: Estimate) -> tuple[str, str]:
    """Returns outcome and rule of the claim that a ratio is above 1."""
    if math.isnan(measured.value):
        return INCONCLUSIVE, "neither reached the target"
    if math.isnan(measured.low):
        return INCONCLUSIVE, "no interval"
    if measured.low > 1 + _ROUNDING:
        return CONFIRMED, "whole interval above 1"
    if measured.high < 1 - _ROUNDING:
        return VIOLATED, "whole interval below 1"
    return INCONCLUSIVE, "interval on both sides of 1"


def workers(number: int) -> str:
    """Returns "1 worker" or "8 workers"."""
    return "1 worker" if number == 1 else f"{number} workers"
