"""Nesterov's chain of coupled coordinates: the quadratic that lower bounds and asynchronous methods are shown on."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, Key

from asyncopt.checks import check_integer, check_number
from asyncopt.problems.problem import Constants, Described


class Tridiagonal(Described, eqx.Module):
    """F(x) = ½ xᵀAx - bᵀx, with f(x; ξ) = F(x) + ⟨ξ, x⟩ and normal ξ.

    A is ¼ times the matrix with 2 on the diagonal and -1 beside it, and b = (-¼, 0, ..., 0).
    """

    title: ClassVar[str] = "tridiagonal quadratic"
    draws_ahead: ClassVar[bool] = True
    noise: Float[Array, ""]
    constants: Constants
    optimum: float
    minimiser: np.ndarray  # float64[d]
    dimension: int = eqx.field(static=True)

    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """Returns (√d, 0, ..., 0)."""
        del key
        return jnp.zeros(self.dimension, self.noise.dtype).at[0].set(jnp.sqrt(self.dimension))

    def sample(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """Draws ξ."""
        return self.noise * jax.random.normal(key, (self.dimension,), self.noise.dtype)

    def loss(self, params: Float[Array, " d"], batch: Float[Array, " d"]) -> Float[Array, ""]:
        """Returns f(x; ξ)."""
        return self.objective(params) + jnp.sum(batch * params)

    def objective(self, params: Float[Array, " d"]) -> Float[Array, ""]:
        """Returns F(x): xᵀAx is ¼ times the sum of squared differences, those to 0 at both ends included."""
        ends = params[0] ** 2 + params[-1] ** 2
        return 0.125 * (ends + jnp.sum(jnp.diff(params) ** 2)) + 0.25 * params[0]


def tridiagonal(dimension: int = 1729, noise: float = 0.01) -> Tridiagonal:
    """Returns the quadratic of a chain of coupled coordinates, with normal noise on the gradient.

    The defaults are those of the experiments on Ringmaster. Arrays have JAX's default float dtype.

    Args:
      dimension: d, at least 1. The condition number grows with its square.
      noise: standard deviation of each coordinate of the noise, at least 0.

    Raises:
      InputError: if a number is out of range.

    References:
      Nesterov, Lectures on convex optimization, section 2.1.2, 2018; Maranjyan, Tyurin and Richtárik, `Ringmaster ASGD
      <https://arxiv.org/abs/2501.16168>`_, 2025.
    """
    dimension = check_integer("dimension", dimension, at_least=1)
    noise = check_number("noise", noise, at_least=0)
    right = np.zeros(dimension)
    right[0] = -0.25
    diagonals = [np.full(dimension, -0.25), np.full(dimension, 0.5)][-min(dimension, 2) :]
    minimiser = scipy.linalg.solveh_banded(np.vstack(diagonals), right)
    angle = np.pi / (2 * (dimension + 1))
    optimum = np.float64(-0.5 * right @ minimiser)
    return Tridiagonal(
        noise=jnp.asarray(noise, jnp.zeros(()).dtype),
        constants=Constants(
            dimension=dimension,
            smoothness=float(np.cos(angle) ** 2),  # the eigenvalues of A are sin²(i · angle)
            strong_convexity=float(np.sin(angle) ** 2),
            lower_bound=float(optimum),
            convex=True,
        ),
        optimum=optimum,
        minimiser=minimiser,
        dimension=dimension,
    )
