"""Adam with Nesterov's look-ahead, as PyTorch's NAdam computes it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from asyncopt.optim._shared import at_update, is_none, number


class NadamwState(NamedTuple):
    """State of `nadamw`."""

    num_updates: Int[Array, ""]  # int32, k
    product: Float[Array, ""]  # μ_1 μ_2 … μ_k, float32 at least
    mu: PyTree  # m_k, like the parameters
    nu: PyTree  # v_k, like the parameters


def nadamw(
    learning_rate: optax.ScalarOrSchedule,
    b1: float | Array = 0.99,
    b2: float | Array = 0.999,
    eps: float | Array = 1e-8,
    weight_decay: float | Array = 0.01,
    momentum_decay: float | Array = 4e-3,
) -> optax.GradientTransformationExtraArgs:
    r"""Returns NAdam with decoupled weight decay, whose look-ahead grows from half of β1 to β1.

    .. math::
      \mu_k &= \beta_1 (1 - 0.96^{\psi k} / 2), \qquad
      m_k = \beta_1 m_{k-1} + (1 - \beta_1) g_k, \qquad v_k = \beta_2 v_{k-1} + (1 - \beta_2) g_k^2, \\
      \hat m_k &= \frac{\mu_{k+1} m_k}{1 - \prod_{i \le k+1} \mu_i} + \frac{(1 - \mu_k) g_k}{1 - \prod_{i \le k} \mu_i},
      \qquad \hat v_k = \frac{v_k}{1 - \beta_2^k}, \\
      x_k &= x_{k-1} - \alpha_k \Bigl(\frac{\hat m_k}{\sqrt{\hat v_k} + \varepsilon} + \lambda x_{k-1}\Bigr),
      \qquad k = 1, 2, \dots

    `optax.nadamw` has :math:`\mu_k = \beta_1` throughout. The difference lasts: with the defaults, :math:`\mu_k` is
    above 0.9 only after about 10,000 updates. Until then the newest gradient has a large factor, at first
    :math:`1 - \mu_k \approx 1/2`.

    Against stale gradients, Ajanthan et al. take β1 = 0.99: momentum looks ahead as far as the delay, and a gradient
    has a small factor, 1 - β1. `lookahead_nesterov` is the method that their theorem is about.

    Args:
      learning_rate: α_k, a number of at least 0, or a schedule: a function of the number of updates before.
      b1: β1, in [0, 1).
      b2: β2, in [0, 1).
      eps: ε, at least 0.
      weight_decay: λ, at least 0. ``update`` needs ``params``.
      momentum_decay: ψ, at least 0; the greater, the sooner :math:`\mu_k` is β1.

    Returns:
      A transform with a `NadamwState`.

    Raises:
      InputError: if a number is out of range.
      TypeError: in ``update``, if it is not given ``params``.

    References:
      Ajanthan, Ramasinghe, Zuo, Avraham and Long, `Nesterov method for asynchronous pipeline parallel optimization
      <https://arxiv.org/abs/2505.01099>`_, 2025, and their program, which uses ``torch.optim.NAdam``;
      Dozat, Incorporating Nesterov momentum into Adam, 2016.
    """
    if not callable(learning_rate):
        learning_rate = number("learning_rate", learning_rate, at_least=0)
    b1, b2 = number("b1", b1, at_least=0, below=1), number("b2", b2, at_least=0, below=1)
    eps, weight_decay = number("eps", eps, at_least=0), number("weight_decay", weight_decay, at_least=0)
    momentum_decay = number("momentum_decay", momentum_decay, at_least=0)

    def mu_at(count):
        return b1 * (1 - 0.5 * 0.96 ** (momentum_decay * count.astype(float)))

    def init(params):
        mu, nu = optax.tree.zeros_like(params), optax.tree.zeros_like(params)
        return NadamwState(jnp.zeros((), jnp.int32), jnp.ones((), float), mu, nu)

    def update(updates, state, params=None, **extra_args):
        del extra_args
        if params is None:
            raise TypeError("nadamw needs params, of which it takes the weight decay")
        alpha = at_update(learning_rate, state.num_updates)
        count = optax.safe_increment(state.num_updates)
        mu_now, mu_next = mu_at(count), mu_at(optax.safe_increment(count))
        product = (state.product * mu_now).astype(state.product.dtype)
        of_moment = mu_next / (1 - product * mu_next)
        of_gradient = (1 - mu_now) / (1 - product)

        def mean(gradient, old, decay, power):
            return old if gradient is None else (decay * old + (1 - decay) * gradient**power).astype(old.dtype)

        def step(gradient, m, v, x):
            if gradient is None:
                return None
            root = jnp.sqrt(v / (1 - b2 ** count.astype(float)))
            scaled = (of_moment * m + of_gradient * gradient) / (root + eps)
            return (-alpha * (scaled + weight_decay * x)).astype(gradient.dtype)

        mu = jax.tree.map(lambda g, m: mean(g, m, b1, 1), updates, state.mu, is_leaf=is_none)
        nu = jax.tree.map(lambda g, v: mean(g, v, b2, 2), updates, state.nu, is_leaf=is_none)
        steps = jax.tree.map(step, updates, mu, nu, params, is_leaf=is_none)
        return steps, NadamwState(count, product, mu, nu)

    return optax.GradientTransformationExtraArgs(init, update)
