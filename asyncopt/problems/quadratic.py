"""A quadratic with bounded noise: every constant is known, and the optimum is the origin."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from numpy.typing import ArrayLike

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.optim.constraints import Box, Constraint
from asyncopt.problems.problem import Constants, Described


class Quadratic(Described, eqx.Module):
    """F(x) = ½ Σ h_i x_i², with f(x; ξ) = F(x) + ⟨ξ, x⟩ and ξ_i = ±σ with equal odds."""

    title: ClassVar[str] = "quadratic"
    eigenvalues: Float[Array, " n"]
    noise: Float[Array, ""]
    init_scale: Float[Array, ""]
    constants: Constants
    optimum: float
    minimiser: np.ndarray  # float64[n], the origin
    constraint: Constraint | None

    def init(self, key: Key[Array, ""]) -> Float[Array, " n"]:
        """Returns normal draws of standard deviation ``init_scale``, projected onto X if there is a constraint."""
        start = self.init_scale * jax.random.normal(key, self.eigenvalues.shape, self.eigenvalues.dtype)
        return start if self.constraint is None else self.constraint.project(start, jnp.ones_like(start))

    def sample(self, key: Key[Array, ""]) -> Float[Array, " n"]:
        """Draws ξ."""
        return self.noise * jax.random.rademacher(key, self.eigenvalues.shape, self.eigenvalues.dtype)

    def loss(self, params: Float[Array, " n"], batch: Float[Array, " n"]) -> Float[Array, ""]:
        """Returns f(x; ξ)."""
        return self.objective(params) + jnp.sum(batch * params)

    def objective(self, params: Float[Array, " n"]) -> Float[Array, ""]:
        """Returns F(x)."""
        return 0.5 * jnp.sum(self.eigenvalues * params**2)


def quadratic(
    dimension: int = 100,
    condition_number: float = 100.0,
    noise: float = 0.1,
    *,
    eigenvalues: ArrayLike | None = None,
    init_scale: float = 1.0,
    constraint: Constraint | None = None,
) -> Quadratic:
    """Returns a convex quadratic with a diagonal Hessian, and noise of known size on each coordinate of the gradient.

    The noise is ±σ rather than normal, so that the gradient bound G of the theorems is finite within a box.
    Arrays have JAX's default float dtype.

    Args:
      dimension: n, at least 1.
      condition_number: largest eigenvalue, 1, over the smallest, at least 1; the others are log-spaced.
      noise: σ, standard deviation of each coordinate of the gradient, at least 0.
      eigenvalues: h, n positive numbers, instead of ``dimension`` and ``condition_number``.
      init_scale: standard deviation of each coordinate of the start, at least 0.
      constraint: X; it must contain the origin, so that F* = 0.

    Raises:
      InputError: if a number is out of range, or the origin outside the constraint.
    """
    if eigenvalues is None:
        dimension = check_integer("dimension", dimension, at_least=1)
        condition_number = check_number("condition_number", condition_number, at_least=1)
        spectrum = np.geomspace(1 / condition_number, 1, dimension)
    else:
        spectrum = np.asarray(eigenvalues, dtype=float)
        if spectrum.ndim != 1 or not len(spectrum) or not np.all(np.isfinite(spectrum) & (spectrum > 0)):
            raise InputError(f"eigenvalues are {eigenvalues!r}, expected a list of positive numbers")
    noise = check_number("noise", noise, at_least=0)
    init_scale = check_number("init_scale", init_scale, at_least=0)
    origin = jnp.zeros(len(spectrum))
    if constraint is not None and not constraint.contains(origin):
        raise InputError(f"the minimiser, the origin, is outside the constraint {constraint}")
    bounds: dict[str, float] = {}
    if isinstance(constraint, Box):
        lower, upper = (np.broadcast_to(bound, spectrum.shape) for bound in (constraint.lower, constraint.upper))
        if np.isfinite(lower).all() and np.isfinite(upper).all():
            bounds["diameter"] = float(np.max(upper - lower))
            bounds["gradient_bound"] = float(np.max(spectrum * np.maximum(-lower, upper)) + noise)
    constants = Constants(
        dimension=len(spectrum),
        smoothness=float(spectrum.max()),
        strong_convexity=float(spectrum.min()),
        lower_bound=0.0,
        convex=True,
        **bounds,
    )
    return Quadratic(
        eigenvalues=jnp.asarray(spectrum, origin.dtype),
        noise=jnp.asarray(noise, origin.dtype),
        init_scale=jnp.asarray(init_scale, origin.dtype),
        constants=constants,
        optimum=np.float64(0.0),
        minimiser=np.zeros(len(spectrum)),
        constraint=constraint,
    )
