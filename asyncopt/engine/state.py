"""What the compiled loop is given, what it carries from update to update, and what it returns: all as pytrees."""

from typing import Any, NamedTuple

import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from asyncopt.engine.work import Work
from asyncopt.problems import Problem


class Facts(NamedTuple):
    """What a trace says of an update besides its iterate; for the loop, arrays with an axis of updates."""

    delay: Int[Array, "..."]  # int32, in steps; of a step of several gradients, the largest
    worker: Int[Array, "..."]  # int32
    makes_step: Bool[Array, "..."] | None = None  # whether it is the last of a step; None if each is
    weight: Float[Array, "..."] | None = None  # of the gradient in the step's sum; None with `makes_step`
    leaf_delay: Int[Array, "... n"] | None = None  # int32, of each leaf's gradient; None if blocks are no layers


class Schedule(NamedTuple):
    """The trace and its plan as the loop takes them; slots are int32."""

    read_slot: Int[Array, " K"] | Int[Array, "K B"]  # with the slot of each block where reads are inconsistent
    write_slot: Int[Array, " K"] | Int[Array, "K n"]  # with the slot of each leaf where blocks are layers
    facts: Facts
    backward_slot: Int[Array, "K n"] | None = None  # None if both passes read the same


class Inputs(NamedTuple):
    """All that the loop is given and does not change."""

    problem: Problem
    optimizer: optax.GradientTransformationExtraArgs
    work: Work | None  # what a worker does in place of one gradient
    schedule: Schedule
    batch_keys: Key[Array, " K"]  # key of the mini-batch of each update


class Stops(NamedTuple):
    """How far to go, and where to evaluate on the way."""

    made: Int[Array | np.ndarray, ""]  # int32, updates made before
    evaluated: Int[Array | np.ndarray, ""]  # int32, updates made when the run was last evaluated
    stops: Int[Array | np.ndarray, " E"]  # int32, non-decreasing
    wanted: Bool[Array | np.ndarray, " E"]  # whether to evaluate there; else the evaluation is all zeros


class LoopState(NamedTuple):
    """All that a run carries from one update to the next."""

    params: PyTree  # x_k, iterate k
    optimizer_state: PyTree
    gradient_sum: PyTree  # of the step under way, weighted; None if each gradient makes a step
    work_state: PyTree  # what workers keep between their jobs
    history: PyTree  # like params, each leaf with an axis of slots before its own; of another dtype if asked for
    average: PyTree  # mean of iterates 0..k - 1, float32 at least; None if it is not kept
    drift_sum: Float[Array, ""]  # Σ ‖x_k - y_k‖² since the last evaluation
    diverged_at: Int[Array, ""]  # first update that gave a non-finite iterate, or -1
    probe_terms: tuple[PyTree, ...]  # terms of each probe


class Evaluation(NamedTuple):
    """The measurements of a run at one evaluation; the loop returns them with a leading axis of evaluations."""

    objective: Float[Array, ""]  # F(x_k)
    grad_norm_sq: Float[Array, ""]  # ‖∇F(x_k)‖²
    average_objective: Float[Array, ""] | None  # F(x̄_k)
    drift: Float[Array, ""]  # mean ‖x_k - y_k‖² over the updates since the evaluation before
    metrics: dict[str, Array]
    probed: tuple[Any, ...]  # a NamedTuple of scalars for each probe


class Marks(NamedTuple):
    """What an evaluation changes in the state of a run."""

    drift_sum: Float[Array, ""]
    diverged_at: Int[Array, ""]
