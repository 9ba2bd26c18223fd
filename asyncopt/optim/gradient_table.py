"""A step with the mean over workers of each one's gradient, kept in a table."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.checks import InputError, check_flag
from asyncopt.optim._shared import checked_inner, known_worker, only_if, static_integer
from asyncopt.optim.each_gradient import EachGradient


class GradientTableState(NamedTuple):
    """State of `gradient_table`."""

    inner: PyTree
    table: PyTree  # like the parameters, each leaf with a leading axis of workers
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
    ``asyncopt.traces.policies.ringleader`` makes. It keeps p copies of the parameters, and a step goes through all of
    them.

    ``update`` needs the keyword ``worker``: int, in 0..p - 1. With ``makes_step`` false, the gradient joins the table,
    and no step is made. The trace's weights are not used; `asyncopt.replay` refuses a trace that has some.

    Args:
      inner: the optimizer; it receives the mean.
      num_workers: p, at least 1.
      rounds: whether a worker's gradients of one round are averaged.

    Raises:
      InputError: if ``num_workers`` is not such a number.

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
        zeros = jnp.zeros((num_workers,), jnp.int32)
        return GradientTableState(inner.init(params), table, zeros, zeros - 1, jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, *, worker=None, makes_step=True, **extra_args):
        worker = known_worker(worker, "gradient_table", num_workers)
        this_round = state.num_steps // num_workers
        joins = (state.round[worker] == this_round) if rounds else False
        count = jnp.where(joins, state.num_averaged[worker] + 1, 1)

        def entered(gradients, gradient):
            before = gradients[worker]
            mean = jnp.where(joins, before + (gradient - before) / count.astype(before.dtype), gradient)
            return gradients.at[worker].set(mean.astype(before.dtype))

        table = jax.tree.map(entered, state.table, updates)
        mean = jax.tree.map(lambda gradients: jnp.mean(gradients, axis=0), table)
        steps, new_inner = inner.update(mean, state.inner, params, worker=worker, **extra_args)
        steps, inner_state = only_if(jnp.asarray(makes_step), steps, new_inner, state.inner)
        return steps, GradientTableState(
            inner_state,
            table,
            state.num_averaged.at[worker].set(count),
            state.round.at[worker].set(this_round),
            state.num_steps + jnp.asarray(makes_step, jnp.int32),
        )

    return EachGradient(init, update)
