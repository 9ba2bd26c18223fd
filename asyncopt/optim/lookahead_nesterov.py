"""Nesterov's method with discounted gradients, whose iterates are the look-ahead points."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.optim._shared import at_update, is_none, number


class LookaheadNesterovState(NamedTuple):
    """State of `lookahead_nesterov`."""

    velocity: PyTree  # w_k - w_{k-1}, like the parameters
    num_updates: Int[Array, ""]  # int32, k


def lookahead_nesterov(
    learning_rate: optax.ScalarOrSchedule, momentum: optax.ScalarOrSchedule = 0.99
) -> optax.GradientTransformationExtraArgs:
    r"""Returns Nesterov's method for stale gradients: momentum looks ahead, and gradients have the factor 1 - γ.

    .. math::
      w_{k+1} = w_k + d_k - \eta_k (1 - \gamma_k)\, g_k, \qquad d_k = \gamma_k (w_k - w_{k-1}), \qquad
      g_k = \nabla f(w_{k-\tau} + d_{k-\tau}).

    The parameters are the look-ahead points :math:`x_k = w_k + d_k`: there a replay takes gradients and evaluates F.
    Written in them,

    .. math::
      v_{k+1} = \gamma_k v_k - \eta_k (1 - \gamma_k)\, g_k, \qquad
      x_{k+1} = x_k - \eta_k (1 - \gamma_k)\, g_k + \gamma_{k+1} v_{k+1}, \qquad v_k = w_k - w_{k-1}.

    With a constant γ, this is ``optax.sgd(η * (1 - γ), momentum=γ, nesterov=True)``.

    Args:
      learning_rate: η_k, a number of at least 0, or a schedule: a function of the number of updates before.
      momentum: γ_k, a number in [0, 1), or a schedule.

    Returns:
      A transform with a `LookaheadNesterovState`; :math:`w_k` is :math:`x_k - \gamma_k v_k`.

    Raises:
      InputError: if a number is out of range.

    Examples:
      >>> import asyncopt, jax.numpy as jnp, optax
      >>> optimizer = asyncopt.optim.lookahead_nesterov(1.0, momentum=0.5)
      >>> params, state = jnp.zeros(()), optimizer.init(jnp.zeros(()))
      >>> for gradient in (1.0, 0.0):
      ...     step, state = optimizer.update(jnp.asarray(gradient), state)
      ...     print(step)
      -0.75
      -0.125

    References:
      Ajanthan, Ramasinghe, Zuo, Avraham and Long, `Nesterov method for asynchronous pipeline parallel optimization
      <https://arxiv.org/abs/2505.01099>`_, 2025. Its experiments use `nadamw`.
    """
    if not callable(learning_rate):
        learning_rate = number("learning_rate", learning_rate, at_least=0)
    if not callable(momentum):
        momentum = number("momentum", momentum, at_least=0, below=1)

    def init(params):
        return LookaheadNesterovState(optax.tree.zeros_like(params), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, **extra_args):
        del params, extra_args
        num_updates = optax.safe_increment(state.num_updates)
        eta, gamma = at_update(learning_rate, state.num_updates), at_update(momentum, state.num_updates)
        next_gamma = at_update(momentum, num_updates)

        def next_velocity(gradient, velocity):
            if gradient is None:
                return velocity
            return (gamma * velocity - eta * (1 - gamma) * gradient).astype(velocity.dtype)

        def step(gradient, velocity):
            if gradient is None:
                return None
            return (next_gamma * velocity - eta * (1 - gamma) * gradient).astype(gradient.dtype)

        velocity = jax.tree.map(next_velocity, updates, state.velocity, is_leaf=is_none)
        steps = jax.tree.map(step, updates, velocity, is_leaf=is_none)
        return steps, LookaheadNesterovState(velocity, num_updates)

    return optax.GradientTransformationExtraArgs(init, update)
