"""Random traces for hypothesis."""

import numpy as np
from hypothesis import strategies as st

from asyncopt.traces import Trace


@st.composite
def traces(draw, num_updates):
    """Any valid schedule of this length: each update may read any iterate that exists."""
    return Trace(np.array([draw(st.integers(0, k)) for k in range(num_updates)]))


@st.composite
def racing_traces(draw, num_updates, num_blocks):
    """Any valid schedule of inconsistent reads: each block of a read comes from any iterate in a range."""
    start = [draw(st.integers(0, k)) for k in range(num_updates)]
    end = [draw(st.integers(first, k)) for k, first in enumerate(start)]
    blocks = [
        [draw(st.integers(first, last)) for _ in range(num_blocks)] for first, last in zip(start, end, strict=True)
    ]
    return Trace(start, read_end=end, block_version=blocks)
