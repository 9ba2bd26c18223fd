"""A step with the mean over workers of each one's gradient, kept in a table."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from asyncopt.checks import InputError, check_flag
from asyncopt.optim._shared import checked_inner, known_worker, only_if, static_integer
from asyncopt.optim.each_gradient import EachGradient


class GradientTableState(NamedTuple):
    """State of `gradient_table`."""

    inner: PyTree
    table: PyTree  # like the parameters, each leaf with a leading axis of workers
    total: PyTree  # the sum over workers, up to the rounding of at most p updates
    num_entered: Int[Array, ""]  # int32, gradients that have entered the table, modulo p
    num_averaged: Int[Array, " p"]  # int32, gradients in each worker's mean
    round: Int[Array, " p"]  # int32, the round that they belong to, or -1
    num_steps: Int[Array, ""]  # int32, steps made

    @property
    def num_workers(self) -> int:
        """The number of workers, p."""
        return self.num_averaged.shape[0]


def gradient_table(inner: optax.GradientTransformation, num_workers: int, rounds: bool = False) -> EachGradient:
    r"""Keeps one gradient for each worker, and steps with their mean: no worker counts more than another.

    .. math:: \bar g = \frac1p \sum_{w=1}^p G_w,

    where G_w is the last gradient of worker w (PIAG, IA²SGD), and zero before the first. With ``rounds``, G_w is the
    mean of its gradients in this round, and a round ends after p steps: Ringleader, whose trace
    ``asyncopt.traces.policies.ringleader`` makes. It keeps p copies of the parameters. Their sum is kept up to date,
    and a p-th of its coordinates is summed anew in each update, so that rounding does not add up.

    ``update`` needs the keyword ``worker``: int, in 0..p - 1. With ``makes_step`` false, the gradient joins the table,
    and no step is made. The trace's weights are not used; `asyncopt.replay` refuses a trace that has some.

    Args:
      inner: the optimizer; it receives the mean.
      num_workers: p, at least 1.
      rounds: whether a worker's gradients of one round are averaged.

    Raises:
      InputError: if ``num_workers`` is not such a number, ``rounds`` is no bool, or ``inner`` takes each gradient by
        itself.

    References:
      Aytekin, Feyzmahdavian and Johansson, `Analysis and implementation of an asynchronous optimization algorithm for
      the parameter server <https://arxiv.org/abs/1610.05507>`_, 2016 (PIAG); Wang et al., `Tight stochastic
      convergence rates of asynchronous SGD with incremental aggregation <https://arxiv.org/abs/2405.16966>`_, 2024
      (IA²SGD); Maranjyan and Richtárik, `Ringleader ASGD <https://arxiv.org/abs/2509.22860>`_, 2025.
    """
    num_workers = static_integer("num_workers", num_workers, at_least=1)
    check_flag("rounds", rounds)
    if isinstance(inner, EachGradient):
        raise InputError(f"inner is {inner!r}, expected a transform that takes sums of gradients, and no table")
    inner = checked_inner(inner)

    def init(params):
        table = jax.tree.map(lambda p: jnp.broadcast_to(jnp.zeros_like(p), (num_workers, *jnp.shape(p))), params)
        zeros, zero = jnp.zeros((num_workers,), jnp.int32), jnp.zeros((), jnp.int32)
        total = jax.tree.map(jnp.zeros_like, params)
        return GradientTableState(inner.init(params), table, total, zero, zeros, zeros - 1, zero)

    def update(updates, state, params=None, *, worker=None, makes_step=True, **extra_args):
        worker = known_worker(worker, "gradient_table", num_workers)
        this_round = state.num_steps // num_workers
        joins = (state.round[worker] == this_round) if rounds else False
        count = jnp.where(joins, state.num_averaged[worker] + 1, 1)

        # The condition always holds. A `cond` makes XLA read the table before the new entry is written, which depends
        # on what it returns; else XLA copies the table in every update.
        before, total, was_read = jax.lax.cond(
            worker < num_workers,
            lambda: (
                jax.tree.map(lambda gradients: gradients[worker], state.table),
                jax.tree.map(functools.partial(_partly_summed, part=state.num_entered), state.total, state.table),
                True,
            ),
            lambda: (state.total, state.total, False),
        )

        def entry(old, gradient):
            mean = jnp.where(joins, old + (gradient - old) / count.astype(old.dtype), gradient)
            return jnp.where(was_read, mean, old).astype(old.dtype)

        entries = jax.tree.map(entry, before, updates)
        total = jax.tree.map(lambda t, old, new: t + (new - old), total, before, entries)
        table = jax.tree.map(lambda gradients, new: gradients.at[worker].set(new), state.table, entries)
        mean = jax.tree.map(lambda t: t / num_workers, total)
        steps, new_inner = inner.update(mean, state.inner, params, worker=worker, **extra_args)
        steps, inner_state = only_if(jnp.asarray(makes_step), steps, new_inner, state.inner)
        return steps, GradientTableState(
            inner_state,
            table,
            total,
            (state.num_entered + 1) % num_workers,
            state.num_averaged.at[worker].set(count),
            state.round.at[worker].set(this_round),
            state.num_steps + jnp.asarray(makes_step, jnp.int32),
        )

    return EachGradient(init, update)


def _partly_summed(
    total: Float[Array, "..."], gradients: Float[Array, "p ..."], part: Int[Array, ""]
) -> Float[Array, "..."]:
    """Returns the sum over workers, a p-th of which is computed anew; that reads as many numbers as a gradient has."""
    if not total.size:
        return total
    num_workers = len(gradients)
    size = -(-total.size // num_workers)
    start = jnp.minimum(part * size, total.size - size)
    columns = jax.lax.dynamic_slice_in_dim(gradients.reshape(num_workers, -1), start, size, axis=1)
    return jax.lax.dynamic_update_slice_in_dim(
        total.ravel(), columns.sum(axis=0, dtype=total.dtype), start, axis=0
    ).reshape(total.shape)
