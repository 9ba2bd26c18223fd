"""Optax transforms: APAM, a constant delay for any training loop, and wrappers of other optimizers.

Four wrappers handle stale gradients. With delay 0 throughout, each is the optimizer it wraps (`buffer_updates` with a
buffer of 1). `gradient_table` and `error_feedback` keep something for each worker. `restart` makes the optimizer's
state anew at regular times.
"""

from asyncopt.optim.apam import ApamState, ApamTransformation, apam, scale_by_apam
from asyncopt.optim.buffer_updates import buffer_updates
from asyncopt.optim.compensate_delay import compensate_delay
from asyncopt.optim.constraints import Box, Constraint, L2Ball
from asyncopt.optim.delay import DelayGradientsState, delay_gradients
from asyncopt.optim.drop_stale import drop_stale
from asyncopt.optim.each_gradient import EachGradient
from asyncopt.optim.error_feedback import error_feedback
from asyncopt.optim.gradient_table import gradient_table
from asyncopt.optim.lookahead_nesterov import LookaheadNesterovState, lookahead_nesterov
from asyncopt.optim.nadamw import NadamwState, nadamw
from asyncopt.optim.parametric import parametric
from asyncopt.optim.restart import restart
from asyncopt.optim.rotate_basis import RotateBasisState, rotate_basis
from asyncopt.optim.scale_steps_by_delay import scale_steps_by_delay
from asyncopt.optim.scale_steps_by_stage import scale_steps_by_stage
from asyncopt.optim.schedules import step_size

__all__ = [
    "ApamState", "ApamTransformation", "Box", "Constraint", "DelayGradientsState", "EachGradient", "L2Ball",
    "LookaheadNesterovState", "NadamwState", "RotateBasisState", "apam", "buffer_updates", "compensate_delay",
    "delay_gradients", "drop_stale", "error_feedback", "gradient_table", "lookahead_nesterov", "nadamw", "parametric",
    "restart", "rotate_basis", "scale_by_apam", "scale_steps_by_delay", "scale_steps_by_stage", "step_size",
]  # fmt: skip
