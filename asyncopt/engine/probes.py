"""Probes: what a run records for a theorem, besides what every run records."""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.engine.apam_probe import ApamProbe
from asyncopt.engine.state import LoopState
from asyncopt.optim import ApamTransformation


@runtime_checkable
class Probe(Protocol):
    """Records scalars in every update, and gives them names at every evaluation.

    A probe is a part of the compiled program: it has to be hashable and comparable, as a frozen dataclass is. Its terms
    are sums, maxima and the like over the updates so far. They must not be negative: the loop compares them with zero,
    to have them computed before the history is written (see `asyncopt.engine.loop.update`).
    """

    def init(self, params: PyTree, optimizer_state: PyTree) -> PyTree:
        """Returns the terms before the first update, a pytree of non-negative scalars.

        Raises:
          InputError: if the optimizer is not one that the probe can observe.
        """
        ...

    def observe(self, terms: PyTree, k: Int[Array, ""], before: LoopState, stale: PyTree, gradient: PyTree) -> PyTree:
        """Returns the terms with what update k adds.

        Args:
          terms: the terms after update k - 1.
          k: the number of the update, from 0.
          before: the state before the update; ``params`` is iterate k, ``optimizer_state`` that after update k - 1.
          stale: y_k, where the gradient was taken.
          gradient: g_k.
        """
        ...

    def evaluate(self, terms: PyTree, state: LoopState) -> Any:
        """Returns a NamedTuple of scalars; its fields become columns of the results.

        Args:
          terms: the terms after the last update.
          state: the state after the last update.
        """
        ...


def chosen(optimizer: optax.GradientTransformation, record_bounds: bool, probes: Iterable[Probe]) -> tuple[Probe, ...]:
    """Returns the probes of a run: with ``record_bounds``, that of APAM, if the optimizer is what `asyncopt.apam` made.

    An APAM inside another transform is left alone: its steps may differ from those that the bounds describe.
    """
    is_apam = isinstance(optimizer, ApamTransformation)
    return (*([ApamProbe()] if record_bounds and is_apam else []), *probes)
