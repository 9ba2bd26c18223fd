"""APAM, the AMSGrad that the theory of asynchronous training is about, as Optax transforms."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from asyncopt.checks import InputError, check_flag, check_number
from asyncopt.optim._shared import is_none
from asyncopt.optim.constraints import Constraint


class ApamState(NamedTuple):
    """State of `apam`; it holds what the convergence bounds need to know about an update."""

    amsgrad: optax.ScaleByAmsgradState  # m (mu), v (nu), v̂ (nu_max), each like the parameters
    step_size: Float[Array, ""]  # α_k of the last update, float32 at least; before the first, that of update 0
    eps: Float[Array, ""]  # ε
    momentum_factor: Float[Array, ""]  # c = β1 / (1 - β1); then 1 / (1 - β1) = 1 + c


class ApamTransformation(optax.GradientTransformationExtraArgs):
    """What `apam` returns; the class shows that it is APAM itself, with nothing before or after it."""

    def _replace(self, **changes: Any) -> optax.GradientTransformationExtraArgs:
        """Returns a plain transform: with another function, the steps may not be those of APAM."""
        return optax.GradientTransformationExtraArgs(*self)._replace(**changes)

    __replace__ = _replace  # what `copy.replace` calls


def scale_by_apam(
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    bias_correction: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Rescales gradients by APAM's rule, AMSGrad without bias correction.

    .. math::
      m_k &= \beta_1 m_{k-1} + (1 - \beta_1) g_k, \qquad v_k = \beta_2 v_{k-1} + (1 - \beta_2) g_k^2, \\
      \hat v_k &= \max(\hat v_{k-1}, v_k), \qquad
      u_k = m_k / (\sqrt{\hat v_k} + \varepsilon), \qquad 0 / 0 := 0.

    This is `optax.scale_by_amsgrad` with both corrections off. It adds ε = 0, extra arguments, and the variant of the
    deep-learning code.

    Args:
      b1: β1, decay of the first moment, in [0, 1).
      b2: β2, decay of the second moment, in [0, 1).
      eps: ε, added to the root, at least 0; with 0, a coordinate that never had a gradient does not move.
      bias_correction: multiply :math:`u_k` by :math:`\sqrt{1-\beta_2^k} / (1-\beta_1^k)`, k from 1, as the
        method's deep-learning code does. (Optax's own correction divides v before the maximum is taken, which
        is a third method.)

    Returns:
      A transform with an `optax.ScaleByAmsgradState`. Moments have each parameter's dtype, float32 at least: in
      bfloat16, what a gradient adds to v would mostly be lost in rounding.

    Raises:
      InputError: if a number is out of range. Traced values are not checked.

    Examples:
      >>> import asyncopt, jax.numpy as jnp
      >>> transform = asyncopt.scale_by_apam(b1=0.5, b2=0.75, eps=0.0)
      >>> state = transform.init(jnp.zeros(2))
      >>> updates, state = transform.update(jnp.array([4.0, 0.0]), state)
      >>> print(updates)  # m = 2, v̂ = 4; the second coordinate has had no gradient
      [1. 0.]

    References:
      Xu et al., `Parallel and distributed asynchronous adaptive stochastic gradient methods
      <https://arxiv.org/abs/2002.09095>`_, 2020;
      Reddi et al., `On the convergence of Adam and beyond <https://openreview.net/forum?id=ryQu7f-RZ>`_, 2018.
    """
    check_flag("bias_correction", bias_correction)
    for name, value, below in (("b1", b1, 1.0), ("b2", b2, 1.0), ("eps", eps, None)):
        if _is_plain_number(value):
            check_number(name, value, at_least=0, below=below)
    amsgrad = optax.scale_by_amsgrad(b1, b2, eps, bias_correction_mu=False, bias_correction_nu=False)

    def update(updates, state, params=None, **extra_args):
        del params, extra_args
        # A leaf without a gradient (None) keeps its place in the moments, as if its gradient were zero.
        gradients = jax.tree.map(
            lambda g, m: g if m is None else jnp.zeros_like(m) if g is None else g.astype(m.dtype),
            updates,
            state.mu,
            is_leaf=is_none,
        )
        scaled, new_state = amsgrad.update(gradients, state)
        new_state = _cast_like(new_state, state)
        factor = 1.0
        if bias_correction:
            factor = jnp.sqrt(1 - b2**new_state.count) / (1 - b1**new_state.count)

        def finish(gradient, ratio, v_max):
            if gradient is None:
                return None
            step = jnp.where(jnp.sqrt(v_max) + eps > 0, ratio * factor, 0.0)
            return step.astype(gradient.dtype)

        return jax.tree.map(finish, updates, scaled, new_state.nu_max, is_leaf=is_none), new_state

    def init(params):
        state = amsgrad.init(params)
        mu, nu, nu_max = (jax.tree.map(_strong, moment) for moment in (state.mu, state.nu, state.nu_max))
        return state._replace(mu=mu, nu=nu, nu_max=nu_max)

    return optax.GradientTransformationExtraArgs(init, update)


