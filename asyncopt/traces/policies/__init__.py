"""Policies: servers that decide which gradients make a step, and which workers begin anew.

`asyncopt.traces.simulate` runs a policy on a clock, and returns the trace. A policy of one's own has the two methods of
`Policy`. Each policy here has a name in lower case, too, as in ``policies.ringmaster(max_delay=6)``.
"""

from asyncopt.traces.policies.asynchronous import Assignments, Asynchronous
from asyncopt.traces.policies.batches import Buffered, Malenia, Rennala, Rounds
from asyncopt.traces.policies.policy import Answer, Arrival, Policy
from asyncopt.traces.policies.ringleader import Ringleader
from asyncopt.traces.policies.ringmaster import Ringmaster

asynchronous, assignments = Asynchronous, Assignments
rounds, rennala, malenia, buffered = Rounds, Rennala, Malenia, Buffered
ringleader, ringmaster = Ringleader, Ringmaster

__all__ = [
    "Answer", "Arrival", "Assignments", "Asynchronous", "Buffered", "Malenia", "Policy", "Rennala", "Ringleader",
    "Ringmaster", "Rounds", "assignments", "asynchronous", "buffered", "malenia", "rennala", "ringleader",
    "ringmaster", "rounds",
]  # fmt: skip
