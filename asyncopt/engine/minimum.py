"""Refuses values of F below its minimum: the run has left the constraint, or the minimum is a wrong one."""

import jax.numpy as jnp
import numpy as np

from asyncopt.checks import InputError
from asyncopt.engine.result import Result
from asyncopt.engine.state import Evaluation
from asyncopt.problems import Problem

_TOLERANCE = 1e-9
# Rounding errors of F, in units of the last place; sums over thousands of rows have stayed below a tenth of it.
_ROUNDINGS = 64


def check(problem: Problem, evaluation: Evaluation | Result) -> None:
    """Compares F with F*.

    Args:
      problem: what is minimised.
      evaluation: one evaluation or several, of one run or of several seeds.

    Raises:
      InputError: if F is less than F*, by more than rounding can explain; the message names the constraint.
    """
    if problem.optimum is None:
        return
    optimum = float(problem.optimum)
    measured = {"an iterate": evaluation.objective, "the average": evaluation.average_objective}
    for point, values in measured.items():
        if values is None:
            continue
        eps = float(jnp.finfo(values.dtype).eps)
        slack = max(_TOLERANCE, _ROUNDINGS * eps * max(1.0, abs(optimum)))
        lowest = float(np.min(values, initial=np.inf, where=~np.isnan(values)))
        if lowest < optimum - slack:
            raise InputError(
                f"F is {lowest:g} at {point}, less than its minimum {optimum:g} (gap {lowest - optimum:.3g}); "
                + _reason(problem)
            )


def _reason(problem: Problem) -> str:
    constraint = getattr(problem, "constraint", None)
    if constraint is None:
        return "expected problem.optimum to be the minimum, or None if it is unknown"
    return (
        f"the point is outside the problem's constraint {constraint}, expected an optimizer that keeps to it, such as "
        "asyncopt.apam(..., constraint=...)"
    )
