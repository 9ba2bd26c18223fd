"""Replay: a problem, an optimizer and a trace, put together in one compiled program.

The package is itself the function: ``asyncopt.replay(problem, optimizer, trace)`` is `replay` below.
"""

import inspect
import sys
import types

from asyncopt.replay.batch import replay_batch
from asyncopt.replay.checkpoint import Checkpoint
from asyncopt.replay.engine import batch_key, init_key
from asyncopt.replay.plan import Plan, plan
from asyncopt.replay.prepare import Run, Settings
from asyncopt.replay.result import Result
from asyncopt.replay.runner import replay

__all__ = ["Checkpoint", "Plan", "Result", "Run", "Settings", "batch_key", "init_key", "plan", "replay", "replay_batch"]


class _CallablePackage(types.ModuleType):
    # Python binds a submodule to its parent's attribute whenever it is imported, so a function of the same name
    # there would be lost; a package that can be called is both.
    __call__ = staticmethod(replay)
    __signature__ = inspect.signature(replay)


sys.modules[__name__].__class__ = _CallablePackage
