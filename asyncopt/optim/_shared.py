"""What several transforms share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Bool, Int, PyTree

from asyncopt.checks import InputError, check_integer, check_number


def is_none(leaf: object) -> bool:
    """Whether a leaf has no gradient."""
    return leaf is None


def is_absent(leaf: object) -> bool:
    """Whether a leaf has no gradient, or is hidden by `optax.masked`."""
    return leaf is None or isinstance(leaf, optax.MaskedNode)


def static_integer(name: str, value: int, *, at_least: int) -> int:
    """Returns ``value`` as an int; it sets the size of a buffer, so that it must not be traced."""
    if isinstance(value, jax.Array):
        raise InputError(
            f"{name} is an array, expected a Python integer. Under optax.inject_hyperparams, pass static_args={name!r}"
        )
    return check_integer(name, value, at_least=at_least)


def number(name: str, value: float | Array, **limits: float) -> float | Array:
    """Returns a number, checked unless it is traced.

    Raises:
      InputError: if it is not a finite real number, or out of range; starting with ``name``.
    """
    if isinstance(value, Tracer):
        return value
    if isinstance(value, jax.Array) and value.ndim == 0:
        check_number(name, value.item(), **limits)
        return value
    return check_number(name, value, **limits)


def at_update(value: Any, num_updates: Int[Array, ""]) -> Any:
    """Returns a number, or the value of a schedule after so many updates."""
    return value(num_updates) if callable(value) else value


def known_delay(delay: jax.typing.ArrayLike | None, transform: str) -> Int[Array, ""]:
    """Returns a gradient's delay as int32; raises TypeError if ``update`` of the ``transform`` was not told it."""
    if delay is None:
        raise TypeError(f"{transform} needs delay=, the gradient's staleness in updates: call update(..., delay=...)")
    return jnp.asarray(delay, jnp.int32)


def known_leaf_delays(
    delay: jax.typing.ArrayLike | None, leaf_delay: PyTree | None, params_like: PyTree, transform: str
) -> PyTree:
    """Returns the delay of each leaf's gradient, in updates.

    Args:
      delay: the largest delay of all leaves.
      leaf_delay: a pytree like the parameters, of integers without an axis; None if every leaf has ``delay``.
      params_like: a gradient or parameters; a leaf may be None.
      transform: the name of the transform whose ``update`` was told them.

    Returns:
      A pytree like ``params_like``, of int32 scalars; a leaf without gradient stays as it is.

    Raises:
      TypeError: if both are None.
      InputError: if ``leaf_delay`` is not such a pytree.
    """
    leaves, structure = jax.tree.flatten(params_like, is_leaf=is_absent)
    if leaf_delay is None:
        delays = [known_delay(delay, transform)] * len(leaves)
    else:
        try:
            delays = structure.flatten_up_to(leaf_delay)
        except ValueError as error:
            raise InputError(
                f"{transform}: leaf_delay is {jax.tree.structure(leaf_delay)}, expected one delay for each leaf of "
                f"{structure}"
            ) from error
    pairs = zip(leaves, delays, strict=True)
    return structure.unflatten(like if is_absent(like) else _scalar(each, transform) for like, each in pairs)


def _scalar(delay: jax.typing.ArrayLike, transform: str) -> Int[Array, ""]:
    if jax.tree.structure(delay) != jax.tree.structure(0) or jnp.ndim(delay) != 0:
        raise InputError(f"{transform}: a leaf of leaf_delay is {delay}, expected an integer without an axis")
    return jnp.asarray(delay, jnp.int32)


def checked_inner(inner: object) -> optax.GradientTransformationExtraArgs:
    """Returns the wrapped optimizer, which takes extra arguments; raises an InputError if it is none."""
    if not isinstance(inner, optax.GradientTransformation):
        raise InputError(f"inner is {inner!r}, expected an optax.GradientTransformation: optax.sgd(0.1), say")
    return optax.with_extra_args_support(inner)


def known_worker(worker: jax.typing.ArrayLike | None, transform: str, num_workers: int) -> Int[Array, ""]:
    """Returns a gradient's worker as int32.

    Raises:
      TypeError: if ``update`` of the ``transform`` was not told it.
      InputError: if there is no such worker; a traced number is not checked.
    """
    if worker is None:
        raise TypeError(
            f"{transform} needs worker=, the number of the gradient's worker: call update(..., worker=...). Where "
            "several gradients make a step, only the outermost transform is told it, if it takes each by itself"
        )
    if isinstance(worker, int | np.integer) and check_integer("worker", worker, at_least=0) >= num_workers:
        raise InputError(f"worker is {worker}, expected at most {num_workers - 1}")
    return jnp.asarray(worker, jnp.int32)


def only_if(condition: Bool[Array, ""], steps: PyTree, new_state: PyTree, old_state: PyTree) -> tuple[PyTree, PyTree]:
    """Returns the steps and the new state if the condition holds, else steps of zero and the old state."""
    steps = jax.tree.map(lambda step: jnp.where(condition, step, jnp.zeros_like(step)), steps)
    return steps, jax.tree.map(lambda new, old: jnp.where(condition, new, old), new_state, old_state)


def in_one_piece(array: Array) -> Array:
    """Returns an array that no axis of an explicit mesh is split over: JAX refuses some operations on a split one."""
    is_split = any(axis is not None for axis in jax.typeof(array).sharding.spec)
    return jax.sharding.reshard(array, jax.sharding.PartitionSpec()) if is_split else array


def split_like(array: Array, like: Array) -> Array:
    """Returns an array that is split over the axes of an explicit mesh as another one of its shape is."""
    spec = jax.typeof(like).sharding.spec
    return jax.sharding.reshard(array, spec) if any(axis is not None for axis in spec) else array
