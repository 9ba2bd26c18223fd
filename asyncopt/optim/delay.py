"""A constant delay inside any training loop."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.optim._shared import is_none, static_integer


class DelayGradientsState(NamedTuple):
    """State of `delay_gradients`."""

    steps: Int[Array, ""]  # int32, updates so far
    waiting: PyTree  # the last `delay` gradients: each leaf has a leading axis of that length


def delay_gradients(delay: int) -> optax.GradientTransformationExtraArgs:
    """Passes on each gradient ``delay`` steps late: in step k that of step k - delay, and zeros before.

    Put it first in an `optax.chain` to see what a constant staleness does to a training loop, without changing
    the loop. It keeps ``delay`` gradients in memory.

    Args:
      delay: number of steps, at least 0, a Python integer; under `optax.inject_hyperparams`, name it in
        ``static_args``.

    Raises:
      InputError: if ``delay`` is not such a number.

    Examples:
      >>> import asyncopt, jax.numpy as jnp
      >>> transform = asyncopt.delay_gradients(2)
      >>> state = transform.init(jnp.zeros(()))
      >>> passed_on = []
      >>> for gradient in (1.0, 2.0, 3.0, 4.0):
      ...     late, state = transform.update(jnp.asarray(gradient), state)
      ...     passed_on.append(float(late))
      >>> passed_on
      [0.0, 0.0, 1.0, 2.0]
    """
    delay = static_integer("delay", delay, at_least=0)

    def init(params):
        # Broadcast, and not made anew, so that the buffer is sharded as the parameters are.
        waiting = jax.tree.map(lambda p: jnp.broadcast_to(jnp.zeros_like(p), (delay, *jnp.shape(p))), params)
        return DelayGradientsState(jnp.zeros((), jnp.int32), waiting)

    def update(updates, state, params=None, **extra_args):
        del params, extra_args
        if delay == 0:
            return updates, state
        oldest = state.steps % delay

        def swap(gradient, buffer):
            if gradient is None:
                return None, buffer
            gradient = jnp.asarray(gradient)
            late = jax.lax.dynamic_index_in_dim(buffer, oldest, keepdims=False)
            stored = jax.lax.dynamic_update_index_in_dim(buffer, gradient.astype(buffer.dtype), oldest, 0)
            return late.astype(gradient.dtype), stored

        leaves, structure = jax.tree.flatten(updates, is_leaf=is_none)
        swapped = [swap(g, b) for g, b in zip(leaves, structure.flatten_up_to(state.waiting), strict=True)]
        late = structure.unflatten([gradient for gradient, _ in swapped])
        waiting = structure.unflatten([buffer for _, buffer in swapped])
        return late, DelayGradientsState(optax.safe_increment(state.steps), waiting)

    return optax.GradientTransformationExtraArgs(init, update)
