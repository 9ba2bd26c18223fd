"""The claims of a comparison: that ours is sooner at the target than each rival, and why the synchronous one is not."""

import math

import numpy as np

from asyncopt import theory
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.comparison import OURS, RANDOM, STEADY, SYNCHRONOUS, Comparison, Run
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, VIOLATED, Verdict

# A trace of some hundred rounds meets its expected throughput to about this part.
THROUGHPUT_TOLERANCE = 0.1
# Clocks that add the same durations in another order differ by less.
_ROUNDING = 1e-9


def advantages(comparison: Comparison) -> list[Verdict]:
    """Returns a verdict for each rival, clock, number of workers and quantity: the ratio of times is above 1."""
    found = []
    for quantity in comparison.quantities:
        for rival in comparison.methods:
            if rival == OURS:
                continue
            for clock in comparison.clocks:
                found += [_advantage(comparison, rival, clock, p, quantity) for p in comparison.num_workers]
    return [one for one in found if one is not None]


def _advantage(comparison: Comparison, rival: str, clock: str, num_workers: int, quantity: str) -> Verdict | None:
    runs = [comparison.tuned(method, clock, num_workers, quantity) for method in (OURS, rival)]
    if None in runs:
        return None
    measured = comparison.estimate(comparison.advantage(rival, clock, num_workers, quantity))
    outcome, rule = above_one(measured)
    at_edge = [run.method for run in runs if run is not None and comparison.at_edge(run)]
    rule += "".join(f"; {method}'s step size is the last of the grid" for method in at_edge)
    claim = f"{OURS} is sooner at the {quantity} than {rival}: {workers(num_workers)}, {clock}"
    return Verdict(claim, "ratio of times > 1", measured, 2 * len(comparison.seeds), outcome, rule)


def shrinking(comparison: Comparison) -> list[Verdict]:
    """Returns a verdict for each number of workers: with constant times, the synchronous method loses less."""
    found = []
    for quantity in comparison.quantities:
        for p in comparison.num_workers:
            if p == 1 or any(
                comparison.tuned(method, clock, p, quantity) is None
                for method in (OURS, SYNCHRONOUS)
                for clock in (RANDOM, STEADY)
            ):
                continue
            with np.errstate(invalid="ignore"):
                ratio = comparison.advantage(SYNCHRONOUS, RANDOM, p, quantity) / comparison.advantage(
                    SYNCHRONOUS, STEADY, p, quantity
                )
            measured = comparison.estimate(ratio)
            outcome, rule = above_one(measured)
            claim = f"the synchronous method loses less time to the {quantity} with constant times: {workers(p)}"
            found.append(Verdict(claim, "ratio of ratios > 1", measured, 4 * len(comparison.seeds), outcome, rule))
    return found


def throughputs(comparison: Comparison) -> list[Verdict]:
    """Returns a verdict for each clock and p with a formula: gradients a second of ours, over the synchronous ones."""
    found = []
    for clock in comparison.clocks:
        for p in comparison.num_workers:
            pair = [comparison.tried(method, clock, p) for method in (OURS, SYNCHRONOUS)]
            predicted = _predicted_ratio(pair[0][0]) if all(pair) else None
            if predicted is None:
                continue
            value = pair[0][0].throughput / pair[1][0].throughput
            holds = abs(value / predicted - 1) <= THROUGHPUT_TOLERANCE
            found.append(
                Verdict(
                    f"gradients a second, over the synchronous method's: {workers(p)}, {clock}",
                    f"{predicted:.3g}",
                    Estimate(value, math.nan, math.nan),
                    2,
                    CONFIRMED if holds else VIOLATED,
                    f"{'within' if holds else 'not within'} {THROUGHPUT_TOLERANCE:.0%}",
                )
            )
    return found


def _predicted_ratio(run: Run) -> float | None:
    """Returns what the formulas give for the run's clock, or None where they do not apply."""
    trace = run.trace
    compute, server = trace["compute"], trace["server"]
    alike = not trace.get("stragglers") and not trace["network"]["mean"]
    if not alike or compute["distribution"] not in ("exponential", "constant"):
        return None
    if server["distribution"] != compute["distribution"] or not np.isscalar(compute["mean"]):
        return None
    settings = (run.num_workers, compute["mean"], server["mean"], compute["distribution"])
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


__all__ = ["above_one", "advantages", "shrinking", "throughputs", "workers"]
