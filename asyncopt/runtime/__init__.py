"""Real asynchronous training: one server and p workers. The recorded trace replays bit-identically.

`record` trains; a policy may decide what its server does. The workers are threads of this process (`threads.Threads`)
or processes on one or many machines (`ray.Ray`).
"""

from asyncopt.runtime.real_run import record
from asyncopt.runtime.recording import Recording
from asyncopt.runtime.threads import Threads
from asyncopt.runtime.worker_pool import GradientMessage, GradientRequest, WorkerFailure, WorkerPool

__all__ = ["GradientMessage", "GradientRequest", "Recording", "Threads", "WorkerFailure", "WorkerPool", "record"]
