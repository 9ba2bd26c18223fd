"""Traces: when, and from which iterate, each gradient came. NumPy only; no JAX is imported here.

`synchronous`, `constant` and `cyclic` have fixed delays; `uniform`, `geometric` and `pareto` draw them. `cluster` is an
event-driven model of workers and a server; `rounds` is its synchronous counterpart, and in `shared_memory` reads race
with writes. `pipeline` has a delay for each stage of a network. `simulate` runs a server that decides, one of the
`policies`, on a `Clock`. `load` reads a trace from a file.
"""

from asyncopt.traces import durations, policies
from asyncopt.traces.clock import Clock
from asyncopt.traces.cluster import cluster
from asyncopt.traces.durations import Duration
from asyncopt.traces.files import load
from asyncopt.traces.pipeline import pipeline
from asyncopt.traces.rounds import rounds
from asyncopt.traces.shared_memory import shared_memory
from asyncopt.traces.simulate import simulate, simulated
from asyncopt.traces.speed import Speed
from asyncopt.traces.synthetic import constant, cyclic, geometric, pareto, synchronous, uniform
from asyncopt.traces.trace import Trace
from asyncopt.traces.worker_times import WorkerTimes

__all__ = [
    "Clock", "Duration", "Speed", "Trace", "WorkerTimes", "cluster", "constant", "cyclic", "durations", "geometric",
    "load", "pareto", "pipeline", "policies", "rounds", "shared_memory", "simulate", "simulated",
    "synchronous", "uniform",
]  # fmt: skip
