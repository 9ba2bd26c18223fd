"""The problem on which the rate K^-1/2 of the convex bound is attained: the longer the run, the smaller the slope."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.optim.constraints import Box
from asyncopt.problems.problem import Constants, Described


class HardInstance(Described, eqx.Module):
    """F(x) = δ x on [-1, 1], with f(x; ξ) = (δ + σ ξ) x and ξ = ±1 with equal odds; δ = ±c/√K."""

    attains_rate: ClassVar[bool] = True
    slope: Float[Array, ""]
    noise: Float[Array, ""]
    start: Float[Array, " 1"]
    constants: Constants
    optimum: float
    minimiser: np.ndarray  # float64[1], an end of the interval
    constraint: Box

    @property
    def title(self) -> str:
        """The problem's name, which tells the two signs apart."""
        return "hard instance" if self.slope > 0 else "mirrored hard instance"

    def init(self, key: Key[Array, ""]) -> Float[Array, " 1"]:
        """Returns the start, the same for every key."""
        del key
        return self.start

    def sample(self, key: Key[Array, ""]) -> Float[Array, ""]:
        """Draws ξ."""
        return jax.random.rademacher(key, (), self.slope.dtype)

    def loss(self, params: Float[Array, " 1"], batch: Float[Array, ""]) -> Float[Array, ""]:
        """Returns f(x; ξ)."""
        return (self.slope + self.noise * batch) * params[0]

    def objective(self, params: Float[Array, " 1"]) -> Float[Array, ""]:
        """Returns F(x)."""
        return self.slope * params[0]


def hard_instance(
    num_updates: int, slope_scale: float = 1.0, noise: float = 1.0, *, start: float = 0.0, sign: int = 1
) -> HardInstance:
    r"""Returns a linear function of one variable that K updates cannot tell from its mirror image.

    .. math::
      f(x; \xi) = (\delta + \sigma \xi)\, x, \quad x \in [-1, 1], \quad \xi = \pm 1, \quad
      \delta = \pm c / \sqrt K

    Over K gradients the noise adds up to σ√K, and so does the slope, up to a factor c/σ. So any method takes the
    wrong sign with a probability that does not depend on K, and then its gap is of order δ, that is K^-1/2. The
    gradient does not depend on x, so delays make no difference. A method that prefers one direction is good at one sign
    of δ and bad at the other; so the worse of both counts.

    Without noise and from the far end of the interval it is a tight instance of the convex bound, see
    ``sweeps/tight.yaml``.

    Args:
      num_updates: K, the length of the run, at least 1.
      slope_scale: c, above 0.
      noise: σ, at least 0.
      start: iterate 0 for ``sign=1``, from -1 to 1. The minimum is at -1, so 1 is the far end.
      sign: sign of δ, 1 or -1. With -1, minimum and start are mirrored; the draws of ξ are the same.

    Raises:
      InputError: if a number is out of range.

    References:
      Agarwal, Bartlett, Ravikumar and Wainwright, `Information-theoretic lower bounds on the oracle complexity of
      stochastic convex optimization <https://arxiv.org/abs/1009.0571>`_, 2012, prove such lower bounds in general.
    """
    num_updates = check_integer("num_updates", num_updates, at_least=1)
    slope = check_number("slope_scale", slope_scale, above=0) / math.sqrt(num_updates)
    noise = check_number("noise", noise, at_least=0)
    start = check_number("start", start)
    if not -1 <= start <= 1:
        raise InputError(f"start is {start!r}, expected a number from -1 to 1")
    if isinstance(sign, bool) or sign not in (-1, 1):
        raise InputError(f"sign is {sign!r}, expected 1 or -1")
    dtype = jnp.zeros(()).dtype
    return HardInstance(
        slope=jnp.asarray(sign * slope, dtype),
        noise=jnp.asarray(noise, dtype),
        start=jnp.full(1, sign * start, dtype),
        constants=Constants(
            dimension=1,
            smoothness=0.0,
            gradient_bound=slope + noise,
            diameter=2.0,
            lower_bound=-slope,
            convex=True,
        ),
        optimum=np.float64(-slope),
        minimiser=np.array([-float(sign)]),
        constraint=Box(-1.0, 1.0),
    )
