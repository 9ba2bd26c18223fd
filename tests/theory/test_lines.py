"""Every line of the proofs, as ``docs/theory.md`` states it, on random numbers in place of a run's.

No run is needed: a line is a function of what was recorded. Random numbers also tell sums from means, and seeds from
evaluations, where a run would hide a mistake behind an inequality that is far from tight.
"""

import numpy as np
import pytest
import scipy.optimize

from asyncopt.theory import THEOREMS, Evidence
from asyncopt.theory.convex_bounds import stale_costs
from asyncopt.theory.nonconvex_bounds import best_shares, best_start, nonconvex_a_posteriori_weighted, weighted

STEPS = np.array([0, 2, 3, 10, 25])
NUM_SEEDS = 3
K = 25
L, D, N, G = 3.0, 1.5, 7, 0.8
A, B1, B2, EPS = 0.4 / np.sqrt(K), 0.6, 0.9, 0.05
C = B1 / (1 - B1)
FACTS = {
    "optimizer.learning_rate": 0.4, "optimizer.b1": B1, "optimizer.b2": B2, "optimizer.eps": EPS,
    "summary.problem.smoothness": L, "summary.problem.diameter": D, "summary.problem.dimension": N,
    "summary.problem.gradient_bound": G, "summary.problem.lower_bound": -0.3, "summary.problem.convex": True,
    "summary.trace.mean_delay": 1.7, "summary.trace.mean_square_delay": 4.1,
}  # fmt: skip


def random_columns(seed, *names):
    """Increasing positive numbers for each name, as sums over a run are."""
    rng = np.random.default_rng(seed)
    columns = {name: np.cumsum(rng.uniform(0.5, 1.5, (NUM_SEEDS, len(STEPS))), axis=1) for name in names}
    return columns | {"step": np.tile(STEPS, (NUM_SEEDS, 1))}


def convex_run(seed, full, facts=FACTS):
    names = ["average_gap", "regret", "regret_bound", "regret_last_distance", "drift", "step_size", "scale_l1"]
    names += ["scaled_momentum_sum", "momentum_l1", "regret_rounding", "regret_broken_at"]
    if full:
        names += ["gap_sum", "stale_regret", "curvature_sum", "regret_noise_square", "stale_broken_at"]
    return Evidence(facts, random_columns(seed, *names))


def last(run, name):
    return run.columns[name][:, -1]


def mean_square_distance(run):
    """The drift of an evaluation is the mean since the one before."""
    widths = np.diff(STEPS)
    return sum(run.columns["drift"][:, i + 1] * widths[i] for i in range(len(widths))) / K


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("full", [False, True])
def test_the_convex_proof(full, seed):
    run = convex_run(seed, full)
    by_smoothness = L / 2 * mean_square_distance(run)
    costs = [last(run, "curvature_sum") / K, by_smoothness] if full else [by_smoothness]
    without_last_distance = (last(run, "regret_bound") + last(run, "regret_last_distance")) / K
    box = D**2 / (2 * last(run, "step_size") * K) * last(run, "scale_l1")
    box += (0.5 + C) * last(run, "scaled_momentum_sum") / K + C * D * last(run, "momentum_l1") / K + by_smoothness
    prior = D**2 * N * (G + EPS) / (2 * A * K) + (0.5 + C) * A * N * G / np.sqrt(1 - B2)
    prior += C * D * N * G / K + L * A**2 * N / (2 * (1 - B2)) * 4.1
    expected = [last(run, "average_gap")]
    if full:
        expected += [last(run, "gap_sum") / K, last(run, "stale_regret") / K + costs[0]]
    expected += [last(run, "regret") / K + costs[0], last(run, "regret_bound") / K + costs[0]]
    expected += [without_last_distance + cost for cost in costs]
    expected += [box, np.full(NUM_SEEDS, prior)]
    steps = THEOREMS["convex"].steps(run)
    for step, values in zip(steps, expected, strict=True):
        np.testing.assert_allclose(step.values, values, rtol=1e-13, err_msg=step.words)
    in_expectation = [step for step in steps if step.in_expectation]
    assert [step.words[:11] for step in in_expectation] == ["mean of ⟨g_"]
    # The sum of all noise over the seeds has the sum of the squares as its variance.
    noise = np.sqrt(last(run, "regret_noise_square").sum()) / (K * NUM_SEEDS) if full else np.nan
    np.testing.assert_allclose(in_expectation[0].deviation, noise, rtol=1e-13)
    smallest = min(np.mean(without_last_distance + costs[0]), np.mean(box))
    assert np.mean(THEOREMS["convex"].a_posteriori(run).total) == pytest.approx(smallest, rel=1e-13)
    np.testing.assert_allclose(stale_costs(run), costs, rtol=1e-13)


