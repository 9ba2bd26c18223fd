"""What the probes of APAM's theorems share: where they find the state and the problem, and what they read there."""

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from asyncopt.checks import InputError
from asyncopt.engine import measure
from asyncopt.optim import ApamState
from asyncopt.problems import Problem


def _itself(state: Any) -> Any:
    return state


@dataclasses.dataclass(frozen=True)
class ObservesApam:
    """A probe that reads the state of APAM.

    Args:
      state_of: returns the `ApamState` in the optimizer's state; default: the optimizer's state is one. The bounds hold
        for the update that this state describes: what comes after APAM must not change its steps.
    """

    state_of: Callable[[PyTree], ApamState] = _itself

    def read(self, optimizer_state: PyTree) -> ApamState:
        """Returns the state of APAM.

        Raises:
          InputError: if ``state_of`` gives another state.
        """
        state = self.state_of(optimizer_state)
        if not isinstance(state, ApamState):
            raise InputError(f"the bounds of APAM need an ApamState, found the state {type(state).__name__}")
        return state

    def zero(self, params: PyTree, optimizer_state: PyTree) -> Float[Array, ""]:
        """Returns the empty sum over updates.

        Raises:
          InputError: if the state is not that of APAM for all parameters.
        """
        if jax.tree.structure(self.read(optimizer_state).amsgrad.mu) != jax.tree.structure(params):
            raise InputError("the bounds of APAM need one ApamState for all parameters, found one for part of them")
        return zero(params)


@dataclasses.dataclass(frozen=True)
class ObservesProblem:
    """A probe that needs the problem.

    Args:
      problem: the problem; the loop gives it by `with_problem`.
    """

    problem: Any = dataclasses.field(default=None, compare=False, kw_only=True)

    def with_problem(self, problem: Problem) -> Self:
        """See `asyncopt.engine.probes.Probe`."""
        return dataclasses.replace(self, problem=problem)


def zero(params: PyTree) -> Float[Array, ""]:
    """Returns the empty sum over updates, in the dtype of the drift."""
    return jnp.zeros((), measure.drift(params, params).dtype)


def scale_of(state: ApamState) -> PyTree:
    """Returns V = √v̂ + ε."""
    return jax.tree.map(lambda v: jnp.sqrt(v) + state.eps.astype(v.dtype), state.amsgrad.nu_max)


def ratio(numerator: Array, scale: Array) -> Array:
    """Returns numerator / V with 0 / 0 := 0.

    V is zero or at least the root of the smallest number, beside which the smallest normal number vanishes: the sum is
    V itself for every V > 0. A selection would cost more than the division.
    """
    return numerator / (scale + jnp.finfo(scale.dtype).tiny)


def largest(scale: PyTree) -> Float[Array, ""]:
    """Returns max_i V_i."""
    return measure.over_coordinates(lambda v: (v,), scale, by=(measure.LARGEST,))[0]


def smallest(scale: PyTree) -> Float[Array, ""]:
    """Returns min_i V_i."""
    return measure.over_coordinates(lambda v: (v,), scale, by=(measure.SMALLEST,))[0]
