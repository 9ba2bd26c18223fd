"""What depends on shapes and dtypes alone is found once, and kept for the next call."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax

_KEPT = 64  # results of each function
Returned = TypeVar("Returned")


def by_shapes(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """Decorates a function of pytrees: it is given the shapes and dtypes of their arrays, and called once for each.

    To trace a function takes milliseconds, as long as hundreds of updates of a small model.

    Args:
      function: takes pytrees in which each array is a `jax.ShapeDtypeStruct`. Leaves that are no arrays are hashable.
    """

    @functools.lru_cache(maxsize=_KEPT)
    def called_once(structure: Any, leaves: tuple[Any, ...], double: bool) -> Returned:
        del double
        arguments, named = jax.tree.unflatten(structure, leaves)
        return function(*arguments, **named)

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Returned:
        leaves, structure = jax.tree.flatten((arguments, named))
        return called_once(structure, tuple(map(_shape, leaves)), jax.config.read("jax_enable_x64"))

    return called


def _shape(leaf: Any) -> Any:
    if not eqx.is_array(leaf):
        return leaf
    kind = jax.typeof(leaf)  # JAX converts float64 of NumPy to float32 unless x64 is on
    return jax.ShapeDtypeStruct(kind.shape, kind.dtype, weak_type=getattr(kind, "weak_type", False))
