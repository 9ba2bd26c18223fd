"""Ways to handle stale gradients, as wrappers: each takes an optimizer and returns one that knows of delays.

The returned transforms need the keyword ``delay``, int, the staleness of the gradient in updates, or ``stale_params``,
the iterate it was taken at; the replay engine passes both.
With delay 0 throughout, each is the optimizer it wraps (`buffer_updates` with a buffer of 1).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Int, PyTree

from asyncopt.checks import InputError, check_integer, check_number

_RULES: dict[str, Callable[[Array, float], Array]] = {
    "inverse": lambda delay, limit: 1 / jnp.maximum(delay, 1.0),
    "power": lambda delay, limit: (1 + delay) ** -limit,
    "threshold": lambda delay, limit: jnp.minimum(1.0, limit / jnp.maximum(delay, 1.0)),
}


class ScaleStepsByDelayState(NamedTuple):
    """State of `scale_steps_by_delay`."""

    inner: PyTree


def scale_steps_by_delay(
    inner: optax.GradientTransformation, rule: str = "inverse", parameter: float = 1.0
) -> optax.GradientTransformationExtraArgs:
    r"""Multiplies each step by a function of its gradient's delay τ.

    .. math::
      \text{inverse:}\ \frac{1}{\max(\tau, 1)}, \qquad
      \text{power:}\ (1 + \tau)^{-a}, \qquad
      \text{threshold:}\ \min\Bigl(1, \frac{c}{\max(\tau, 1)}\Bigr).

    Args:
      inner: the optimizer; its own state sees every gradient in full.
      rule: "inverse" (Zhang et al.), "power" (FedAsync's polynomial), or "threshold" (steps shrink only beyond the
        delay c, as the delay-adaptive steps of Mishchenko et al. and of Koloskova et al. do).
      parameter: a, above 0, or c, at least 1; "inverse" has none.

    Raises:
      InputError: for an unknown rule, or a number out of range.

    Examples:
      >>> import asyncopt, jax.numpy as jnp, optax
      >>> optimizer = asyncopt.optim.scale_steps_by_delay(optax.sgd(1.0))
      >>> updates, _ = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), delay=4)
      >>> print(updates)
      [-0.25 -0.25]

    References:
      Zhang, Gupta, Lian and Liu, `Staleness-aware async-SGD for distributed deep learning
      <https://arxiv.org/abs/1511.05950>`_, 2016;
      Xie, Koyejo and Gupta, `Asynchronous federated optimization <https://arxiv.org/abs/1903.03934>`_, 2019;
      Mishchenko, Bach, Even and Woodworth, `Asynchronous SGD beats minibatch SGD under arbitrary delays
      <https://arxiv.org/abs/2206.07638>`_, 2022;
      Koloskova, Stich and Jaggi, `Sharper convergence guarantees for asynchronous SGD
      <https://arxiv.org/abs/2206.08307>`_, 2022.
    """
    if rule not in _RULES:
        raise InputError(f"rule is {rule!r}, expected one of {sorted(_RULES)}")
    limits = {"above": 0.0} if rule == "power" else {"at_least": 1.0}
    parameter = check_number("parameter", parameter, **limits)
    inner = optax.with_extra_args_support(inner)

    def update(updates, state, params=None, *, delay=None, **extra_args):
        delay = _known(delay, "scale_steps_by_delay")
        steps, inner_state = inner.update(updates, state.inner, params, delay=delay, **extra_args)
        factor = _RULES[rule](delay.astype(float), parameter)
        return jax.tree.map(lambda step: (factor * step).astype(step.dtype), steps), ScaleStepsByDelayState(inner_state)

    return optax.GradientTransformationExtraArgs(lambda params: ScaleStepsByDelayState(inner.init(params)), update)


class DropStaleState(NamedTuple):
    """State of `drop_stale`."""

    inner: PyTree
    seen: Int[Array, ""]  # int32, gradients that came
    accepted: Int[Array, " max_delay"]  # int32, numbers of the last gradients applied, as a ring
    num_accepted: Int[Array, ""]  # int32, gradients applied


def drop_stale(inner: optax.GradientTransformation, max_delay: int) -> optax.GradientTransformationExtraArgs:
    r"""Ignores a gradient that is ``max_delay`` or more applied updates old: no step, and the state stays as it was.

    An update that was ignored left the iterate as it was, so that the delay that counts is δ, the number of
    gradients *applied* since this one's iterate was read. Gradient g is applied if δ < ``max_delay``.

    Args:
      inner: the optimizer.
      max_delay: R, at least 1; applied updates.

    Raises:
      InputError: if ``max_delay`` is not such a number.

    References:
      Maranjyan, Tyurin and Richtárik, `Ringmaster ASGD: the first asynchronous SGD with optimal time complexity
      <https://arxiv.org/abs/2501.16168>`_, 2025.
    """
    max_delay = _static("max_delay", max_delay)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        zero = jnp.zeros((), jnp.int32)
        return DropStaleState(inner.init(params), zero, jnp.full((max_delay,), -1, jnp.int32), zero)

    def update(updates, state, params=None, *, delay=None, **extra_args):
        delay = _known(delay, "drop_stale")
        # δ >= R exactly if the R-th last gradient applied came after this one's iterate was read.
        place = state.num_accepted % max_delay
        oldest = state.accepted[place]
        kept = (oldest < 0) | (oldest < state.seen - delay)
        steps, new_inner = inner.update(updates, state.inner, params, delay=delay, **extra_args)
        steps, inner_state = _only_if(kept, steps, new_inner, state.inner)
        return steps, DropStaleState(
            inner_state,
            optax.safe_increment(state.seen),
            jnp.where(kept, state.accepted.at[place].set(state.seen), state.accepted),
            jnp.where(kept, optax.safe_increment(state.num_accepted), state.num_accepted),
        )

    return optax.GradientTransformationExtraArgs(init, update)


class CompensateDelayState(NamedTuple):
    """State of `compensate_delay`."""

    inner: PyTree
    mean_square: PyTree | None  # of the gradients, like the parameters; None if the strength is constant


def compensate_delay(
    inner: optax.GradientTransformation, strength: float = 0.04, decay: float | None = None
) -> optax.GradientTransformationExtraArgs:
    r"""Corrects a gradient for how far the parameters have moved since, to first order (DC-ASGD).

    .. math::
      \tilde g = g + \lambda\, g \odot g \odot (x - y), \qquad
      \lambda_k = \lambda / \sqrt{s_k + 10^{-7}}, \quad s_k = m\, s_{k-1} + (1 - m)\, g \odot g,

    x the newest and y the stale iterate; g ⊙ g stands in for the Hessian's diagonal. The second line is the adaptive
    variant (DC-ASGD-a). ``update`` needs ``params`` and the keyword ``stale_params``.

    Args:
      inner: the optimizer, given the corrected gradient.
      strength: λ, at least 0.
      decay: m of the adaptive variant, in [0, 1); None for a constant λ.

    Raises:
      InputError: if a number is out of range.

    References:
      Zheng et al., `Asynchronous stochastic gradient descent with delay compensation
      <https://arxiv.org/abs/1609.08326>`_, 2017.
    """
    strength = check_number("strength", strength, at_least=0)
    if decay is not None:
        decay = check_number("decay", decay, at_least=0, below=1)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        mean_square = None if decay is None else optax.tree.zeros_like(params)
        return CompensateDelayState(inner.init(params), mean_square)

    def update(updates, state, params=None, *, stale_params=None, **extra_args):
        if params is None or stale_params is None:
            raise TypeError("compensate_delay needs params and stale_params=, the iterate the gradient was taken at")

        def corrected(g, x, y, scale):
            return None if g is None else (g + scale * g * g * (x - y)).astype(g.dtype)

        mean_square = state.mean_square
        if decay is None or mean_square is None:
            scales = jax.tree.map(lambda _: strength, params)
        else:
            kept = decay  # known to be a number here
            mean_square = jax.tree.map(
                lambda g, s: s if g is None else (kept * s + (1 - kept) * g * g).astype(s.dtype),
                updates,
                mean_square,
                is_leaf=_is_none,
            )
            scales = jax.tree.map(lambda s: strength / jnp.sqrt(s + 1e-7), mean_square)
        gradients = jax.tree.map(corrected, updates, params, stale_params, scales, is_leaf=_is_none)
        steps, inner_state = inner.update(gradients, state.inner, params, stale_params=stale_params, **extra_args)
        return steps, CompensateDelayState(inner_state, mean_square)

    return optax.GradientTransformationExtraArgs(init, update)


class BufferUpdatesState(NamedTuple):
    """State of `buffer_updates`."""

    inner: PyTree
    seen: Int[Array, ""]  # int32, gradients that came
    total: PyTree  # of the weighted gradients waiting, like the parameters


def buffer_updates(
    inner: optax.GradientTransformation, size: int, exponent: float = 0.5
) -> optax.GradientTransformationExtraArgs:
    r"""Collects gradients and steps with the mean of every ``size`` of them, each weighted by its staleness (FedBuff).

    .. math:: \bar g = \frac1b \sum_{i=1}^b (1 + \tau_i)^{-a} g_i,

    where τ_i counts *steps* between the read and the arrival, not gradients. With ``exponent`` 0 and zero delay this
    is training with mini-batches b times as large, as in synchronous rounds of b workers.

    Args:
      inner: the optimizer, given the mean.
      size: b, at least 1.
      exponent: a, at least 0; FedBuff's is ½.

    Raises:
      InputError: if a number is out of range.

    References:
      Nguyen et al., `Federated learning with buffered asynchronous aggregation
      <https://arxiv.org/abs/2106.06639>`_, 2022.
    """
    size, exponent = _static("size", size), check_number("exponent", exponent, at_least=0)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        return BufferUpdatesState(inner.init(params), jnp.zeros((), jnp.int32), optax.tree.zeros_like(params))

    def update(updates, state, params=None, *, delay=None, **extra_args):
        delay = _known(delay, "buffer_updates")
        staleness = state.seen // size - (state.seen - delay) // size
        weight = (1.0 + staleness) ** -exponent / size
        total = jax.tree.map(
            lambda g, t: t if g is None else (t + weight * g).astype(t.dtype), updates, state.total, is_leaf=_is_none
        )
        full = (state.seen + 1) % size == 0
        mean = jax.tree.map(lambda g, t: None if g is None else t.astype(g.dtype), updates, total, is_leaf=_is_none)
        steps, new_inner = inner.update(mean, state.inner, params, delay=delay, **extra_args)
        steps, inner_state = _only_if(full, steps, new_inner, state.inner)
        emptied = jax.tree.map(lambda t: jnp.where(full, jnp.zeros_like(t), t), total)
        return steps, BufferUpdatesState(inner_state, optax.safe_increment(state.seen), emptied)

    return optax.GradientTransformationExtraArgs(init, update)


def _only_if(condition: Bool[Array, ""], steps: PyTree, new: PyTree, old: PyTree) -> tuple[PyTree, PyTree]:
    """Returns steps and new state, or no steps and the old state."""
    steps = jax.tree.map(lambda step: jnp.where(condition, step, jnp.zeros_like(step)), steps)
    return steps, jax.tree.map(lambda after, before: jnp.where(condition, after, before), new, old)


def _known(delay: jax.typing.ArrayLike | None, name: str) -> Int[Array, ""]:
    if delay is None:
        raise TypeError(f"{name} needs delay=, the gradient's staleness in updates: call update(..., delay=...)")
    return jnp.asarray(delay, jnp.int32)


def _static(name: str, value: int) -> int:
    if isinstance(value, jax.Array):
        raise InputError(
            f"{name} is an array, expected a Python integer. Under optax.inject_hyperparams, pass static_args={name!r}"
        )
    return check_integer(name, value, at_least=1)


def _is_none(leaf: object) -> bool:
    return leaf is None


# What the four wrappers keep: with one of them in between, the steps are no longer those of the optimizer inside.
WRAPPER_STATES = (ScaleStepsByDelayState, DropStaleState, CompensateDelayState, BufferUpdatesState)
