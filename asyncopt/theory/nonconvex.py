"""The non-convex theorem: its hypotheses, its claims, its proof line by line on a run, and what every run must meet.

The proof is in ``docs/theory.md``, the bounds in `asyncopt.theory.nonconvex_bounds`.
"""

import numpy as np

from asyncopt.theory import apam
from asyncopt.theory.nonconvex_bounds import (
    a_posteriori,
    a_priori,
    best_start,
    chain_sums,
    weighted,
    with_eps,
    with_full_gradients,
)
from asyncopt.theory.theorem import Certificate, Evidence, Step, Theorem, absent, known


def nonconvex_steps(run: Evidence) -> tuple[Step, ...]:
    """Returns the lines of the non-convex proof for a run, in the order of ``docs/theory.md``.

    Without the sums of (4b) there are none. The lines that need full gradients in every update are there if they were
    recorded.
    """
    if "descent_moved" not in run.columns:
        return ()
    start = best_start(run)
    if "chain_inner" in run.columns:
        lines = _chain(run, start)
    else:
        lines = [Step("measured: mean of ‖∇F(x_k)‖²", "", run.mean_over_run("grad_norm_sq"))]
    with_weights, usual = weighted(run, start).total, with_eps(run).total
    return (
        *lines,
        Step("(4b): w_k for the largest V", "L for differences, Young for e_k", with_weights, True),
        Step("(4): G + ε for the largest V", "V ≥ ε in every update; early in a run it can be less", usual, True),
        Step("a priori", "G/ε for g/V, and fact 1", np.broadcast_to(a_priori(run).total, usual.shape)),
    )


def _chain(run: Evidence, start: int) -> list[Step]:
    """Returns the lines that need full gradients; the updates before evaluation number ``start`` count as they are."""
    k, later = run.num_updates, chain_sums(run, start)
    before = run.columns["chain_gradients"][:, start] / k
    measured = with_full_gradients(run, start)
    theta, factor = measured.theta, 1 / (1 - measured.theta)
    near = (1 + theta) / (2 * theta) * later["near"]
    deviation = factor * float(np.sqrt(np.sum(later["noise_square"] * k))) / (k * len(near))
    noisy = measured.bound.total + factor * later["noise"]
    return [
        Step("measured: mean of ‖∇F(x_k)‖²", "", before + later["gradients"]),
        Step("the same, weighted by w_k/V_{k-1}", "w_k is the largest V", before + later["weighted"]),
        Step(
            "Young's inequality", f"one gradient for three, θ = {theta:.2g}", before + factor * (later["inner"] + near)
        ),
        Step("(4c) with the noise", "the descent lemma", noisy),
        Step("a posteriori: (4c)", "noise has mean 0", measured.bound.total, True, deviation),
    ]


def nonconvex_certificates(run: Evidence) -> tuple[Certificate, ...]:
    """Returns the inequality of the non-convex proof that every run must meet, if it was recorded."""
    if "descent_broken_at" not in run.columns:
        return ()
    a = apam.step_size(run)
    last = {name: values[:, -1] for name, values in run.columns.items()}
    left = a * (last["chain_inner"] - last["chain_noise"])
    right = last["chain_potential"] + last["chain_errors"]
    right = right + run.facts["summary.problem.smoothness"] / 2 * last["descent_moved"]
    words = "F(z_{k+1}) ≤ F(z_k) + ⟨∇F(z_k), z_{k+1} - z_k⟩ + (L/2) ‖z_{k+1} - z_k‖²"
    return (Certificate("descent", words, left, right, last["descent_broken_at"]),)


NONCONVEX = Theorem(
    name="nonconvex", title="the mean of APAM's ‖∇F‖² without a constraint", quantity="mean_grad_norm_sq",
    concerns=lambda run: True,
    hypotheses=(
        *apam.HYPOTHESES,
        *apam.GRADIENT_BOUND,
        absent("summary.labels.constraint", "there is a constraint"),
        lambda run: "" if run.facts.get("optimizer.eps", 0) > 0 else "ε is 0",
        known("summary.problem.lower_bound", "F has no known lower bound"),
    ),
    columns=("objective", "scaled_gradient_sum", "scaled_momentum_max"),
    a_priori=a_priori, a_posteriori=a_posteriori, claims=apam.CLAIMS,
    steps=nonconvex_steps, certificates=nonconvex_certificates,
)  # fmt: skip
