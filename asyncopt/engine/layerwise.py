"""The gradient of a pipeline without weight stashing: forward and backward pass at different iterates."""

import math
import weakref
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from asyncopt.checks import InputError
from asyncopt.engine.draws import draw_one

_SAME_LOSS = 1e-3  # how far rounding in half precision may take two losses apart
_checked: weakref.ref[Any] | None = None  # the problem whose layers were checked last: jobs of a sweep share it


def gradient(problem: Any, forward: PyTree, backward: PyTree, batch: Any) -> PyTree:
    r"""Returns the gradient that layers compute whose weights changed between forward and backward pass.

    With layers S_1, ..., S_L, a_0 = None, forward weights w and backward weights v,

    .. math::
      a_l = S_l(w_l, a_{l-1}), \qquad \delta_L = 1, \qquad
      (g_l, \delta_{l-1}) = \mathrm{vjp}\bigl(S_l; v_l, a_{l-1}\bigr)(\delta_l).

    and the gradient is the sum of the g_l. A layer keeps its input from the forward pass. In the backward pass it
    recomputes the rest of the layer with v. With v = w this is the gradient of ``problem.loss``.

    Args:
      problem: its ``layers`` are the functions S_l(params, carried, batch); the last one returns the loss.
      forward: w, an iterate, or a mixture of several.
      backward: v, of the same shapes.
      batch: the mini-batch.

    Returns:
      The gradient, of the shapes and dtypes of ``backward``.

    References:
      Yang et al., `PipeMare <https://arxiv.org/abs/1910.05124>`_, 2021, where each layer is one matrix.
    """
    inputs, loss = _pass_forward(problem, forward, batch)
    total, cotangent = jax.tree.map(jnp.zeros_like, backward), jnp.ones_like(loss)
    for layer, given in zip(reversed(problem.layers), reversed(inputs), strict=True):
        _, pull_back = jax.vjp(lambda params, given, layer=layer: layer(params, given, batch), backward, given)
        own, cotangent = pull_back(cotangent)
        total = jax.tree.map(jnp.add, total, own)
    return total


def _pass_forward(problem: Any, params: PyTree, batch: Any) -> tuple[list[Any], Any]:
    """Returns what each layer was given, and what the last one returned."""
    inputs: list[Any] = []
    carried: Any = None
    for layer in problem.layers:
        inputs.append(carried)
        carried = layer(params, carried, batch)
    return inputs, carried


def check_layers(problem: Any, start: PyTree) -> None:
    """Refuses layers that are not the loss: the gradient would be of something else.

    Raises:
      InputError: if a layer is no function, the last returns no number, or the loss of a mini-batch is another number.
    """
    global _checked
    if _checked is not None and _checked() is problem:
        return
    wrong = [layer for layer in problem.layers if not callable(layer)]
    if wrong:
        raise InputError(f"layers of the problem has {wrong[0]!r}, expected functions of params, carried and batch")
    batch = draw_one(problem, jax.random.key(0), jnp.int32(0))
    _, last = _pass_forward(problem, start, batch)
    if jax.tree.structure(last) != jax.tree.structure(0) or jnp.shape(last) != ():
        shapes = jax.eval_shape(lambda: last)
        raise InputError(f"the last of the problem's layers returns {shapes}, expected the loss, one number")
    composed, loss = float(last), float(problem.loss(start, batch))
    if not math.isclose(composed, loss, rel_tol=_SAME_LOSS, abs_tol=_SAME_LOSS):
        raise InputError(f"the problem's layers compose to {composed:.6g} at the start, expected its loss, {loss:.6g}")
    _checked = weakref.ref(problem)