def apam(
    learning_rate: optax.ScalarOrSchedule,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    *,
    bias_correction: bool = False,
    constraint: Constraint | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns the APAM optimizer; it keeps an optional constraint by projection in the method's own norm.

    .. math::
      x_{k+1} = \operatorname{argmin}_{x \in X} \sum_i V_{k,i}\,
      \bigl(x_i - (x_k - \alpha_k u_k)_i\bigr)^2, \qquad V_k = \sqrt{\hat v_k} + \varepsilon,

    with :math:`u_k` from `scale_by_apam`. With a constraint, ``update`` needs ``params``, and the new parameters
    are in X to rounding.

    Args:
      learning_rate: α_k, a number above 0, or a schedule: a function of the number of updates before.
      b1: β1, in [0, 1).
      b2: β2, in [0, 1).
      eps: ε, at least 0. With ε = 0, a coordinate that never had a gradient takes no step. A projection onto a ball
        may still draw it towards the centre, since the norm gives it no weight.
      bias_correction: the step of the method's deep-learning code; see `scale_by_apam`.
      constraint: X, a `Box` or `L2Ball`, or anything with their two methods; None for no constraint.

    Returns:
      A transform with an `ApamState`; an `ApamTransformation`, for which runs record bounds, without bias correction.

    Raises:
      InputError: if a number is out of range, and from ``init`` if the start is outside X (concrete arrays
        only).

    Examples:
      >>> import asyncopt, jax, jax.numpy as jnp, optax
      >>> optimizer = asyncopt.apam(0.1, constraint=asyncopt.Box(-0.25, 0.25))
      >>> params = jnp.zeros(2)
      >>> state = optimizer.init(params)
      >>> for _ in range(5):
      ...     gradients = jax.grad(lambda x: jnp.sum((x - 1) ** 2))(params)
      ...     updates, state = optimizer.update(gradients, state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> print(params)
      [0.25 0.25]

    References:
      Xu et al., `Parallel and distributed asynchronous adaptive stochastic gradient methods
      <https://arxiv.org/abs/2002.09095>`_, 2020.
    """
    if _is_plain_number(learning_rate):
        check_number("learning_rate", learning_rate, above=0)
    transform = scale_by_apam(b1, b2, eps, bias_correction=bias_correction)

    def step_size(count):
        return _strong(learning_rate(count) if callable(learning_rate) else learning_rate)

    def init(params):
        if constraint is not None and _is_concrete(params) and not constraint.contains(params):
            raise InputError(f"the start is outside the constraint {constraint}: {params}")
        amsgrad = transform.init(params)
        # In double precision where β1 is a number: in single precision 1 - β1 would lose its digits.
        return ApamState(amsgrad, step_size(amsgrad.count), _strong(eps), _strong(b1 / (1 - b1)))

    def update(updates, state, params=None, **extra_args):
        alpha = step_size(state.amsgrad.count)
        scaled, amsgrad = transform.update(updates, state.amsgrad, params, **extra_args)
        steps = jax.tree.map(lambda u: (-alpha * u).astype(u.dtype), scaled)
        new_state = state._replace(amsgrad=amsgrad, step_size=alpha)
        if constraint is None:
            return steps, new_state
        if params is None:
            raise ValueError("apam with a constraint needs params: call update(updates, state, params)")
        target = eqx.apply_updates(params, steps)  # a leaf without an update stays as it is
        scale = jax.tree.map(lambda v: jnp.sqrt(v) + eps, amsgrad.nu_max)
        projected = constraint.project(target, scale)
        return jax.tree.map(
            lambda u, new, old: None if u is None else new - old, steps, projected, params, is_leaf=is_none
        ), new_state

    # The bounds are those of the method without bias correction.
    return (optax.GradientTransformationExtraArgs if bias_correction else ApamTransformation)(init, update)


def _is_plain_number(value: Any) -> bool:
    """Whether the user wrote a number, which can be checked; arrays may be traced, and schedules may start at zero."""
    return not callable(value) and not isinstance(value, jax.Array | np.ndarray)


def _is_concrete(params: PyTree) -> bool:
    leaves = jax.tree.leaves(params)
    # `optax.tree.map_params` asks for a state of no leaves at all.
    return bool(leaves) and all(
        isinstance(leaf, jax.Array | np.ndarray) and not isinstance(leaf, Tracer) for leaf in leaves
    )


def _cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """Returns moments in their own dtype, whatever the dtype of gradients and hyperparameters."""
    return jax.tree.map(lambda new, old: new.astype(old.dtype), tree, like)


def _strong(value: Any) -> Array:
    """Returns a number or an array as an array of its own dtype, float32 at least, that is not weakly typed."""
    array = jnp.asarray(value)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
