"""Probes: what a run records for a theorem, besides what every run records."""

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.checks import InputError
from asyncopt.engine.apam_probe import ApamProbe
from asyncopt.engine.chain_probes import ConvexChainProbe, DescentChainProbe
from asyncopt.engine.descent_probe import DescentProbe
from asyncopt.engine.regret_probe import RegretProbe
from asyncopt.engine.state import LoopState
from asyncopt.optim import ApamTransformation
from asyncopt.problems import Problem

# A column whose name ends so is a certificate: the first update that broke an inequality, or -1.
BROKEN_AT = "_broken_at"
FULL = "full"  # the value of record_bounds with which every line of a proof is recorded


@runtime_checkable
class Probe(Protocol):
    """Records scalars in every update, and gives them names at every evaluation.

    A probe is a part of the compiled program: it has to be hashable and comparable, as a frozen dataclass is. Its terms
    are sums, maxima and the like over the updates so far, and arrays that it keeps for the next update.

    A probe that needs the problem has one more method, ``with_problem(problem)``. It returns the probe that observes
    and evaluates in a run on this problem, whose arrays may be traced. `init` is called without it.
    """

    def init(self, params: PyTree, optimizer_state: PyTree) -> PyTree:
        """Returns the terms before the first update, a pytree of arrays.

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


def chosen(
    optimizer: optax.GradientTransformation, problem: Problem, record_bounds: bool | str, probes: Iterable[Probe]
) -> tuple[Probe, ...]:
    """Returns the probes of a run: with ``record_bounds``, those of APAM, if `asyncopt.apam` made the optimizer.

    An APAM inside another transform, or with bias correction, is left alone: its steps may differ from those that the
    bounds describe. A convex problem with a known minimiser gets the certificate of the convex theorem. Another smooth
    problem without a constraint gets what the tighter non-convex bound needs.

    Args:
      optimizer: how the run steps.
      problem: what is minimised.
      record_bounds: whether to record bounds; "full" takes full gradients in every update, and records every line of
        the theorem's proof.
      probes: further probes.

    Raises:
      InputError: if ``record_bounds`` has another value, or is "full" for a problem or an optimizer without a theorem.
    """
    if record_bounds not in (True, False, FULL):
        raise InputError(f"record_bounds is {record_bounds!r}, expected true, false or {FULL}")
    if not isinstance(probes, Iterable):
        raise InputError(f"probes is {probes!r}, expected a list of probes")
    bounds = _bounds(problem) if isinstance(optimizer, ApamTransformation) else ()
    if record_bounds != FULL:
        return (*(bounds[:2] if record_bounds else ()), *probes)
    if len(bounds) < 3:
        raise InputError(
            f"record_bounds is {FULL}, expected true: {FULL} needs apam, not wrapped, and a problem with known "
            "smoothness that is convex with a known minimiser, or has no constraint"
        )
    return (*bounds, *probes)


def _bounds(problem: Problem) -> tuple[Probe, ...]:
    """Returns the probes of APAM's bounds on a problem; the third one takes full gradients."""
    constants = getattr(problem, "constants", None)
    smooth = constants is not None and constants.smoothness is not None
    if constants is not None and constants.convex and getattr(problem, "minimiser", None) is not None:
        return (ApamProbe(), RegretProbe(), *([ConvexChainProbe()] if smooth else []))
    if smooth and getattr(problem, "constraint", None) is None:
        return ApamProbe(), DescentProbe(), DescentChainProbe()
    return (ApamProbe(),)


def bound_to(problem: Problem, probes: Iterable[Probe]) -> tuple[Probe, ...]:
    """Returns the probes as they observe runs on a problem."""
    return tuple(getattr(probe, "with_problem", lambda problem, probe=probe: probe)(problem) for probe in probes)
