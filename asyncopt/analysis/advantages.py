"""The claims of a comparison: ours reaches the target before each rival, and why the synchronous method is later."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from asyncopt import theory
from asyncopt.analysis import settings
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.comparison import FIRST, RANDOM, STEADY, SYNCHRONOUS, Comparison, Trial, runs_of
from asyncopt.analysis.comparison_draws import Replicates
from asyncopt.analysis.comparison_grid import faults
from asyncopt.analysis.jackknife import ONE_SIDED
from asyncopt.analysis.verdict import CONFIRMED, INCONCLUSIVE, NOT_COMPARABLE, VIOLATED, Verdict, corrected
from asyncopt.traces.durations import as_total

# Fewer draws of a random clock decide nothing about time.
FEWEST_CLOCKS = 4
# The throughput of a trace of a few hundred rounds is expected within this share of the predicted one.
THROUGHPUT_TOLERANCE = 0.1
# How many times as fast a rival is, in the claims that a confirmed one would have noticed.
_FASTER = (1.1, 2, 10)
# Clocks that add the same durations in different orders differ by less than this.
_ROUNDING = 1e-9


class Setting(NamedTuple):
    """One claim of `advantages`."""

    quantity: str  #: a key of `asyncopt.analysis.comparison.QUANTITIES`
    rival: str
    clock: str
    num_workers: int


def judge(comparison: Comparison) -> tuple[dict[Setting, Verdict], list[Verdict]]:
    """Returns the verdicts of `advantages`, and those of `shrinking` and `throughputs`.

    Holm's correction is over all that say which method is faster, see `asyncopt.analysis.verdict.corrected`.
    """
    found, others = advantages(comparison), [*shrinking(comparison), *throughputs(comparison)]
    judged = corrected([*found.values(), *others])
    return dict(zip(found, judged, strict=False)), judged[len(found) :]


def advantages(comparison: Comparison) -> dict[Setting, Verdict]:
    """Returns a verdict for each rival, clock, number of workers and quantity: the ratio of times is above 1."""
    rivals = [method for method in comparison.methods if method != comparison.ours]
    every = itertools.product(comparison.quantities, rivals, comparison.clocks, comparison.num_workers)
    verdicts = {setting: _advantage(comparison, setting) for setting in itertools.starmap(Setting, every)}
    return {setting: verdict for setting, verdict in verdicts.items() if verdict is not None}


def _advantage(comparison: Comparison, setting: Setting) -> Verdict | None:
    """Returns the verdict on ours against one rival in one setting; None if one of them has no run there."""
    quantity, rival, clock, num_workers = setting
    methods = (comparison.ours, rival)
    pair = [comparison.tuned(method, clock, num_workers, quantity) for method in methods]
    if None in pair:
        return None
    ratio = comparison.advantage(rival, clock, num_workers, quantity)
    found = faults(comparison, methods, clock, num_workers, quantity)
    claim = f"{comparison.ours} reaches the target {quantity} before {rival}: {workers(num_workers)}, {clock}"
    return _above_one(claim, "ratio of times > 1", ratio, pair, comparison.num_clocks(clock, num_workers), found)


def _above_one(
    claim: str,
    predicted: str,
    ratio: Replicates,
    tuned: Sequence[Trial | None],
    num_clocks: int | None,
    found: list[str],
) -> Verdict:
    """Returns the verdict on a claim that a ratio is above 1.

    Args:
      claim: the claim in words.
      predicted: the same in symbols.
      ratio: the ratio.
      tuned: the trials behind it.
      num_clocks: how many random clocks there are; None if the clock is not random.
      found: why the methods cannot be compared.
    """
    measured, level = ratio.estimate(), ratio.p_above_one()
    outcome, rule = _by_interval(measured)
    if outcome == CONFIRMED and level > ONE_SIDED:
        outcome, rule = INCONCLUSIVE, "reached by the rival in some resamples"
    # What cannot be decided whatever the ratio is no claim of the family that is corrected for.
    undecidable = bool(found) or (num_clocks is not None and num_clocks < FEWEST_CLOCKS)
    p_value = math.nan if undecidable else level
    outcome, rule = _unless_faulty(*_unless_few_clocks(outcome, rule, num_clocks), found)
    noticed = ()
    if outcome == CONFIRMED:
        slower = [f"the rival {factor} times as fast" for factor in _FASTER if measured.low <= factor]
        noticed = ("the methods exchanged", *slower[:1])
    return Verdict(claim, predicted, measured, runs_of(tuned), outcome, rule, noticed, p_value)


def _unless_faulty(outcome: str, rule: str, found: list[str]) -> tuple[str, str]:
    return (NOT_COMPARABLE, "; ".join(dict.fromkeys(found))) if found else (outcome, rule)


def _unless_few_clocks(outcome: str, rule: str, num_clocks: int | None) -> tuple[str, str]:
    """Returns outcome and rule, at most inconclusive with too few draws of a random clock."""
    if num_clocks is None or num_clocks >= FEWEST_CLOCKS:
        return outcome, rule
    draws = "the clock is one draw" if num_clocks == 1 else f"the clock is {num_clocks} draws"
    return INCONCLUSIVE, f"{rule}, but {draws}, and a random clock takes at least {FEWEST_CLOCKS} trace seeds"


def shrinking(comparison: Comparison) -> list[Verdict]:
    """Returns a verdict for each number of workers: the synchronous method loses less with constant times."""
    verdicts = []
    for quantity, p in itertools.product(comparison.quantities, comparison.num_workers):
        methods = (comparison.ours, SYNCHRONOUS)
        tuned = [comparison.tuned(method, clock, p, quantity) for clock in (RANDOM, STEADY) for method in methods]
        if p == 1 or None in tuned or not _differ_in_distribution_alone(tuned[0], tuned[2]):
            continue
        random, steady = (comparison.advantage(SYNCHRONOUS, clock, p, quantity) for clock in (RANDOM, STEADY))
        found = [fault for clock in (RANDOM, STEADY) for fault in faults(comparison, methods, clock, p, quantity)]
        claim = f"the synchronous method loses less time to the {quantity} with constant times: {workers(p)}"
        number = comparison.num_clocks(RANDOM, p)
        verdicts.append(_above_one(claim, "ratio of ratios > 1", random / steady, tuned, number, found))
    return verdicts


def _differ_in_distribution_alone(one: Trial | None, other: Trial | None) -> bool:
    if one is None or other is None:
        return False
    differing = settings.differences(settings.clock(one.trace), settings.clock(other.trace))
    return all(name.endswith(".distribution") for name in differing)


def throughputs(comparison: Comparison) -> list[Verdict]:
    """Returns a verdict for each setting, and number of gradients a round, whose throughput a formula predicts.

    It is about our gradients per second over those of synchronous rounds, both the mean over all clocks.
    """
    verdicts = []
    for clock, p in itertools.product(comparison.clocks, comparison.num_workers):
        ours = comparison.tried(comparison.ours, clock, p)
        rounds = {trial.taken: trial for trial in comparison.tried(SYNCHRONOUS + FIRST, clock, p)}
        for taken, trial in rounds.items() if ours else ():
            predicted = _predicted_ratio(ours[0].trace, p, taken)
            if predicted is None:
                continue
            ratio = ours[0].throughput / trial.throughput
            holds = abs(ratio / predicted - 1) <= THROUGHPUT_TOLERANCE
            outcome, rule = (CONFIRMED, "within") if holds else (VIOLATED, "not within")
            method = "the synchronous method's" if taken == p else f"those of rounds that take {taken} of {p}"
            claim = f"gradients a second, over {method}: {workers(p)}, {clock}"
            measured, rule = Estimate(ratio, math.nan, math.nan), f"{rule} {THROUGHPUT_TOLERANCE:.0%}"
            traces = len(set(ours[0].clocks)) + len(set(trial.clocks))
            noticed = ("a prediction off by a quarter",) if holds else ()  # it is further off than the tolerance
            verdict = Verdict(claim, f"{predicted:.3g}", measured, traces, outcome, rule, noticed)
            verdicts.append(dataclasses.replace(verdict, tolerance=f"{THROUGHPUT_TOLERANCE:.0%}"))
    return verdicts


def _predicted_ratio(trace: Mapping, num_workers: int, taken: int | None) -> float | None:
    """Returns what the formulas give for a clock, or None where they do not apply."""
    values = [("compute", trace["compute"]), ("server", trace["server"]), ("network", trace.get("network", 0.0))]
    totals = [as_total(name, value) for name, value in values]
    if any(len(total.terms) > 1 for total in totals):
        return None
    compute, server, network = (total.terms[0] for total in totals)
    if any(isinstance(duration.mean, Mapping) for duration in (compute, server, network)):
        return None
    alike = not trace.get("stragglers") and not np.any(network.mean) and np.isscalar(compute.mean)  # pyright: ignore
    distribution = compute.distribution
    if not alike or distribution not in ("exponential", "constant") or server.distribution != distribution:
        return None
    seconds = [float(duration.means("mean", 1)[0]) for duration in (compute, server)]
    means = (num_workers, seconds[0], seconds[1], distribution)
    return theory.asynchronous_throughput(*means) / theory.synchronous_throughput(*means, take=taken)


def _by_interval(measured: Estimate) -> tuple[str, str]:
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
