"""What a problem must have to be replayed, and the constants that enter the theorems."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from asyncopt.shown import Shown


class Constants(eqx.Module):
    """Constants of F and X in the convergence bounds; None where unknown or infinite.

    The numbers are NumPy float64 scalars, so that problems that differ only in them share one compilation.
    """

    dimension: int = eqx.field(static=True)  # n, the number of coordinates
    smoothness: float | None = eqx.field(default=None, converter=lambda x: _float64(x))  # L of ∇F, in ‖·‖_2
    strong_convexity: float | None = eqx.field(default=None, converter=lambda x: _float64(x))  # μ
    gradient_bound: float | None = eqx.field(default=None, converter=lambda x: _float64(x))  # G >= ‖∇f(x; ξ)‖_∞
    diameter: float | None = eqx.field(default=None, converter=lambda x: _float64(x))  # D, X's, in ‖·‖_∞
    lower_bound: float | None = eqx.field(default=None, converter=lambda x: _float64(x))  # at most F on X; F* if known
    convex: bool = eqx.field(default=False, static=True)  # whether F is known to be


def _float64(value: float | None) -> np.float64 | None:
    return None if value is None else np.float64(value)


class Described(Shown):
    """A problem that shows what it is called, its size and its minimum."""

    def _facts(self: Any) -> list[str]:
        facts = [self.title, f"{self.constants.dimension:,} parameters"]
        # Inside a compiled function F* may be no number.
        return [*facts, f"F* = {self.optimum:.6g}"] if isinstance(self.optimum, float | np.floating) else facts


@runtime_checkable
class Problem(Protocol):
    """Minimise F(x) = E f(x; ξ) over x in X, x a pytree of arrays.

    A problem that is a pytree with its arrays as leaves (an `equinox.Module`) is an input of the compiled loop;
    any other problem is compiled into the loop.

    Workers with data of their own: ``sample`` has a second argument ``worker``, int32.

    Optional attributes are used where they exist:

    - ``constraint``: the set X, an `asyncopt.optim.Constraint` or None;
    - ``minimiser``: x*, a point of X where F is F*: a pytree of arrays of the parameters' shapes, or None if unknown.
      Where F has several minimisers, it is one of them. No gradient depends on it; theorems compare runs with it;
    - ``metrics(params)``: a method that returns a dict of further scalars to record;
    - ``title``: str, what titles and tables call the problem;
    - ``num_rows``: int, the training rows or images, and ``num_classes``: int, the classes, both recorded with a run;
    - ``draws_ahead``: bool, whether mini-batches with floats may be drawn several at a time, before the updates that
      use them. That is faster, but XLA may round them otherwise than a plain loop. Integers are always drawn so;
    - ``attains_rate``: bool, whether the rate of the convex theorem is attained on it;
    - ``layers``: a tuple of functions ``layer(params, carried, batch)`` whose composition is ``loss``: the first is
      given None, the others what the one before has returned. Each uses the leaves of its own layer alone;
    - ``layer_numbers(params)``: the layers' numbers, from 0, one for each leaf, in the order of the leaves.
    """

    optimum: float | None  # F*, the minimum of F over X, or None if unknown
    constants: Constants

    def init(self, key: Key[Array, ""]) -> PyTree:
        """Returns the start, iterate 0."""
        ...

    def sample(self, key: Key[Array, ""]) -> PyTree:
        """Draws a mini-batch ξ."""
        ...

    def loss(self, params: PyTree, batch: Any) -> Float[Array, ""]:
        """Returns f(x; ξ), whose gradient is the update's gradient."""
        ...

    def objective(self, params: PyTree) -> Float[Array, ""]:
        """Returns F(x)."""
        ...
