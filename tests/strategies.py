"""Random traces for hypothesis.

Numbers are made of bytes: for hypothesis, bytes are one value, and hundreds of integers take it seconds.
"""

import numpy as np
from hypothesis import strategies as st

from asyncopt.traces import Trace


def numbers(count):
    """Any non-negative integers below 2¹⁶."""
    return st.binary(min_size=2 * count, max_size=2 * count).map(
        lambda drawn: np.frombuffer(drawn, ">u2").astype(np.int64)
    )


@st.composite
def traces(draw, num_updates):
    """Any valid schedule of this length: each update may read any iterate that exists."""
    return Trace(draw(numbers(num_updates)) % np.arange(1, num_updates + 1))


@st.composite
def racing_traces(draw, num_updates, num_blocks):
    """Any valid schedule of inconsistent reads: each block of a read comes from any iterate in a range."""
    updates = np.arange(num_updates)
    start = draw(numbers(num_updates)) % (updates + 1)
    end = start + draw(numbers(num_updates)) % (updates - start + 1)
    blocks = draw(numbers(num_updates * num_blocks)).reshape(num_updates, num_blocks) % (end - start + 1)[:, None]
    versions = start[:, None] + blocks
    return Trace(versions.min(axis=1), block_version=versions)
