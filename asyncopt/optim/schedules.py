"""The step sizes that the theorems are about."""

import math

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from asyncopt.checks import InputError, check_integer, check_number


def step_size(schedule: str, alpha: float, num_updates: int) -> optax.ScalarOrSchedule:
    """Returns the step size α_k for a run of K updates, as an Optax optimizer's ``learning_rate``.

    Args:
      schedule: "constant", α; "inverse_sqrt_horizon", α/√K in every update; or "inverse_sqrt", α/√k in update
        k, counted from 1.
      alpha: α, above 0.
      num_updates: K, at least 1.

    Raises:
      InputError: for an unknown schedule, or a number out of range.
    """
    alpha = check_number("learning_rate", alpha, above=0)
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    if schedule == "constant":
        return alpha
    if schedule == "inverse_sqrt_horizon":
        return alpha / math.sqrt(num_updates)
    if schedule == "inverse_sqrt":
        return jax.tree_util.Partial(_inverse_sqrt, alpha)  # a pytree: α can be an input of a program
    known = ["constant", "inverse_sqrt", "inverse_sqrt_horizon"]
    raise InputError(f"schedule is {schedule!r}, expected one of {known}")


def _inverse_sqrt(alpha: float, count: Int[Array, ""]) -> Float[Array, ""]:
    # count + 1.0 is a float of the default precision: float64 where that is enabled.
    return alpha / jnp.sqrt(count + 1.0)
