"""Optax transforms: APAM, its constraints, and staleness for any training loop. They know nothing of traces."""

from asyncopt.optim.apam import ApamState, apam, scale_by_apam
from asyncopt.optim.constraints import Box, Constraint, L2Ball
from asyncopt.optim.delay import DelayGradientsState, delay_gradients
from asyncopt.optim.schedules import step_size

__all__ = [
    "ApamState",
    "Box",
    "Constraint",
    "DelayGradientsState",
    "L2Ball",
    "apam",
    "delay_gradients",
    "scale_by_apam",
    "step_size",
]
