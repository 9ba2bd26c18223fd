"""Refuses values of F below its minimum: the run has left the constraint, or the minimum is a wrong one."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from asyncopt.checks import InputError
from asyncopt.engine.result import Result
from asyncopt.engine.state import Evaluation
from asyncopt.problems import Problem

_TOLERANCE = 1e-9
# Rounding errors of F, in units of the last place of F or of the parameters, whichever are rounded more: a bound of a
# constraint is rounded to the parameters' dtype. Sums over thousands of rows have stayed below a tenth of it.
_ROUNDINGS = 64


def check(problem: Problem, params: PyTree, evaluation: Evaluation | Result) -> None:
    """Compares F with F*.

    Args:
      problem: what is minimised.
      params: any iterate; its dtypes count.
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
        eps = max(float(jnp.finfo(leaf.dtype).eps) for leaf in (values, *jax.tree.leaves(params)))
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
