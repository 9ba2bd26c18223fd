"""Optimizers whose numbers are inputs of a compiled program: one compilation serves a sweep over them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree


def parametric(make: Callable[..., optax.GradientTransformation], **settings: Any) -> optax.GradientTransformation:
    """Returns ``make(**settings)`` as a pytree whose leaves are the floats in ``settings``.

    An Optax transform is a pair of closures: to JAX, two step sizes are two programs. Here both functions are a
    `jax.tree_util.Partial`, which constructs the optimizer again wherever it is traced. So a function compiled with
    `equinox.filter_jit` that takes the transform as an argument is compiled once for all values of its floats.

    Args:
      make: an optimizer's constructor that works under `optax.inject_hyperparams`, as Optax's own do.
      **settings: the constructor's arguments. Floats, alone or inside pytrees, become inputs (schedules, too, if they
        are pytrees, as `asyncopt.optim.step_size` makes them). All others are part of the program.

    Returns:
      A transform of the class that ``make`` returns, such as `ApamTransformation`. It takes extra arguments.

    Raises:
      Whatever ``make`` raises: it is called once, with plain numbers, for its checks.

    Examples:
      >>> import asyncopt, equinox as eqx, jax.numpy as jnp, optax
      >>> traced = []
      >>> @eqx.filter_jit
      ... def first_step(optimizer):
      ...     traced.append(True)
      ...     return optimizer.update(jnp.ones(1), optimizer.init(jnp.ones(1)))[0]
      >>> steps = [first_step(asyncopt.optim.parametric(optax.sgd, learning_rate=a)) for a in (0.5, 0.25)]
      >>> [float(step[0]) for step in steps], len(traced)
      ([-0.5, -0.25], 1)
    """
    transform = optax.with_extra_args_support(make(**settings))
    # Weakly typed, as Python's numbers are: they do not widen an optimizer's state.
    inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, float) else leaf, settings)
    init, update = (jax.tree_util.Partial(function, make, inputs) for function in (_init, _update))
    return type(transform)(init, update)  # the same steps, so the same class


def _init(make: Callable[..., optax.GradientTransformation], settings: dict[str, Any], params: PyTree) -> PyTree:
    return make(**settings).init(params)


def _update(
    make: Callable[..., optax.GradientTransformation],
    settings: dict[str, Any],
    updates: PyTree,
    state: PyTree,
    params: PyTree = None,
    **extra_args: Any,
) -> tuple[PyTree, PyTree]:
    return optax.with_extra_args_support(make(**settings)).update(updates, state, params, **extra_args)
