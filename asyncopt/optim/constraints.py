"""Feasible sets X, with the projection in a diagonal norm that an adaptive method needs."""

from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PyTree

from asyncopt.checks import InputError, check_number
from asyncopt.optim._shared import in_one_piece

# Newton steps for the multiplier: with scales from 1e-12 to 1, it needed fewer than 30.
_MAX_NEWTON_STEPS = 100
# Partial sums of this length keep float32's rounding error small when there are millions of terms.
_SUM_BLOCK = 1024


@runtime_checkable
class Constraint(Protocol):
    """A closed convex set of parameters."""

    def project(self, point: PyTree, scale: PyTree) -> PyTree:
        """Returns argmin over x in X of Σ scale (x - point)², in the structure and dtypes of ``point``."""
        ...

    def contains(self, point: PyTree) -> bool:
        """Whether ``point`` (concrete arrays) lies in X, to rounding."""
        ...


class Box(eqx.Module):
    """All x with lower <= x <= upper, coordinate by coordinate.

    Args:
      lower: a number, or a pytree of numbers and arrays that is a prefix of the parameters' tree; it may be -inf.
      upper: a number or such a pytree; it may be inf.

    Raises:
      InputError: if a bound is not a number, or the bounds cross.
    """

    lower: PyTree
    upper: PyTree

    def __check_init__(self):
        """Refuses bounds that are not numbers, or that cross."""
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            for path, leaf in jax.tree.leaves_with_path(bound):
                if not np.issubdtype(np.asarray(leaf).dtype, np.number) or np.isnan(leaf).any():
                    raise InputError(f"{name}{jax.tree_util.keystr(path)} is {leaf!r}, expected numbers")
        if jax.tree.structure(self.lower) == jax.tree.structure(self.upper):
            jax.tree.map(_check_ordered, self.lower, self.upper)

    def project(self, point: PyTree, scale: PyTree) -> PyTree:
        """Returns ``point``, clipped: coordinates are independent, so the scale makes no difference."""
        del scale
        return jax.tree.map(lambda w, low, high: jnp.clip(w, low, high).astype(w.dtype), point, *self._bounds(point))

    def contains(self, point: PyTree) -> bool:
        """Whether every coordinate of ``point`` is within its bounds, to rounding."""

        def leaf_is_inside(x, low, high):
            # In NumPy: each seed's start is asked for, and JAX takes longer for a few small operations.
            x, low, high = map(np.asarray, (x, low, high))
            slack = 4 * float(jnp.finfo(x.dtype).eps) * (1 + np.abs(x))
            return bool(np.all((x >= low - slack) & (x <= high + slack)))

        return jax.tree.all(jax.tree.map(leaf_is_inside, point, *self._bounds(point)))

    def _bounds(self, point: PyTree) -> tuple[PyTree, PyTree]:
        return _broadcast("lower", self.lower, point), _broadcast("upper", self.upper, point)


class L2Ball(eqx.Module):
    """All x with ‖x - center‖_2 <= radius, the norm taken over the whole pytree.

    Args:
      radius: a number above 0.
      center: a number, or a pytree of numbers and arrays that is a prefix of the parameters' tree.

    Raises:
      InputError: if the radius is not a positive number.
    """

    title: ClassVar[str] = "ball"
    radius: float
    center: PyTree = 0.0

    def __check_init__(self):
        """Refuses a radius that is not positive."""
        check_number("radius", self.radius, above=0)

    def project(self, point: PyTree, scale: PyTree) -> PyTree:
        r"""Returns the projection of ``point`` in the norm of ``scale``, non-negative arrays like ``point``.

        The optimality conditions of the projection give, with the multiplier :math:`\lambda \ge 0`,

        .. math::
          x_i = c_i + \frac{s_i}{s_i + \lambda} (w_i - c_i), \qquad \|x - c\|_2 = R
          \text{ unless } w \text{ is inside.}

        :math:`1 / \|x(\lambda) - c\|` is concave and increasing, so Newton's method from the left rises
        monotonically to the root (Moré and Sorensen's secular equation). It runs until it stops moving.
        Where scales are zero, the projection is the limit of small positive scales.
        """
        if not jax.tree.leaves(point):
            return point
        center = _broadcast("center", self.center, point)
        offset = jax.tree.map(lambda w, c: _wide(w) - c, point, center)
        wide_scale = jax.tree.map(_wide, scale)
        inside = _norm(offset) <= self.radius
        # Scales and offsets of order one: neither squares nor the multiplier leave the range of the dtype.
        largest = jax.tree.reduce(jnp.maximum, jax.tree.map(lambda s: jnp.max(s, initial=0.0), wide_scale))
        smallest_allowed = jnp.finfo(largest.dtype).tiny ** 0.5
        unit_scale = jax.tree.map(
            lambda s: jnp.maximum(s / jnp.where(largest > 0, largest, 1.0), smallest_allowed), wide_scale
        )
        unit_offset = jax.tree.map(lambda d: d / self.radius, offset)
        multiplier = jnp.where(inside, 0.0, _ball_multiplier(unit_offset, unit_scale))
        shrunk = jax.tree.map(lambda d, s: d * (s / (s + multiplier)), offset, unit_scale)
        # The root is exact to rounding only; without this factor, the result may lie just outside the ball.
        factor = jnp.where(inside, 1.0, self.radius / _norm(shrunk))
        return jax.tree.map(
            lambda w, c, d: jnp.where(inside, w, (c + factor * d).astype(w.dtype)), point, center, shrunk
        )

    def contains(self, point: PyTree) -> bool:
        """Whether ``point`` is within the ball, to rounding."""
        if not jax.tree.leaves(point):
            return True
        offset = jax.tree.map(lambda w, c: _wide(w) - c, point, _broadcast("center", self.center, point))
        eps = max((float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(point)), default=0.0)
        return bool(_norm(offset) <= self.radius * (1 + 8 * eps))


