"""The figure of a trace's delays."""

import numpy as np

from asyncopt import traces


def test_bars_are_the_shares_of_the_delays():
    trace = traces.uniform(80, 9)
    _, shares = trace.plot().axes
    drawn = [bar.get_width() for bar in shares.patches]
    np.testing.assert_allclose(drawn, np.bincount(trace.delay) / trace.num_updates)
