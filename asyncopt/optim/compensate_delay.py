"""A first-order correction of each gradient for how far the parameters have moved since."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from asyncopt.optim._shared import is_none, number


class CompensateDelayState(NamedTuple):
    """State of `compensate_delay`."""

    inner: PyTree
    mean_square: PyTree | None  # s_k, like the parameters; None if λ is constant


def compensate_delay(
    inner: optax.GradientTransformation,
    strength: float | Array = 0.04,
    decay: float | Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Corrects a gradient for how far the parameters have moved since it was taken, to first order (DC-ASGD).

    .. math::
      \tilde g = g + \lambda\, g \odot g \odot (x - y), \qquad
      \lambda_k = \lambda / \sqrt{s_k + 10^{-7}}, \quad s_k = m\, s_{k-1} + (1 - m)\, g \odot g,

    x the newest and y the stale iterate; g ⊙ g stands in for the Hessian's diagonal. The adaptive variant (DC-ASGD-a)
    has :math:`\lambda_k` in place of λ. ``update`` needs ``params``, x, and the keyword ``stale_params``, y.

    Args:
      inner: the optimizer; it receives the corrected gradient.
      strength: λ, at least 0.
      decay: m of the adaptive variant, in [0, 1); None for a constant λ.

    Raises:
      InputError: if a number is out of range.

    References:
      Zheng et al., `Asynchronous stochastic gradient descent with delay compensation
      <https://arxiv.org/abs/1609.08326>`_, 2017.
    """
    strength = number("strength", strength, at_least=0)
    if decay is not None:
        decay = number("decay", decay, at_least=0, below=1)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        mean_square = None if decay is None else optax.tree.zeros_like(params)
        return CompensateDelayState(inner.init(params), mean_square)

    def update(updates, state, params=None, *, stale_params=None, **extra_args):
        if params is None or stale_params is None:
            raise TypeError("compensate_delay needs params and stale_params=, the iterate the gradient was taken at")

        def corrected(g, x, y, scale):
            return None if g is None else (g + scale * g * g * (x - y)).astype(g.dtype)

        mean_square = state.mean_square
        if decay is None:
            scales = jax.tree.map(lambda _: strength, params)
        else:
            mean_square = jax.tree.map(
                lambda g, s, m=decay: s if g is None else (m * s + (1 - m) * g * g).astype(s.dtype),
                updates,
                mean_square,
                is_leaf=is_none,
            )
            scales = jax.tree.map(lambda s: strength / jnp.sqrt(s + 1e-7), mean_square)
        gradients = jax.tree.map(corrected, updates, params, stale_params, scales, is_leaf=is_none)
        steps, inner_state = inner.update(gradients, state.inner, params, stale_params=stale_params, **extra_args)
        return steps, CompensateDelayState(inner_state, mean_square)

    return optax.GradientTransformationExtraArgs(init, update)
