"""The delays of a trace."""

import numpy as np
from matplotlib.figure import Figure

from asyncopt.drawing import style

_MOST_POINTS = 20_000  # of a scatter; more take long, and show no more


@style.drawing
def delays(delay: np.ndarray, title: str) -> Figure:
    """Returns the delay of each update, and how often each delay comes.

    Args:
      delay: int[K].
      title: what the trace is.
    """
    figure, (left, right) = style.subplots((9, 3.6), title, 1, 2, width_ratios=[1.6, 1], sharey=True)
    chosen = np.linspace(0, len(delay) - 1, min(len(delay), _MOST_POINTS)).astype(int)
    left.plot(chosen, delay[chosen], ".", markersize=2, color=style.COLOURS["APAM"], rasterized=True)
    left.axhline(delay.mean(), color=style.REFERENCE_COLOUR, linestyle=":", label=f"mean {delay.mean():.3g}")
    left.set(xlabel="update $k$", ylabel="delay $\\tau_k$, updates")
    left.legend(loc="upper right")
    _, edges = style.whole_bins(int(delay.max()))
    shares = np.full(len(delay), 1 / len(delay))
    right.hist(delay, edges, weights=shares, orientation="horizontal", color=style.COLOURS["APAM"])
    right.set(xlabel="share of the updates")
    right.locator_params(axis="x", nbins=4)
    return figure
