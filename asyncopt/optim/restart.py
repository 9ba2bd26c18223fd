"""An optimizer whose state is made anew at regular times."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.optim._shared import static_integer


class RestartState(NamedTuple):
    """State of `restart`."""

    inner: PyTree
    num_steps: Int[Array, ""]  # int32, steps made


def restart(inner: optax.GradientTransformation, every: int) -> optax.GradientTransformationExtraArgs:
    r"""Makes the state of ``inner`` anew before update ``every``, 2 ``every``, ... (the first update is 0).

    Moments, buffers and other arrays are as ``inner.init`` returns them. Integers without an axis keep their values:
    in Optax, these are step counts, so that schedules of the step size go on.

    The public shared-memory program of Xu et al. does so: it keeps :math:`m`, :math:`v` and :math:`\hat v` in the
    function that runs one epoch. Algorithm 1 of the paper has no restarts.

    Args:
      inner: the optimizer.
      every: updates between restarts, at least 1.

    Returns:
      A transform with a `RestartState`. As for ``inner``, ``update`` may need ``params``; without them, the state is
      made for parameters like the gradient.

    Raises:
      InputError: if ``every`` is not such a number.

    Examples:
      >>> import asyncopt, jax.numpy as jnp
      >>> optimizer = asyncopt.optim.restart(asyncopt.apam(1.0, b1=0.5, b2=0.75), every=2)
      >>> state = optimizer.init(jnp.zeros(1))
      >>> for gradient in (4.0, 4.0, 1.0):
      ...     updates, state = optimizer.update(jnp.array([gradient]), state)
      >>> print(state.inner.amsgrad.mu, state.inner.amsgrad.count)  # m = 0.5 · 1 after the restart
      [0.5] 3

    References:
      Xu et al., `Parallel and distributed asynchronous adaptive stochastic gradient methods
      <https://arxiv.org/abs/2002.09095>`_, 2020, and their OpenMP program.
    """
    every = static_integer("every", every, at_least=1)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        return RestartState(inner.init(params), jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, **extra_args):
        again = (state.num_steps > 0) & (state.num_steps % every == 0)
        anew = inner.init(updates if params is None else params)
        before = jax.tree.map(lambda new, old: old if _is_count(old) else jnp.where(again, new, old), anew, state.inner)
        steps, after = inner.update(updates, before, params, **extra_args)
        return steps, RestartState(after, optax.safe_increment(state.num_steps))

    return optax.GradientTransformationExtraArgs(init, update)


def _is_count(leaf: Array) -> bool:
    return jnp.ndim(leaf) == 0 and jnp.issubdtype(jnp.result_type(leaf), jnp.integer)
