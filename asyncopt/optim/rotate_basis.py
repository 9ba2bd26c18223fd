"""Steps in the eigenbasis of the gradients, where delay harms an optimizer that works by coordinates less."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from asyncopt.optim._shared import checked_inner, in_one_piece, is_absent, number, split_like, static_integer

# Fields of optimizers' states that are linear in the gradients: means, Adam and its kin, momentum.
_FIRST_MOMENTS = ("ema", "mu", "trace", "velocity")


class Side(NamedTuple):
    """One side of a matrix, of length n; float32 at least."""

    basis: Float[Array, "n n"]  # orthogonal, a basis vector in each column
    covariance: Float[Array, "n n"]  # mean of G Gᵀ for the rows, of Gᵀ G for the columns


class Sides(NamedTuple):
    """What is kept of one leaf; None for a side that is not rotated."""

    rows: Side | None
    columns: Side | None


class RotateBasisState(NamedTuple):
    """State of `rotate_basis`."""

    inner: PyTree  # in the rotated basis
    sides: PyTree  # like the parameters, with `Sides` as leaves
    num_updates: Int[Array, ""]  # int32, k


def rotate_basis(
    inner: optax.GradientTransformation, every: int = 10, decay: float | Array = 0.999, max_side: int = 2048
) -> optax.GradientTransformationExtraArgs:
    r"""Gives each matrix's gradient to ``inner`` in the gradients' eigenbasis, and turns its step back.

    .. math::
      L_k &= \beta L_{k-1} + (1 - \beta)\, G_k G_k^\top, \qquad
      R_k = \beta R_{k-1} + (1 - \beta)\, G_k^\top G_k, \\
      \tilde G_k &= U^\top G_k V, \qquad \Delta_k = U \tilde\Delta_k V^\top,

    with :math:`\tilde\Delta_k` the step of ``inner``. In every n-th update, before the gradient is turned, U becomes
    the orthogonal factor of the QR decomposition of :math:`L_k U`, and V that of :math:`R_k V`; the triangular factor
    has no negative diagonal entry. This is one step of a power iteration, in which columns tend to the eigenvectors.
    Until the first, both are the identity.

    Under delay, steps by coordinates (as Adam's) oscillate where the Hessian's eigenvectors are not along the axes.
    Jung et al. give this as the reason why deep asynchronous pipelines learn slowly. The method is SOAP (Vyas et al.)
    for stale gradients; in the paper's words, its source is "2nd" and its geometry bilateral.

    When a basis changes, the first moments in the state of ``inner`` are turned to the new one, so that they are the
    means of the same gradients. These are the fields ``ema``, ``mu``, ``trace`` and ``velocity`` of states at any
    depth. All other state is kept, as in the paper: second moments are then those of the old coordinates for a while.

    Where the gradients so far span fewer directions than a matrix has, rounding alone chooses the other columns of the
    basis. A run in a batch may then differ from the same run alone by more than rounding.

    Args:
      inner: the optimizer. It receives gradients, ``params`` and ``stale_params`` in the rotated basis, and other
        extra arguments as they are. It must not project onto a set: that would be in the wrong coordinates.
      every: n, updates between changes of the basis, at least 1.
      decay: β, in [0, 1); the paper takes β2 of Adam.
      max_side: a longer side of a matrix is not rotated. Each rotated side of length n takes two n × n matrices.

    Returns:
      A transform with a `RotateBasisState`. Leaves that are no matrices of real numbers go to ``inner`` as they are.
      Its ``update`` has no reverse-mode derivative.

    Raises:
      InputError: if a number is out of range, or ``inner`` is no optimizer.

    Examples:
      >>> import asyncopt, jax.numpy as jnp, optax
      >>> optimizer = asyncopt.optim.rotate_basis(optax.adam(0.1), every=1)
      >>> gradient = jnp.array([[1.0, 0.0], [1.0, 1.0]])
      >>> steps, state = optimizer.update(gradient, optimizer.init(gradient))
      >>> print(state.sides.rows.basis.round(3))
      [[ 0.707 -0.707]
       [ 0.707  0.707]]

    References:
      Jung, Shin and Lee, `Mitigating staleness in asynchronous pipeline parallelism via basis rotation
      <https://arxiv.org/abs/2602.03515>`_, 2026;
      Vyas et al., `SOAP: Improving and stabilizing Shampoo using Adam <https://arxiv.org/abs/2409.11321>`_, 2025.
    """
    every = static_integer("every", every, at_least=1)
    decay = number("decay", decay, at_least=0, below=1)
    max_side = static_integer("max_side", max_side, at_least=1)
    inner = checked_inner(inner)

    def sides_of(leaf):
        if len(leaf.shape) != 2 or not jnp.issubdtype(leaf.dtype, jnp.floating):
            return Sides(None, None)
        return Sides(*(_first_side(length, leaf.dtype) if 1 < length <= max_side else None for length in leaf.shape))

    def init(params):
        return RotateBasisState(inner.init(params), jax.tree.map(sides_of, params), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, *, stale_params=None, **extra_args):
        num_updates = optax.safe_increment(state.num_updates)
        sides = jax.tree.map(
            lambda gradient, sides: sides if is_absent(gradient) else _averaged(gradient, sides, decay),
            updates,
            state.sides,
            is_leaf=is_absent,
        )
        nodes, structure = jax.tree.flatten(state.inner, is_leaf=lambda node: bool(_first_moments(node)))
        moments = [_first_moments(node) for node in nodes]
        sides, moments = _refreshed_if(num_updates % every == 0, sides, moments)
        nodes = [node._replace(**moment) if moment else node for node, moment in zip(nodes, moments, strict=True)]

        if stale_params is not None:
            extra_args["stale_params"] = _map(_into_basis, stale_params, sides)
        rotated, at = _map(_into_basis, updates, sides), None if params is None else _map(_into_basis, params, sides)
        steps, inner_state = inner.update(rotated, structure.unflatten(nodes), at, **extra_args)
        return _map(_out_of_basis, steps, sides), RotateBasisState(inner_state, sides, num_updates)

    return optax.GradientTransformationExtraArgs(init, update)


def _first_side(length: int, dtype: Any) -> Side:
    dtype = jnp.promote_types(dtype, jnp.float32)
    return Side(jnp.eye(length, dtype=dtype), jnp.zeros((length, length), dtype))


def _first_moments(node: Any) -> dict[str, PyTree]:
    """Returns the fields of a state that hold first moments, by name."""
    return {name: getattr(node, name) for name in getattr(node, "_fields", ()) if name in _FIRST_MOMENTS}


def _map(function: Callable[..., Any], tree: PyTree, sides: PyTree) -> PyTree:
    """Returns a tree like the parameters of the function's values; an absent leaf stays as it is."""
    return jax.tree.map(
        lambda leaf, sides: leaf if is_absent(leaf) else function(leaf, sides), tree, sides, is_leaf=is_absent
    )


def _averaged(gradient: Array, sides: Sides, decay: float | Array) -> Sides:
    """Returns the sides of a leaf with its gradient in their covariances."""

    def averaged(side, turn):
        if side is None:
            return None
        factor = turn(in_one_piece(gradient)).astype(side.covariance.dtype)
        covariance = decay * side.covariance + (1 - decay) * jnp.matmul(factor, factor.T, precision="highest")
        return side._replace(covariance=covariance.astype(side.covariance.dtype))

    return Sides(averaged(sides.rows, lambda g: g), averaged(sides.columns, jnp.transpose))


def _refreshed(sides: PyTree, moments: PyTree) -> tuple[PyTree, PyTree]:
    """Returns the sides after a step of the power iteration, and the moments in the new basis."""

    def power_step(side):
        q, r = jnp.linalg.qr(jnp.matmul(side.covariance, side.basis, precision="highest"))
        return side._replace(basis=q * jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(q.dtype))

    new_sides = jax.tree.map(power_step, sides, is_leaf=lambda node: isinstance(node, Side))

    def turned(moment):
        return _map(_into_basis, _map(_out_of_basis, moment, sides), new_sides)

    return new_sides, [{name: turned(moment) for name, moment in fields.items()} for fields in moments]


# Under `vmap`, one run after another: a batched `cond` would decompose in every update, and on a CPU two batched
# decompositions in one program can wait for each other for ever.
@jax.custom_batching.sequential_vmap
def _refreshed_if(condition: Bool[Array, ""], sides: PyTree, moments: PyTree) -> tuple[PyTree, PyTree]:
    return jax.lax.cond(condition, _refreshed, lambda *same: same, sides, moments)


def _into_basis(leaf: Array, sides: Sides) -> Array:
    """Returns Uᵀ G V."""
    return _between(leaf, *(None if side is None else side.basis.T for side in sides))


def _out_of_basis(leaf: Array, sides: Sides) -> Array:
    """Returns U G Vᵀ."""
    return _between(leaf, *(None if side is None else side.basis for side in sides))


def _between(leaf: Array, left: Array | None, right: Array | None) -> Array:
    """Returns left · leaf · rightᵀ, of the leaf's dtype and sharding; None is the identity."""
    if left is None and right is None:
        return leaf
    product = in_one_piece(leaf)
    if left is not None:
        product = jnp.matmul(left, product.astype(left.dtype), precision="highest")
    if right is not None:
        product = jnp.matmul(product.astype(right.dtype), right.T, precision="highest")
    return split_like(product.astype(leaf.dtype), leaf)
