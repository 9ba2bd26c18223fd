"""Optax transforms: APAM, and staleness for any training loop. They know nothing of traces."""

from asyncopt.optim.apam import ApamState, ApamTransformation, apam, scale_by_apam
from asyncopt.optim.constraints import Box, Constraint, L2Ball
from asyncopt.optim.delay import DelayGradientsState, delay_gradients
from asyncopt.optim.parametric import parametric
from asyncopt.optim.schedules import step_size
from asyncopt.optim.staleness_aware import (
    WRAPPER_STATES,
    buffer_updates,
    compensate_delay,
    drop_stale,
    scale_steps_by_delay,
)

__all__ = [
    "WRAPPER_STATES",
    "ApamState",
    "ApamTransformation",
    "Box",
    "Constraint",
    "DelayGradientsState",
    "L2Ball",
    "apam",
    "buffer_updates",
    "compensate_delay",
    "delay_gradients",
    "drop_stale",
    "parametric",
    "scale_by_apam",
    "scale_steps_by_delay",
    "step_size",
]
