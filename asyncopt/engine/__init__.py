"""The engine: a problem, an optimizer and a trace, put together in one compiled program."""

from asyncopt.engine.apam_probe import ApamProbe
from asyncopt.engine.batch import replay_batch
from asyncopt.engine.chain_probes import ConvexChainProbe, DescentChainProbe
from asyncopt.engine.checkpoint import Checkpoint
from asyncopt.engine.descent_probe import DescentProbe
from asyncopt.engine.draws import batch_key, init_key
from asyncopt.engine.plan import Plan, plan
from asyncopt.engine.prepare import Run, Settings
from asyncopt.engine.probes import Probe
from asyncopt.engine.regret_probe import RegretProbe
from asyncopt.engine.result import Result
from asyncopt.engine.runner import replay
from asyncopt.engine.work import LocalSteps, Work, local_steps

__all__ = [
    "ApamProbe", "Checkpoint", "ConvexChainProbe", "DescentChainProbe", "DescentProbe", "LocalSteps", "Plan", "Probe",
    "RegretProbe", "Result", "Run", "Settings", "Work", "batch_key", "init_key", "local_steps", "plan", "replay",
    "replay_batch",
]  # fmt: skip
