"""What the theorems on APAM share: their assumptions about the method, and their claims."""

import numpy as np

from asyncopt.theory import claims
from asyncopt.theory.theorem import Evidence, absent, equal, known

# The speed-up is nearly linear up to staleness K^CRITICAL_EXPONENT.
CRITICAL_EXPONENT = 0.25
CLAIMS = (
    claims.Certified(),
    claims.BoundsHold(),
    claims.Rate(exponent=-0.5, up_to=CRITICAL_EXPONENT),
    claims.Constant(exponent=-0.5, up_to=CRITICAL_EXPONENT),
    claims.SameRate(up_to=CRITICAL_EXPONENT),
    claims.Attained(exponent=-0.5),
    claims.DelayTerm(delay=2.0, num_updates=-1.0),
    claims.Inflation(critical=CRITICAL_EXPONENT),
    claims.Threshold(exponent=CRITICAL_EXPONENT),
)
HYPOTHESES = (
    equal("summary.labels.optimizer", "APAM", "the method is {}"),
    absent("summary.labels.handling", "stale gradients are handled by {}"),
    absent("param_dtype", "parameters are rounded to {}"),
    absent("history_dtype", "the history is rounded to {}"),
    equal("optimizer.schedule", "inverse_sqrt_horizon", "the step size is {}, not α/√K"),
    absent("optimizer.bias_correction", "the step is bias-corrected"),
    *(known(f"optimizer.{name}", "its settings are not all known") for name in ("learning_rate", "b1", "b2", "eps")),
    known("summary.problem.smoothness", "L is unknown"),
    lambda run: "" if run.facts.get("summary.trace.distinct_samples", True) else "updates share their mini-batches",
    lambda run: "several gradients make a step" if run.has_larger_steps else "",
)
# (G): the gradients have a known bound, and the run stayed within it.
GRADIENT_BOUND = (
    known("summary.problem.gradient_bound", "the gradients have no known bound"),
    lambda run: _beyond_gradient_bound(run),
)


def step_size(run: Evidence) -> float:
    """Returns a = α/√K."""
    return run.facts["optimizer.learning_rate"] / np.sqrt(run.num_updates)


def _beyond_gradient_bound(run: Evidence) -> str:
    """Returns that a gradient was larger than G, or ""."""
    bound = run.facts.get("summary.problem.gradient_bound", np.inf)
    largest = np.max(run.columns["gradient_max"][:, -1]) if "gradient_max" in run.columns else 0.0
    # A gradient in half precision is rounded to 1/256 of its size.
    return f"a gradient of {largest:.4g} exceeds G = {bound:.4g}" if largest > bound * (1 + 2**-8) else ""
