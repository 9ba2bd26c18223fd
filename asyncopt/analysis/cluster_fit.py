"""Fits the cluster model to a recorded trace: workers and a server that would produce such a trace."""

import dataclasses
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float

from asyncopt.checks import InputError
from asyncopt.traces import Duration, Trace, cluster

# Candidates for durations in units of their mean. SciPy's first parameter is the shape, except for the exponential.
_FAMILIES = {"exponential": scipy.stats.expon, "gamma": scipy.stats.gamma, "lognormal": scipy.stats.lognorm}
# Durations whose standard deviation is less than this share of their mean count as constant.
_CONSTANT = 1e-3
# A fit to delays alone tries these shares of the server, and spreads of the computing time in this range.
_SERVER_SHARES, _SPREADS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9), (1e-2, 3.0)
# It compares delays with synthetic traces of this length, one for each seed.
_FITTED_UPDATES, _SEEDS = 5_000, (0, 1)


@dataclasses.dataclass(frozen=True)
class ClusterFit:
    """A cluster that produces traces like a recorded one."""

    num_workers: int  #: p
    compute: Duration  #: seconds for one gradient, messages included
    server: Duration  #: seconds for the server to apply a gradient
    has_clock: bool  #: whether the seconds are the trace's; otherwise a gradient takes 1 s on average

    def trace(self, num_updates: int, seed: int = 0) -> Trace:
        """Returns a synthetic trace."""
        return cluster(num_updates, self.num_workers, self.compute, self.server, seed=seed)

    def overrides(self) -> list[str]:
        """Returns the arguments with which ``python -m asyncopt`` produces such traces."""
        settings = {"num_workers": self.num_workers, "compute": _typed(self.compute), "server": _typed(self.server)}
        return ["trace=cluster", *(f"trace.{name}={value}" for name, value in settings.items())]


def fit_cluster(trace: Trace) -> ClusterFit:
    """Fits the cluster model's distributions to a trace.

    A trace with a clock shows the durations. A worker computes from the update with its last gradient until its next
    gradient arrives. The server is busy from an arrival, or from the previous update if that is later, to the update.
    Each worker has its own mean; the distribution is the likeliest of a few. Without arrivals, all time counts as the
    worker's.

    From delays alone, p is the whole number nearest to one more than the mean delay. The spread of the computing time
    and the server's share minimise the Wasserstein distance between fitted and recorded delays.

    Raises:
      InputError: if the trace is too short for a fit.
    """
    if trace.num_updates < 2 * trace.num_workers or trace.num_updates < 20:
        length = f"the trace has {trace.num_updates} updates of {trace.num_workers} workers"
        raise InputError(f"{length}, expected at least 20, and two of each worker")
    return _fit_delays(trace) if trace.time is None else _fit_clock(trace, trace.time)


def _fit_clock(trace: Trace, time: Float[np.ndarray, " K"]) -> ClusterFit:
    arrival = time if trace.arrival is None else trace.arrival
    means, units = [], []
    for worker in range(trace.num_workers):
        updates = np.flatnonzero(trace.worker == worker)
        if len(updates) == 0:
            raise InputError(f"worker {worker} of the trace has no update, expected at least one of each worker")
        computing = np.maximum(arrival[updates] - np.append(0.0, time[updates[:-1]]), 0.0)
        means.append(float(computing.mean()))
        units.append(computing / max(means[-1], 1e-12))
    compute = dataclasses.replace(_likeliest(np.concatenate(units)), mean=means[0] if len(means) == 1 else means)
    service = np.maximum(time - np.maximum(arrival, np.append(0.0, time[:-1])), 0.0)
    mean, server = float(service.mean()), Duration("constant", 0.0)
    if mean > 0:
        server = dataclasses.replace(_likeliest(service / mean), mean=mean)
    return ClusterFit(trace.num_workers, compute, server, has_clock=True)


def _likeliest(units: Float[np.ndarray, " n"]) -> Duration:
    """Returns the distribution of mean 1 that fits the numbers best by Akaike's criterion."""
    if units.std() < _CONSTANT:
        return Duration("constant")
    positive, candidates = np.maximum(units, 1e-6), []
    for name, family in _FAMILIES.items():
        parameters = family.fit(positive, floc=0)
        criterion = 2 * (len(parameters) - 1) - 2 * np.sum(family.logpdf(positive, *parameters))
        candidates.append((criterion, Duration(name, 1.0, float(parameters[0]) if family.numargs else None)))
    return min(candidates, key=lambda pair: pair[0])[1]


def _fit_delays(trace: Trace) -> ClusterFit:
    recorded = trace.delay[_settled(trace) :]
    num_workers = round(float(recorded.mean())) + 1
    if num_workers == 1:
        return ClusterFit(1, Duration("constant"), Duration("constant", 0.0), has_clock=False)

    def model(spread: float, share: float) -> ClusterFit:
        # When all p workers are served one after another, the server's share of a worker's cycle is p times its time.
        server = Duration("exponential", share / num_workers) if share else Duration("constant", 0.0)
        return ClusterFit(num_workers, Duration("gamma", 1.0, spread**-2), server, has_clock=False)

    def distance(log_spread: float, share: float) -> float:
        fitted = model(float(np.exp(log_spread)), share)
        traces = [fitted.trace(_FITTED_UPDATES, seed) for seed in _SEEDS]
        synthetic = np.concatenate([trace.delay[_settled(trace) :] for trace in traces])
        return float(scipy.stats.wasserstein_distance(recorded, synthetic))

    minima = []
    for share in _SERVER_SHARES:
        minimum = scipy.optimize.minimize_scalar(distance, bounds=np.log(_SPREADS), args=(share,), method="bounded")
        minima.append((float(minimum.fun), float(np.exp(minimum.x)), share))
    return model(*min(minima)[1:])


def _settled(trace: Trace) -> int:
    """Returns the first update whose delay no longer depends on the start."""
    return min(4 * trace.max_delay, trace.num_updates // 4)


def compare(recorded: Trace, synthetic: Trace) -> dict[str, Any]:
    """Returns delays of two traces, distances of their histograms, and updates a second if both have a clock."""
    longest = max(recorded.max_delay, synthetic.max_delay)
    shares = [np.bincount(trace.delay, minlength=longest + 1) / trace.num_updates for trace in (recorded, synthetic)]
    rates = [trace.updates_per_second for trace in (recorded, synthetic)]
    return {
        "recorded": _delays(recorded),
        "synthetic": _delays(synthetic),
        "total_variation": float(0.5 * np.abs(shares[0] - shares[1]).sum()),
        "wasserstein": float(scipy.stats.wasserstein_distance(recorded.delay, synthetic.delay)),
        "updates_per_second": None if None in rates else {"recorded": rates[0], "synthetic": rates[1]},
    }


def _delays(trace: Trace) -> dict[str, float]:
    quantiles = {f"quantile_{q}": float(np.quantile(trace.delay, q)) for q in (0.5, 0.9, 0.99)}
    spread = float(trace.delay.std())
    return {"mean": trace.mean_delay, "standard_deviation": spread, **quantiles, "max": trace.max_delay}


def _typed(duration: Duration) -> str:
    means = np.atleast_1d(np.asarray(duration.mean, float))
    mean = f"{means[0]:.6g}" if len(means) == 1 else "[" + ",".join(f"{value:.6g}" for value in means) + "]"
    shape = "null" if duration.shape is None else f"{duration.shape:.6g}"
    return f"{{distribution:{duration.distribution},mean:{mean},shape:{shape}}}"
