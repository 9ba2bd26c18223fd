"""One step for several gradients, each weighted by its staleness."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.optim._shared import is_none, known_delay, number, only_if, static_integer


class BufferUpdatesState(NamedTuple):
    """State of `buffer_updates`."""

    inner: PyTree
    num_received: Int[Array, ""]  # int32, gradients received
    total: PyTree  # sum of the weighted gradients in the buffer, like the parameters


def buffer_updates(
    inner: optax.GradientTransformation, size: int, exponent: float | Array = 0.5
) -> optax.GradientTransformationExtraArgs:
    r"""Collects gradients, and steps with the weighted mean of every ``size`` of them (FedBuff).

    .. math:: \bar g = \frac1b \sum_{i=1}^b (1 + \tau_i)^{-a} g_i,

    where τ_i counts *steps* between the read and the arrival, not gradients. With ``exponent`` 0 and zero delay, this
    is training with mini-batches b times as large, as in synchronous rounds of b workers.

    ``update`` needs the keyword ``delay``: int, the number of gradients received between the read and the arrival.

    Args:
      inner: the optimizer; it receives the mean.
      size: b, at least 1.
      exponent: a, at least 0; FedBuff's is ½.

    Raises:
      InputError: if a number is out of range.

    References:
      Nguyen et al., `Federated learning with buffered asynchronous aggregation
      <https://arxiv.org/abs/2106.06639>`_, 2022.
    """
    size = static_integer("size", size, at_least=1)
    exponent = number("exponent", exponent, at_least=0)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        return BufferUpdatesState(inner.init(params), jnp.zeros((), jnp.int32), optax.tree.zeros_like(params))

    def update(updates, state, params=None, *, delay=None, **extra_args):
        delay = known_delay(delay, "buffer_updates")
        staleness = state.num_received // size - (state.num_received - delay) // size
        weight = (1.0 + staleness) ** -exponent / size
        total = jax.tree.map(
            lambda g, t: t if g is None else (t + weight * g).astype(t.dtype), updates, state.total, is_leaf=is_none
        )
        full = (state.num_received + 1) % size == 0
        mean = jax.tree.map(lambda g, t: None if g is None else t.astype(g.dtype), updates, total, is_leaf=is_none)
        steps, new_inner = inner.update(mean, state.inner, params, delay=delay, **extra_args)
        steps, inner_state = only_if(full, steps, new_inner, state.inner)
        emptied = jax.tree.map(lambda t: jnp.where(full, jnp.zeros_like(t), t), total)
        return steps, BufferUpdatesState(inner_state, optax.safe_increment(state.num_received), emptied)

    return optax.GradientTransformationExtraArgs(init, update)
