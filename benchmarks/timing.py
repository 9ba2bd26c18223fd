"""Timing several loops side by side, so that a slow moment of the machine falls on all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def microseconds_per_update(
    loops: Mapping[str, Callable[[], Any]], num_updates: int, rounds: int = 9
) -> dict[str, float]:
    """Calls each loop once to compile it, then all of them in turn, and returns the medians."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        jax.block_until_ready(loop())
    for _ in range(rounds):
        for name, loop in loops.items():
            began = time.perf_counter()
            jax.block_until_ready(loop())
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) / num_updates * 1e6 for name, times in seconds.items()}