def test_the_convex_certificates():
    run = convex_run(0, full=True)
    regret, stale = THEOREMS["convex"].certificates(run)
    np.testing.assert_array_equal(regret.left, last(run, "regret"))
    np.testing.assert_allclose(regret.right, last(run, "regret_bound") + last(run, "regret_rounding"))
    np.testing.assert_array_equal(regret.broken_at, last(run, "regret_broken_at"))
    np.testing.assert_array_equal(stale.left, last(run, "gap_sum"))
    right = last(run, "stale_regret") + K * L / 2 * mean_square_distance(run)
    np.testing.assert_allclose(stale.right, right, rtol=1e-13)
    np.testing.assert_array_equal(stale.broken_at, last(run, "stale_broken_at"))
    nothing = Evidence(FACTS, random_columns(0, "average_gap"))
    assert THEOREMS["convex"].certificates(nothing) == THEOREMS["convex"].steps(nothing) == ()


def why_not_about_the_set(facts, *names):
    """The last hypothesis of the convex theorem: it needs a box, or the minimiser and ε > 0."""
    return THEOREMS["convex"].hypotheses[-1](Evidence(facts, random_columns(0, *names)))


def test_the_convex_theorem_needs_a_box_or_the_minimiser():
    no_box = {name: value for name, value in FACTS.items() if name != "summary.problem.diameter"}
    assert why_not_about_the_set(FACTS) == ""
    assert why_not_about_the_set(no_box) == "X is not a bounded box, and x* is unknown"
    assert why_not_about_the_set(no_box, "regret_bound") == ""
    assert why_not_about_the_set({**no_box, "optimizer.eps": 0.0}, "regret_bound") == "ε is 0"
    assert why_not_about_the_set({**FACTS, "optimizer.eps": 0.0}, "regret_bound") == ""
    del no_box["optimizer.eps"]
    assert why_not_about_the_set(no_box, "regret_bound") == "ε is 0"


def test_without_a_box_there_are_no_lines_of_a_box():
    no_box = {name: value for name, value in FACTS.items() if name != "summary.problem.diameter"}
    assert len(THEOREMS["convex"].steps(convex_run(0, full=True, facts=no_box))) == 7


NONCONVEX = ("objective", "grad_norm_sq", "scale_max", "lag_last", "scaled_gradient_sum", "scaled_momentum_max")
NONCONVEX += ("descent_moved", "descent_errors", "descent_read", "descent_lag")
CHAIN = ("gradients", "weighted", "inner", "near", "noise", "noise_square", "errors", "potential")


def nonconvex_run(seed, full):
    names = [*NONCONVEX, *(f"chain_{name}" for name in CHAIN), "descent_broken_at"] if full else NONCONVEX
    return Evidence(FACTS, random_columns(seed, *names))


def since(run, name, start):
    return run.columns[name][:, -1] - run.columns[name][:, start]


def weighted_plainly(run, start, theta, delta):
    """(4b) with sums over the updates after evaluation ``start``, for these θ and δ."""
    square, steps = run.columns["grad_norm_sq"], STEPS
    before = np.zeros(NUM_SEEDS)
    for i in range(start):  # each iterate by the straight line between two evaluations
        for k in range(steps[i], steps[i + 1]):
            share = (k - steps[i]) / (steps[i + 1] - steps[i])
            before += (1 - share) * square[:, i] + share * square[:, i + 1]
    lag, scale = run.columns["lag_last"], run.columns["scale_max"]
    gap = run.columns["objective"] + 0.3 + np.sqrt(square) * lag + L / 2 * lag**2
    potential = scale[:, start] * gap[:, start]
    for i in range(start, len(steps) - 1):
        potential = potential + (scale[:, i + 1] - scale[:, i]) * np.maximum(gap[:, i], gap[:, i + 1])
    kappa = (1 + theta) / (2 * theta)
    total = potential / A + L / (2 * A) * since(run, "descent_moved", start)
    total += since(run, "descent_errors", start) / (2 * delta * A**2)
    total += (kappa + delta) * L**2 * since(run, "descent_lag", start)
    total += kappa * L**2 * since(run, "descent_read", start)
    return before / K + total / ((1 - theta - delta) * K)


