"""What a worker does in place of one gradient: local steps."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree

from asyncopt.checks import InputError, check_flag, check_integer
from asyncopt.engine.draws import draw_one
from asyncopt.optim.each_gradient import EachGradient
from asyncopt.problems import Problem

_MOST_STEPS = 2**31 - 1  # they are counted with 32 bits


@runtime_checkable
class Work(Protocol):
    """What a worker computes from the iterate that it read; a pytree whose arrays are leaves."""

    def init(self, params: PyTree, num_workers: int) -> PyTree:
        """Returns what the workers keep between their jobs, at the start."""
        ...

    def direction(
        self, problem: Problem, params: PyTree, key: Key[Array, ""], worker: Int[Array, ""], state: PyTree
    ) -> tuple[PyTree, PyTree]:
        """Returns what the server is sent in place of a gradient, and what the workers keep after the job.

        Args:
          problem: what is minimised.
          params: the iterate that the worker read.
          key: the key of the update's mini-batch; split it for more of them.
          worker: the worker.
          state: what the workers keep.
        """
        ...


class LocalSteps(eqx.Module):
    """See `local_steps`."""

    optimizer: optax.GradientTransformationExtraArgs
    num_steps: Int[Array, " n"]
    keep_state: bool = eqx.field(static=True)

    def init(self, params: PyTree, num_workers: int) -> PyTree:
        """Returns a state of the inner optimizer for each worker, or None if each job starts with a new one."""
        if self.num_steps.shape[0] not in (1, num_workers):
            raise InputError(
                f"num_steps has {self.num_steps.shape[0]} numbers, expected one, or one for each of "
                f"{num_workers} workers"
            )
        if not self.keep_state:
            return None
        state = self.optimizer.init(params)
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (num_workers, *jnp.shape(x))), state)

    def direction(
        self, problem: Problem, params: PyTree, key: Key[Array, ""], worker: Int[Array, ""], state: PyTree
    ) -> tuple[PyTree, PyTree]:
        """Returns the displacement of the local steps, the iterate read less the worker's last one."""
        number = self.num_steps[worker if self.num_steps.shape[0] > 1 else 0]
        inner = self.optimizer.init(params) if state is None else jax.tree.map(lambda x: x[worker], state)

        def step(i, carry):
            local, inner = carry
            batch = draw_one(problem, jax.random.fold_in(key, i), worker)
            gradient = jax.grad(problem.loss)(local, batch)
            updates, inner = self.optimizer.update(gradient, inner, local)
            return optax.apply_updates(local, updates), inner

        local, inner = jax.lax.fori_loop(0, number, step, (params, inner))
        displacement = jax.tree.map(jnp.subtract, params, local)
        if state is not None:
            state = jax.tree.map(lambda all_states, mine: all_states.at[worker].set(mine), state, inner)
        return displacement, state


def local_steps(
    inner_optimizer: optax.GradientTransformation, num_steps: int | list[int], keep_state: bool = False
) -> LocalSteps:
    r"""Lets a worker make H steps of its own from the iterate that it read, and send how far it came.

    .. math:: y_0 = x_{k - \tau_k}, \quad y_{i+1} = y_i + \mathrm{inner}(\nabla f(y_i; \xi_{k,i})), \quad
      g_k = y_0 - y_H.

    The optimizer of the run, the outer one, takes g_k as a gradient: ``optax.sgd(1.0)`` puts the iterate where the
    worker came to, if nothing came between; ``optax.sgd(0.7, momentum=0.9, nesterov=True)`` is DiLoCo's.

    Args:
      inner_optimizer: an Optax transform that needs neither ``delay`` nor ``worker``.
      num_steps: H, at least 1; or a number for each worker.
      keep_state: whether a worker keeps the state of its inner optimizer from job to job, as DiLoCo does; else each
        job starts with a new one.

    Raises:
      InputError: if a number is out of range.

    References:
      Douillard et al., `DiLoCo: distributed low-communication training of language models
      <https://arxiv.org/abs/2311.08105>`_, 2023; Liu et al., `Asynchronous local-SGD training for language modeling
      <https://arxiv.org/abs/2401.09135>`_, 2024.
    """
    if not isinstance(inner_optimizer, optax.GradientTransformation) or isinstance(inner_optimizer, EachGradient):
        raise InputError(
            f"inner_optimizer is {inner_optimizer!r}, expected an optax.GradientTransformation, without a table of "
            "workers"
        )
    check_flag("keep_state", keep_state)
    listed = num_steps if isinstance(num_steps, list | tuple) else [num_steps]
    numbers = [check_integer("num_steps", number, at_least=1) for number in listed]
    if max(numbers, default=0) > _MOST_STEPS or not numbers:
        raise InputError(f"num_steps is {num_steps}, expected numbers from 1 to {_MOST_STEPS}")
    return LocalSteps(optax.with_extra_args_support(inner_optimizer), jnp.array(numbers, jnp.int32), keep_state)
