"""How often a comparison decides something that is not so: made trials of two methods that are equally fast.

``python -m tests.analysis.test_comparison_null`` prints the shares for all designs, in minutes: over 400 studies, and
over 100 of each of two differences.
"""

import dataclasses
import itertools

import numpy as np
import pytest

from asyncopt.analysis import CONFIRMED, INCONCLUSIVE, VIOLATED
from asyncopt.analysis.comparison import Comparison, Trial
from tests.analysis.made_runs import advantages_of

# Seeds of traces and mini-batches of the runs of a trial.
DESIGNS = {
    "16 seeds on a fixed clock": [(0, seed) for seed in range(16)],
    "8 seeds on a fixed clock": [(0, seed) for seed in range(8)],
    "8 clocks with 2 seeds each": [(clock, 2 * clock + seed) for clock in range(8) for seed in range(2)],
    "4 clocks with 4 seeds each": [(clock, 4 * clock + seed) for clock in range(4) for seed in range(4)],
    "4 clocks with the same 8 seeds": list(itertools.product(range(4), range(8))),
}
# Logarithms of the speeds of five step sizes: three in the middle are hard to tell apart.
SPEEDS = np.array([-0.5, -0.03, 0.0, -0.02, -0.4])


def study(generator, design, advantage=0.0, spread=0.15, trials_share=0.5):
    """A comparison in which ours is faster by ``advantage`` on a log scale.

    A run's log speed varies by its clock (5 %, which the trials of a method share) and by its mini-batches
    (``spread``), of which a part is shared by all trials with this seed, and the rest is the trial's own.
    """
    clocks, seeds = map(np.array, zip(*DESIGNS[design], strict=True))
    is_random = len(set(clocks)) > 1
    step = np.arange(0, 401, 20)
    trace = {"compute": "exponential" if is_random else 1.0, "num_workers": 4}
    shared = generator.normal(size=seeds.max() + 1)
    trials = []
    for method, faster in (("APAM", advantage), ("SGD", 0.0)):
        of_clock = 0.05 * generator.normal(size=clocks.max() + 1) * is_random
        for rate, speed in zip((0.01, 0.03, 0.1, 0.3, 1.0), SPEEDS + faster, strict=True):
            own = generator.normal(size=seeds.max() + 1)
            noise = np.sqrt(1 - trials_share) * shared + np.sqrt(trials_share) * own
            speeds = np.exp(speed + spread * noise[seeds])
            values = np.exp(-0.02 * np.outer(speeds, step)) * np.exp(0.05 * generator.normal(size=(len(seeds), 21)))
            time = np.outer(np.exp(of_clock[clocks]), step)
            trials.append(
                Trial(
                    method=method, clock="made times", num_workers=4, learning_rate=rate, taken=None, trace=trace,
                    step=step, clocks=tuple(clocks.tolist()), seeds=tuple(seeds.tolist()), time=time,
                    values={"loss": values},
                )
            )  # fmt: skip
    return Comparison("made", 400, tuple(trials), 0.95)


def test_many_claims_are_corrected_for():
    """What is confirmed alone is not among nine rivals that are as fast as ours."""
    alone = study(np.random.default_rng(0), "16 seeds on a fixed clock", advantage=0.14)
    (verdict,) = advantages_of(alone)
    assert verdict.outcome == CONFIRMED
    assert verdict.noticed == ("the methods exchanged", "the rival 1.1 times as fast")
    ours = [trial for trial in alone.trials if trial.method == "APAM"]
    equals = [dataclasses.replace(trial, method=f"equal {n}") for n in range(9) for trial in ours]
    judged = advantages_of(dataclasses.replace(alone, trials=(*alone.trials, *equals)))
    assert {verdict.outcome for verdict in judged} == {INCONCLUSIVE}
    assert [v.rule for v in judged if "SGD" in v.claim] == [
        "whole interval above 1, but not after Holm's correction for 10 claims"
    ]


def outcomes(number, design, seed=0, **settings):
    generator = np.random.default_rng(seed)
    return [advantages_of(study(generator, design, **settings))[0].outcome for _ in range(number)]


@pytest.mark.parametrize("design", DESIGNS)
def test_methods_that_are_equally_fast(design):
    """Of 12 studies at most two decide; at a rate of 5 % more would in 2 % of all tests, but these draws are fixed."""
    found = outcomes(12, design)
    assert found.count(CONFIRMED) + found.count(VIOLATED) <= 2
    assert set(found) <= {CONFIRMED, VIOLATED, INCONCLUSIVE}


@pytest.mark.parametrize(("advantage", "outcome"), [(0.4, CONFIRMED), (-0.4, VIOLATED)])
@pytest.mark.parametrize("design", DESIGNS)
def test_a_difference_of_half_is_found(design, advantage, outcome):
    assert outcomes(2, design, advantage=advantage, spread=0.1) == [outcome] * 2


if __name__ == "__main__":
    for name in DESIGNS:
        for difference, number in ((0.0, 400), (0.15, 100), (0.3, 100)):
            drawn = outcomes(number, name, seed=1, advantage=difference)
            shares = (f"{drawn.count(each) / number:.1%} {each}" for each in (CONFIRMED, VIOLATED, INCONCLUSIVE))
            print(f"{name}, {difference:.0%} faster: {', '.join(shares)}", flush=True)
