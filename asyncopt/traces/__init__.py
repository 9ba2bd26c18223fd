"""Traces: when, and from which iterate, each gradient came. NumPy only; no JAX is imported here.

A trace is made by a rule (`synchronous`, `constant`, `cyclic`), by drawing delays (`uniform`, `geometric`,
`pareto`), by the event-driven model of a cluster (`cluster`; `rounds` is its synchronous counterpart,
`shared_memory` the one whose reads race with writes), or read from a file (`load`).
"""

from asyncopt.traces import durations
from asyncopt.traces.cluster import cluster
from asyncopt.traces.durations import Duration
from asyncopt.traces.files import load
from asyncopt.traces.rounds import rounds
from asyncopt.traces.shared_memory import shared_memory
from asyncopt.traces.synthetic import constant, cyclic, geometric, pareto, synchronous, uniform
from asyncopt.traces.trace import Trace

__all__ = [
    "Duration",
    "Trace",
    "cluster",
    "constant",
    "cyclic",
    "durations",
    "geometric",
    "load",
    "pareto",
    "rounds",
    "shared_memory",
    "synchronous",
    "uniform",
]
