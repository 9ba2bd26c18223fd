"""Random traces for hypothesis."""

import numpy as np
from hypothesis import strategies as st

from asyncopt.traces import Trace


@st.composite
def traces(draw, num_updates):
    """Any valid schedule of this length: each update may read any iterate that exists."""
    return Trace(np.array([draw(st.integers(0, k)) for k in range(num_updates)]))
