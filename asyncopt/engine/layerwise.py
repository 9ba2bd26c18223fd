"""The gradient of a pipeline without weight stashing: forward and backward pass at different iterates."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


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
    inputs: list[Any] = []
    carried: Any = None
    for layer in problem.layers:
        inputs.append(carried)
        carried = layer(forward, carried, batch)
    total, cotangent = jax.tree.map(jnp.zeros_like, backward), jnp.ones_like(carried)
    for layer, given in zip(reversed(problem.layers), reversed(inputs), strict=True):
        _, pull_back = jax.vjp(lambda params, given, layer=layer: layer(params, given, batch), backward, given)
        own, cotangent = pull_back(cotangent)
        total = jax.tree.map(jnp.add, total, own)
    return total
