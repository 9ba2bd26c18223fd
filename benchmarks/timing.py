"""Times several loops in turn, so that a slow moment of the machine affects all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def microseconds_per_update(
    loops: Mapping[str, Callable[[], Any]], num_updates: int, rounds: int = 5
) -> dict[str, float]:
    """Compiles each loop by one call, then calls all of them in turn, and returns the medians."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for loop in loops.values():
        jax.block_until_ready(loop())
    for _ in range(rounds):
        for name, loop in loops.items():
            began = time.perf_counter()
            jax.block_until_ready(loop())
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) / num_updates * 1e6 for name, times in seconds.items()}
