"""Smaller steps at the start for the early stages of a pipeline."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.optim._shared import checked_inner, is_absent, known_leaf_delays, number


class ScaleStepsByStageState(NamedTuple):
    """State of `scale_steps_by_stage`."""

    inner: PyTree
    num_updates: Int[Array, ""]  # int32, k


def scale_steps_by_stage(
    inner: optax.GradientTransformation, annealing_updates: float | Array = 1000.0
) -> optax.GradientTransformationExtraArgs:
    r"""Multiplies the step of each layer by a power of its delay τ, whose exponent tends to 0 (PipeMare's T1).

    The factor of update k is

    .. math::
      \max(\tau, 1)^{-p_k}, \qquad p_k = 1 - \min(k / K, 1), \qquad k = 0, 1, \dots

    From update K on, steps are those of ``inner``. In the paper, τ is the delay between a stage's forward pass and its
    update. Stage i = 1, ..., P has :math:`(2 (P - i) + 1) / N` updates, with N micro-batches an update. Here τ is the
    delay of the gradient, in updates. ``update`` takes it from the keyword ``leaf_delay``, a pytree of integers like
    the parameters. Without it, each leaf has the keyword ``delay``. A replay whose steps are of several gradients, or
    whose layers all read one iterate, gives no ``leaf_delay``.

    Args:
      inner: the optimizer; its own state takes in every gradient in full.
      annealing_updates: K, above 0. For networks trained with a warm-up, the paper takes several times its length.

    Returns:
      A transform whose state is that of ``inner`` and the number of updates.

    Raises:
      InputError: if K is out of range, or ``inner`` is no optimizer; in ``update``, if ``leaf_delay`` is not as above.
      TypeError: in ``update``, if it is told neither delay.

    Examples:
      >>> import asyncopt, jax.numpy as jnp, optax
      >>> optimizer = asyncopt.optim.scale_steps_by_stage(optax.sgd(1.0), annealing_updates=2)
      >>> params = {"first": jnp.ones(()), "last": jnp.ones(())}
      >>> state = optimizer.init(params)
      >>> for _ in range(3):
      ...     steps, state = optimizer.update(params, state, leaf_delay={"first": 4, "last": 0})
      ...     print(steps["first"], steps["last"])
      -0.25 -1.0
      -0.5 -1.0
      -1.0 -1.0

    References:
      Yang, Zhang, Li, Ré, Aberger and De Sa, `PipeMare: Asynchronous pipeline parallel DNN training
      <https://arxiv.org/abs/1910.05124>`_, 2021, technique T1.
    """
    annealing_updates = number("annealing_updates", annealing_updates, above=0)
    inner = checked_inner(inner)

    def init(params):
        return ScaleStepsByStageState(inner.init(params), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, *, delay=None, leaf_delay=None, **extra_args):
        delays = known_leaf_delays(delay, leaf_delay, updates, "scale_steps_by_stage")
        steps, inner_state = inner.update(
            updates, state.inner, params, delay=delay, leaf_delay=leaf_delay, **extra_args
        )
        power = 1 - jnp.minimum(state.num_updates.astype(float) / annealing_updates, 1)

        def scaled(step, delay):
            factor = jnp.maximum(delay.astype(float), 1) ** -power
            return (factor * step).astype(step.dtype)

        steps = jax.tree.map(
            lambda step, delay: step if is_absent(step) else scaled(step, delay), steps, delays, is_leaf=is_absent
        )
        return steps, ScaleStepsByStageState(inner_state, optax.safe_increment(state.num_updates))

    return optax.GradientTransformationExtraArgs(init, update)
