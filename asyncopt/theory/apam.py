"""What the theorems on APAM share: the assumptions about the method, and what they claim."""

import numpy as np

from asyncopt.theory import claims
from asyncopt.theory.theorem import Evidence, known

# The staleness up to which the speed-up is nearly linear, as an exponent of K.
CRITICAL_EXPONENT = 0.25
CLAIMS = (
    claims.BoundsHold(),
    claims.Rate(exponent=-0.5, up_to=CRITICAL_EXPONENT),
    claims.SameRate(up_to=CRITICAL_EXPONENT),
    claims.Attained(exponent=-0.5),
    claims.DelayTerm(delay=2.0, num_updates=-1.0),
    claims.Inflation(critical=CRITICAL_EXPONENT),
    claims.Threshold(exponent=CRITICAL_EXPONENT),
)


def step_size(run: Evidence) -> float:
    """Returns a = α/√K."""
    return run.facts["optimizer.learning_rate"] / np.sqrt(run.num_updates)


def _is_apam(run: Evidence) -> str:
    label = run.facts["summary.labels.optimizer"]
    return "" if label == "APAM" else f"the method is {label}"


def _handles_nothing(run: Evidence) -> str:
    label = run.facts.get("summary.labels.handling")
    return f"stale gradients are handled by {label}" if label else ""


def _is_not_rounded(run: Evidence) -> str:
    rounded = {"param_dtype", "history_dtype"} & run.facts.keys()
    return "parameters or history are rounded to another dtype" if rounded else ""


def _has_the_step_size(run: Evidence) -> str:
    schedule = run.facts.get("optimizer.schedule")
    return "" if schedule == "inverse_sqrt_horizon" else f"the step size is {schedule}, not α/√K"


def _is_not_bias_corrected(run: Evidence) -> str:
    return "the step is bias-corrected" if run.facts.get("optimizer.bias_correction", False) else ""


HYPOTHESES = (
    _is_apam,
    _handles_nothing,
    _is_not_rounded,
    _has_the_step_size,
    _is_not_bias_corrected,
    *(known(f"optimizer.{name}", "its settings are not all known") for name in ("learning_rate", "b1", "b2", "eps")),
    known("summary.problem.smoothness", "L is unknown"),
    known("summary.problem.gradient_bound", "the gradients have no known bound"),
)
