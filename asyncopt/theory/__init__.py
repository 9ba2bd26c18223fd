"""What theory predicts: two convergence bounds with every constant, and the speed-up of p workers. NumPy only.

The derivations are in ``docs/theory.md``.
"""

from asyncopt.theory.bounds import (
    Bound,
    convex_a_posteriori,
    convex_a_priori,
    nonconvex_a_posteriori,
    nonconvex_a_priori,
)
from asyncopt.theory.speedup import asynchronous_throughput, synchronous_throughput

__all__ = [
    "Bound",
    "asynchronous_throughput",
    "convex_a_posteriori",
    "convex_a_priori",
    "nonconvex_a_posteriori",
    "nonconvex_a_priori",
    "synchronous_throughput",
]
