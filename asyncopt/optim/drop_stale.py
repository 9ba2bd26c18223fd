"""No step for a gradient that is too old."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.optim._shared import known_delay, only_if, static_integer


class DropStaleState(NamedTuple):
    """State of `drop_stale`."""

    inner: PyTree
    num_received: Int[Array, ""]  # int32, gradients received
    last_applied: Int[Array, " max_delay"]  # int32, numbers of the last gradients applied, as a ring
    num_applied: Int[Array, ""]  # int32, gradients applied


def drop_stale(inner: optax.GradientTransformation, max_delay: int) -> optax.GradientTransformationExtraArgs:
    r"""Drops a gradient that is ``max_delay`` or more applied updates old: no step, and the state does not change.

    A dropped gradient left the iterate as it was. So the delay that counts is δ, the number of gradients *applied*
    since this gradient's iterate was read. A gradient is applied if δ < ``max_delay``.

    ``update`` needs the keyword ``delay``: int, the number of gradients received, applied or not, since that iterate.

    Args:
      inner: the optimizer.
      max_delay: R, in applied updates, at least 1.

    Raises:
      InputError: if ``max_delay`` is not such a number.

    References:
      Maranjyan, Tyurin and Richtárik, `Ringmaster ASGD: the first asynchronous SGD with optimal time complexity
      <https://arxiv.org/abs/2501.16168>`_, 2025.
    """
    max_delay = static_integer("max_delay", max_delay, at_least=1)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        zero = jnp.zeros((), jnp.int32)
        return DropStaleState(inner.init(params), zero, jnp.full((max_delay,), -1, jnp.int32), zero)

    def update(updates, state, params=None, *, delay=None, **extra_args):
        delay = known_delay(delay, "drop_stale")
        # δ >= R exactly if the R-th last gradient applied came after this one's iterate was read.
        place = state.num_applied % max_delay
        oldest = state.last_applied[place]
        fresh = (oldest < 0) | (oldest < state.num_received - delay)
        steps, new_inner = inner.update(updates, state.inner, params, delay=delay, **extra_args)
        steps, inner_state = only_if(fresh, steps, new_inner, state.inner)
        return steps, DropStaleState(
            inner_state,
            optax.safe_increment(state.num_received),
            jnp.where(fresh, state.last_applied.at[place].set(state.num_received), state.last_applied),
            jnp.where(fresh, optax.safe_increment(state.num_applied), state.num_applied),
        )

    return optax.GradientTransformationExtraArgs(init, update)