def best_over_shares(value):
    """The smallest value over θ and δ: a search on a grid, and a local search from there."""
    grid = [(t, d) for t in np.geomspace(1e-4, 0.9, 40) for d in np.geomspace(1e-4, 0.9, 40) if t + d < 0.99]
    start = min(grid, key=lambda pair: value(*pair))
    found = scipy.optimize.minimize(
        lambda logs: value(*np.exp(logs)) if np.exp(logs).sum() < 1 else np.inf, np.log(start), method="Nelder-Mead"
    )
    return found.fun


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("start", range(3))
def test_the_weighted_nonconvex_bound(start, seed):
    run = nonconvex_run(seed, full=False)
    best = best_over_shares(lambda theta, delta: np.mean(weighted_plainly(run, start, theta, delta)))
    total = np.mean(weighted(run, start).total)
    assert best * (1 - 1e-9) <= total <= best * 1.01
    assert STEPS[best_start(run)] <= 5


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_of_the_weighted_bound(seed):
    """Each argument alone has its factor; θ and δ are those of the sums together."""
    rng = np.random.default_rng(seed)
    names = ("potential", "moved", "errors", "read", "lag")
    sums = dict(zip(names, rng.uniform(0.1, 2.0, (5, 4)), strict=True))
    constants = {"num_updates": K, "step_size": A, "smoothness": L}
    before = rng.uniform(0.1, 2.0, 4)
    bound = nonconvex_a_posteriori_weighted(**constants, before=before, **sums)
    free = np.mean(sums["potential"] / A + L / (2 * A) * sums["moved"]) / K
    read, lag = (L**2 * np.mean(sums[name]) / K for name in ("read", "lag"))
    theta, delta = best_shares(free, read, lag, np.mean(sums["errors"]) / (2 * A**2 * K))
    kappa, room = (1 + theta) / (2 * theta), (1 - theta - delta) * K
    np.testing.assert_allclose(bound.leading, (sums["potential"] / A + L / (2 * A) * sums["moved"]) / room)
    rest = sums["errors"] / (2 * delta * A**2) + (kappa + delta) * L**2 * sums["lag"]
    np.testing.assert_allclose(bound.lower_order, before / K + rest / room)
    np.testing.assert_allclose(bound.delay, kappa * L**2 * sums["read"] / room)


@pytest.mark.parametrize("parts", [(1.0, 2.0, 0.5, 0.01), (0.1, 0.0, 3.0, 1e-6), (5.0, 0.01, 0.02, 0.3)])
def test_the_shares_are_nearly_the_best(parts):
    free, read, lag, error = parts

    def value(theta, delta):
        kappa = (1 + theta) / (2 * theta)
        return (free + kappa * (read + lag) + delta * lag + error / delta) / (1 - theta - delta)

    assert value(*best_shares(*parts)) <= 1.01 * best_over_shares(value)


