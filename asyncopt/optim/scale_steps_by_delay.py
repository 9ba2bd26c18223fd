"""Smaller steps for older gradients."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from asyncopt.checks import InputError
from asyncopt.optim._shared import known_delay, number

_RULES: dict[str, Callable[[Array, float | Array], Array]] = {
    "inverse": lambda delay, parameter: 1 / jnp.maximum(delay, 1.0),
    "power": lambda delay, parameter: (1 + delay) ** -parameter,
    "threshold": lambda delay, parameter: jnp.minimum(1.0, parameter / jnp.maximum(delay, 1.0)),
}


class ScaleStepsByDelayState(NamedTuple):
    """State of `scale_steps_by_delay`."""

    inner: PyTree


def scale_steps_by_delay(
    inner: optax.GradientTransformation, rule: str = "inverse", parameter: float | Array = 1.0
) -> optax.GradientTransformationExtraArgs:
    r"""Multiplies each step by a function of its gradient's delay τ.

    .. math::
      \text{inverse:}\ \frac{1}{\max(\tau, 1)}, \qquad
      \text{power:}\ (1 + \tau)^{-a}, \qquad
      \text{threshold:}\ \min\Bigl(1, \frac{c}{\max(\tau, 1)}\Bigr).

    ``update`` needs the keyword ``delay``: int, τ in updates.

    Args:
      inner: the optimizer; its own state takes in every gradient in full.
      rule: "inverse" (Zhang et al.), "power" (FedAsync's polynomial), or "threshold" (steps shrink only beyond the
        delay c, as the delay-adaptive steps of Mishchenko et al. and of Koloskova et al. do).
      parameter: a, above 0, or c, at least 1; "inverse" has none.

    Raises:
      InputError: for an unknown rule, or a number out of range.

    Examples:
      >>> import asyncopt, jax.numpy as jnp, optax
      >>> optimizer = asyncopt.optim.scale_steps_by_delay(optax.sgd(1.0))
      >>> updates, _ = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), delay=4)
      >>> print(updates)
      [-0.25 -0.25]

    References:
      Zhang, Gupta, Lian and Liu, `Staleness-aware async-SGD for distributed deep learning
      <https://arxiv.org/abs/1511.05950>`_, 2016;
      Xie, Koyejo and Gupta, `Asynchronous federated optimization <https://arxiv.org/abs/1903.03934>`_, 2019;
      Mishchenko, Bach, Even and Woodworth, `Asynchronous SGD beats minibatch SGD under arbitrary delays
      <https://arxiv.org/abs/2206.07638>`_, 2022;
      Koloskova, Stich and Jaggi, `Sharper convergence guarantees for asynchronous SGD
      <https://arxiv.org/abs/2206.08307>`_, 2022.
    """
    if rule not in _RULES:
        raise InputError(f"rule is {rule!r}, expected one of {sorted(_RULES)}")
    limits = {"above": 0.0} if rule == "power" else {"at_least": 1.0}
    parameter = number("parameter", parameter, **limits)
    inner = optax.with_extra_args_support(inner)

    def update(updates, state, params=None, *, delay=None, **extra_args):
        delay = known_delay(delay, "scale_steps_by_delay")
        steps, inner_state = inner.update(updates, state.inner, params, delay=delay, **extra_args)
        factor = _RULES[rule](delay.astype(float), parameter)
        return jax.tree.map(lambda step: (factor * step).astype(step.dtype), steps), ScaleStepsByDelayState(inner_state)

    return optax.GradientTransformationExtraArgs(lambda params: ScaleStepsByDelayState(inner.init(params)), update)
