"""Optax transforms: APAM, and staleness for any training loop. They know nothing of traces."""

from asyncopt.optim.apam import ApamState, apam, scale_by_apam
from asyncopt.optim.delay import DelayGradientsState, delay_gradients
from asyncopt.optim.schedules import step_size

__all__ = [
    "ApamState",
    "DelayGradientsState",
    "apam",
    "delay_gradients",
    "scale_by_apam",
    "step_size",
]