@pytest.mark.parametrize("seed", range(3))
def test_the_nonconvex_proof(seed):
    run = nonconvex_run(seed, full=True)
    start = best_start(run)
    later = {name: since(run, f"chain_{name}", start) for name in CHAIN}
    before = run.columns["chain_gradients"][:, start] / K
    descent = later["potential"] / A + later["errors"] / A + L / (2 * A) * since(run, "descent_moved", start)

    def measured(theta):
        return before + (descent + (1 + theta) / (2 * theta) * later["near"]) / ((1 - theta) * K)

    steps = THEOREMS["nonconvex"].steps(run)
    theta = float(steps[2].reason.split("θ = ")[1])  # two digits
    np.testing.assert_allclose(steps[0].values, before + later["gradients"] / K, rtol=1e-13)
    np.testing.assert_allclose(steps[1].values, before + later["weighted"] / K, rtol=1e-13)
    grid = np.geomspace(1e-6, 0.9, 60)
    theta = grid[np.argmin(np.abs(grid - theta))]
    assert np.mean(measured(theta)) <= 1.02 * min(np.mean(measured(t)) for t in np.linspace(0.01, 0.9, 300))
    kappa = (1 + theta) / (2 * theta)
    young = before + (later["inner"] + kappa * later["near"]) / ((1 - theta) * K)
    np.testing.assert_allclose(steps[2].values, young, rtol=1e-10)
    np.testing.assert_allclose(steps[3].values, measured(theta) + later["noise"] / ((1 - theta) * K), rtol=1e-10)
    np.testing.assert_allclose(steps[4].values, measured(theta), rtol=1e-10)
    deviation = np.sqrt(later["noise_square"].sum()) / ((1 - theta) * K * NUM_SEEDS)
    assert steps[4].deviation == pytest.approx(deviation, rel=1e-10)
    assert [step.in_expectation for step in steps] == [False, False, False, False, True, True, True, False]
    np.testing.assert_allclose(steps[5].values, weighted(run, start).total)
    gap = run.columns["objective"][:, 0] + 0.3
    mean_square, largest = last(run, "scaled_gradient_sum") / K, last(run, "scaled_momentum_max")
    for step, w, b in ((steps[6], mean_square, largest**2), (steps[7], G**2 * N / EPS**2, N / (1 - B2))):
        total = gap / (A * K) + L * A * w + G**2 * N / ((1 - B1) * EPS * K)
        total += L * A * G**2 * N / ((1 - B1) ** 2 * EPS**2 * K) + A**2 * L**2 / (2 * EPS) * C**2 * b
        total += A**2 * L**2 / EPS * b * (4.1 + C * 1.7)
        np.testing.assert_allclose(step.values, 4 * (G + EPS) * total, rtol=1e-12)
    smallest = min(np.mean(step.values) for step in steps[4:7])
    assert np.mean(THEOREMS["nonconvex"].a_posteriori(run).total) == pytest.approx(smallest, rel=1e-12)


def test_the_nonconvex_certificate():
    run = nonconvex_run(0, full=True)
    (descent,) = THEOREMS["nonconvex"].certificates(run)
    np.testing.assert_allclose(descent.left, A * (last(run, "chain_inner") - last(run, "chain_noise")), rtol=1e-13)
    right = last(run, "chain_potential") + last(run, "chain_errors") + L / 2 * last(run, "descent_moved")
    np.testing.assert_allclose(descent.right, right, rtol=1e-13)
    np.testing.assert_array_equal(descent.broken_at, last(run, "descent_broken_at"))
    assert THEOREMS["nonconvex"].certificates(nonconvex_run(0, full=False)) == ()


@pytest.mark.parametrize(("times", "beyond"), [(1.005, True), (1.003, False), (0.5, False)])
def test_a_gradient_beyond_its_bound_by_more_than_rounding(times, beyond):
    columns = random_columns(0, *NONCONVEX) | {"gradient_max": np.full((NUM_SEEDS, len(STEPS)), times * G)}
    reasons = [hypothesis(Evidence(FACTS, columns)) for hypothesis in THEOREMS["nonconvex"].hypotheses]
    assert any("exceeds G = 0.8" in reason for reason in reasons) == beyond


def test_what_the_theorems_are_about_and_claim():
    """As docs/theory.md has it: rates in K, the delay's part as τ² / K, and staleness up to K^(1/4)."""
    free = Evidence({"summary.problem.convex": False}, random_columns(0, *NONCONVEX))
    convex = Evidence({"summary.problem.convex": True}, random_columns(0, *NONCONVEX))
    assert [theorem.is_about("average_gap", convex) for theorem in (THEOREMS["convex"], THEOREMS["nonconvex"])] == [
        1,
        0,
    ]
    assert not THEOREMS["convex"].is_about("average_gap", free)
    assert THEOREMS["nonconvex"].is_about("mean_grad_norm_sq", free)
    assert THEOREMS["nonconvex"].is_about("mean_grad_norm_sq", convex)
    for theorem in (THEOREMS["convex"], THEOREMS["nonconvex"]):
        made = {type(claim).__name__: claim for claim in theorem.claims}
        assert (made["Rate"].exponent, made["Rate"].up_to) == (-0.5, 0.25)
        assert (made["Constant"].exponent, made["Constant"].up_to) == (-0.5, 0.25)
        assert made["SameRate"].up_to == made["Inflation"].critical == made["Threshold"].exponent == 0.25
        assert made["Attained"].exponent == -0.5
        assert (made["DelayTerm"].delay, made["DelayTerm"].num_updates) == (2.0, -1.0)
