"""Real asynchronous training: one server, p workers; what happened is recorded as a trace, which replays to the bit.

`record` is the server. The workers are threads of this process (`threads.Threads`) or processes on one or many machines
(`ray.Ray`).
"""

from asyncopt.runtime.crew import Crew, Lost, Order, Sent
from asyncopt.runtime.recording import Recording
from asyncopt.runtime.server import record
from asyncopt.runtime.threads import Threads

__all__ = ["Crew", "Lost", "Order", "Recording", "Sent", "Threads", "record"]
