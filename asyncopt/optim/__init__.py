"""Optax transforms: APAM, a constant delay for any training loop, and wrappers of other optimizers.

Four wrappers handle stale gradients. With delay 0 throughout, each is the optimizer it wraps (`buffer_updates` with a
buffer of 1). `restart` makes the optimizer's state anew at regular times.
"""

from asyncopt.optim.apam import ApamState, ApamTransformation, apam, scale_by_apam
from asyncopt.optim.buffer_updates import buffer_updates
from asyncopt.optim.compensate_delay import compensate_delay
from asyncopt.optim.constraints import Box, Constraint, L2Ball
from asyncopt.optim.delay import DelayGradientsState, delay_gradients
from asyncopt.optim.drop_stale import drop_stale
from asyncopt.optim.parametric import parametric
from asyncopt.optim.restart import restart
from asyncopt.optim.scale_steps_by_delay import scale_steps_by_delay
from asyncopt.optim.schedules import step_size

__all__ = [
    "ApamState", "ApamTransformation", "Box", "Constraint", "DelayGradientsState", "L2Ball", "apam",
    "buffer_updates", "compensate_delay", "delay_gradients", "drop_stale", "parametric", "restart", "scale_by_apam",
    "scale_steps_by_delay", "step_size",
]  # fmt: skip