@jax.jit  # called outside jit, a bare while_loop would be compiled at every call
def _ball_multiplier(offset: PyTree, scale: PyTree) -> Float[Array, ""]:
    """Solves ‖scale offset / (scale + λ)‖ = 1 for λ >= 0, given ‖offset‖ > 1 and positive scales of at most 1."""

    def size_and_slope(multiplier):
        shrunk = jax.tree.map(lambda d, s: d * (s / (s + multiplier)), offset, scale)
        size = _norm(shrunk)
        slope = _sum(jax.tree.map(lambda x, s: x * x / (s + multiplier), shrunk, scale)) / size
        return size, slope

    def newton_step(carry):
        multiplier, _, steps = carry
        size, slope = size_and_slope(multiplier)
        # Newton on 1/size - 1, whose derivative is slope / size².
        return multiplier + (size - 1) * size / slope, multiplier, steps + 1

    def rising(carry):
        multiplier, previous, steps = carry
        return (multiplier > previous) & (steps < _MAX_NEWTON_STEPS)

    zero = jnp.zeros((), jnp.result_type(*jax.tree.leaves(offset)))
    first, _, _ = newton_step((zero, zero, 0))
    return jax.lax.while_loop(rising, newton_step, (first, zero, 1))[0]


def _check_ordered(low: ArrayLike, high: ArrayLike) -> None:
    if np.any(np.asarray(low) > np.asarray(high)):
        raise InputError(f"bounds cross: lower {low!r} is above upper {high!r}")


def _broadcast(name: str, bound: PyTree, point: PyTree) -> PyTree:
    """Returns ``bound`` with one leaf for each leaf of ``point``, which may be masked or lack leaves."""

    def is_absent(leaf: Any) -> bool:
        return leaf is None or isinstance(leaf, optax.MaskedNode)

    try:
        full = jax.tree.broadcast(bound, point, is_leaf=is_absent)
        return jax.tree.map(
            lambda leaf, b: leaf if is_absent(leaf) else _as_bound(b, leaf), point, full, is_leaf=is_absent
        )
    except ValueError as error:
        raise InputError(f"{name} does not fit the parameters: {error}") from error


def _as_bound(bound: ArrayLike, leaf: Array) -> Array:
    """Returns the bound in the leaf's dtype, or float32 if that is wider."""
    if jnp.iscomplexobj(leaf):
        raise ValueError(f"a leaf of dtype {leaf.dtype}, expected real numbers")
    array = jnp.asarray(bound, dtype=jnp.promote_types(leaf.dtype, jnp.float32))
    if jnp.broadcast_shapes(array.shape, leaf.shape) != leaf.shape:
        raise ValueError(f"shape {array.shape} against {leaf.shape}")
    return array


def _wide(array: Array) -> Array:
    """Returns an array as float32 at least: half precision is for storage."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _sum(tree: PyTree) -> Float[Array, ""]:
    """Returns the sum of all entries of all leaves, taken in blocks, so that rounding errors do not pile up."""

    def leaf_sum(leaf: Array) -> Array:
        flat = in_one_piece(leaf).ravel()
        blocks = jnp.pad(flat, (0, -flat.size % _SUM_BLOCK)).reshape(-1, _SUM_BLOCK)
        return jnp.sum(jnp.sum(blocks, axis=1))

    return jax.tree.reduce(jnp.add, jax.tree.map(leaf_sum, tree))


def _norm(tree: PyTree) -> Float[Array, ""]:
    return jnp.sqrt(_sum(jax.tree.map(jnp.square, tree)))
