"""The convex theorem: its hypotheses, its claims, its proof line by line on a run, and what every run must meet.

The proof is in ``docs/theory.md``, the bounds in `asyncopt.theory.convex_bounds`.
"""

import numpy as np

from asyncopt.theory import apam
from asyncopt.theory.convex_bounds import a_posteriori, a_priori, at_minimiser, mean_drift, over_a_box, stale_costs
from asyncopt.theory.theorem import Certificate, Evidence, Step, Theorem, known


def convex_steps(run: Evidence) -> tuple[Step, ...]:
    """Returns the lines of the convex proof for a run, in the order of ``docs/theory.md``.

    Without the regret of the run there are none. The lines that need a full gradient in every update are there if they
    were recorded.
    """
    if "regret_bound" not in run.columns:
        return ()
    last, k = {name: values[:, -1] for name, values in run.columns.items()}, run.num_updates
    costs, noise = stale_costs(run), np.nan
    lines = [Step("measured: F(x̄_K) - F*", "", last["average_gap"])]
    if "gap_sum" in last:
        noise = float(np.sqrt(np.sum(last["regret_noise_square"]))) / (k * len(costs[0]))
        linear = last["stale_regret"] / k + costs[0]
        lines += [
            Step("mean of F(x_k) - F*", "Jensen's inequality", last["gap_sum"] / k),
            Step("mean of ⟨∇F(y_k), x_k - x*⟩, + stale reads", "F is convex", linear),
        ]
    lines += [
        Step("mean of ⟨g_k, x_k - x*⟩, + stale reads", "noise has mean 0", last["regret"] / k + costs[0], True, noise),
        Step("(1a) + stale reads", "projections do not expand", last["regret_bound"] / k + costs[0]),
    ]
    names, reasons = ("(2c)", "(2b)")[-len(costs) :], ("the last distance is dropped", "L for stale reads")
    for name, reason, cost in zip(names, reasons, costs, strict=False):
        lines.append(Step(f"a posteriori: {name}", reason, at_minimiser(run, cost).total))
    if "summary.problem.diameter" in run.facts:
        lines.append(Step("(2), over a box", "D for every distance", over_a_box(run).total))
        prior = np.broadcast_to(CONVEX.bound_a_priori(run).total, costs[0].shape)
        lines.append(Step("a priori: (3)", "G for gradients, τ for drifts", prior))
    return tuple(lines)


def convex_certificates(run: Evidence) -> tuple[Certificate, ...]:
    """Returns the inequalities of the convex proof that every run must meet, as far as they were recorded."""
    last = {name: values[:, -1] for name, values in run.columns.items()}
    met = []
    if "regret_broken_at" in last:
        right = last["regret_bound"] + last["regret_rounding"]
        met.append(Certificate("regret", "the regret is at most (1a)", last["regret"], right, last["regret_broken_at"]))
    if "stale_broken_at" in last:
        words = "F(x_k) - F* ≤ ⟨∇F(y_k), x_k - x*⟩ + (L/2) ‖x_k - y_k‖²"
        drift = run.num_updates * run.facts["summary.problem.smoothness"] / 2 * mean_drift(run)
        right = last["stale_regret"] + drift
        met.append(Certificate("stale point", words, last["gap_sum"], right, last["stale_broken_at"]))
    return tuple(met)


def _x_or_its_minimiser(run: Evidence) -> str:
    if "regret_bound" in run.columns:
        return "" if run.facts.get("optimizer.eps", 0) > 0 or "summary.problem.diameter" in run.facts else "ε is 0"
    return "" if "summary.problem.diameter" in run.facts else "X is not a bounded box, and x* is unknown"


CONVEX = Theorem(
    name="convex", title="the gap of APAM's average on a convex problem", quantity="average_gap",
    concerns=lambda run: bool(run.facts.get("summary.problem.convex", False)),
    hypotheses=(*apam.HYPOTHESES, _x_or_its_minimiser),
    columns=("step_size", "scale_l1", "scaled_momentum_sum", "momentum_l1", "drift"),
    a_priori=a_priori, a_posteriori=a_posteriori, claims=apam.CLAIMS,
    a_priori_needs=(known("summary.problem.diameter", "X is not a bounded box"), *apam.GRADIENT_BOUND),
    steps=convex_steps, certificates=convex_certificates,
)  # fmt: skip
