"""The cluster model fitted to a recorded trace: workers and a server that would make such a trace."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float

from asyncopt.checks import InputError
from asyncopt.traces import Duration, Trace, cluster

# Candidates for durations in units of their mean: SciPy's distribution, and the shape that `Duration` takes.
_FAMILIES = {
    "exponential": (scipy.stats.expon, lambda parameters: None),
    "gamma": (scipy.stats.gamma, lambda parameters: float(parameters[0])),
    "lognormal": (scipy.stats.lognorm, lambda parameters: float(parameters[0])),
}
# Durations whose standard deviation is less than this part of their mean count as constant.
_CONSTANT = 1e-3
# A fit to delays alone searches these shares of the server, and spreads of the computing time between these.
_SERVER_SHARES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
_SPREADS = (1e-2, 3.0)
_FITTED_UPDATES = 5_000
_SEEDS = (0, 1)


@dataclasses.dataclass(frozen=True)
class ClusterFit:
    """A cluster that makes traces like a recorded one.

    Args:
      num_workers: p.
      compute: seconds for one gradient, messages included.
      server: seconds for the server to apply it.
      has_clock: whether seconds are the trace's own; else a gradient takes 1 s on average.
    """

    num_workers: int
    compute: Duration
    server: Duration
    has_clock: bool

    def trace(self, num_updates: int, seed: int = 0) -> Trace:
        """Returns a synthetic trace."""
        return cluster(num_updates, self.num_workers, self.compute, self.server, seed=seed)

    def overrides(self) -> list[str]:
        """Returns the arguments with which ``python -m asyncopt`` makes such traces."""
        return [
            "trace=cluster",
            f"trace.num_workers={self.num_workers}",
            f"trace.compute={_typed(self.compute)}",
            f"trace.server={_typed(self.server)}",
        ]


def fit_cluster(trace: Trace) -> ClusterFit:
    """Fits the cluster model's distributions to a trace.

    A trace with a clock shows the durations. A worker computes from the update by its last gradient to the arrival of
    its next. The server is busy from an arrival, or from the update before it if that is later, to the update. Each
    worker has its own mean; the distribution is the likeliest of a few. Without arrivals, all time counts as the
    worker's.

    From delays alone, p is the whole number nearest to one more than the mean delay. The spread of the computing time
    and the server's share minimise Wasserstein's distance between fitted and recorded delays.

    Raises:
      InputError: if the trace is too short to say anything.
    """
    if trace.num_updates < 2 * trace.num_workers or trace.num_updates < 20:
        raise InputError(
            f"the trace has {trace.num_updates} updates of {trace.num_workers} workers, "
            "expected at least 20, and two of each worker"
        )
    return _fit_delays(trace) if trace.time is None else _fit_clock(trace)


def _fit_clock(trace: Trace) -> ClusterFit:
    assert trace.time is not None
    arrival = trace.time if trace.arrival is None else trace.arrival
    before = np.append(0.0, trace.time[:-1])
    away = [_away(trace, arrival, worker) for worker in range(trace.num_workers)]
    means = [float(seconds.mean()) for seconds in away]
    units = np.concatenate([seconds / max(mean, 1e-12) for seconds, mean in zip(away, means, strict=True)])
    compute = _likeliest(units)
    service = np.maximum(trace.time - np.maximum(arrival, before), 0.0)
    mean_service = float(service.mean())
    server = Duration("constant", 0.0)
    if mean_service > 0:
        server = dataclasses.replace(_likeliest(service / mean_service), mean=mean_service)
    mean = means[0] if len(means) == 1 else means
    return ClusterFit(trace.num_workers, dataclasses.replace(compute, mean=mean), server, has_clock=True)


def _away(trace: Trace, arrival: Float[np.ndarray, " K"], worker: int) -> Float[np.ndarray, " n"]:
    """Returns the seconds from each update of a worker to the arrival of its next gradient."""
    assert trace.time is not None
    updates = np.flatnonzero(trace.worker == worker)
    if len(updates) == 0:
        raise InputError(f"worker {worker} of the trace has no update, expected at least one of each worker")
    return np.maximum(arrival[updates] - np.append(0.0, trace.time[updates[:-1]]), 0.0)


def _likeliest(units: Float[np.ndarray, " n"]) -> Duration:
    """Returns the distribution of mean 1 that fits the numbers best by Akaike's criterion."""
    if units.std() < _CONSTANT:
        return Duration("constant")
    positive = np.maximum(units, 1e-6)
    candidates = []
    for name, (family, shape) in _FAMILIES.items():
        parameters = family.fit(positive, floc=0)
        criterion = 2 * (len(parameters) - 1) - 2 * np.sum(family.logpdf(positive, *parameters))
        candidates.append((criterion, Duration(name, 1.0, shape(parameters))))
    return min(candidates, key=lambda pair: pair[0])[1]


def _fit_delays(trace: Trace) -> ClusterFit:
    recorded = trace.delay[_settled(trace) :]
    num_workers = max(round(float(recorded.mean())) + 1, 1)
    if num_workers == 1:
        return ClusterFit(1, Duration("constant"), Duration("constant", 0.0), has_clock=False)

    def model(spread: float, share: float) -> ClusterFit:
        # The server's share of a worker's cycle, when all p are served one after another, is p times its time.
        server = Duration("exponential", share / num_workers) if share else Duration("constant", 0.0)
        return ClusterFit(num_workers, Duration("gamma", 1.0, spread**-2), server, has_clock=False)

    def distance(log_spread: float, share: float) -> float:
        fitted = model(float(np.exp(log_spread)), share)
        traces = [fitted.trace(_FITTED_UPDATES, seed) for seed in _SEEDS]
        synthetic = np.concatenate([trace.delay[_settled(trace) :] for trace in traces])
        return float(scipy.stats.wasserstein_distance(recorded, synthetic))

    minima = []
    for share in _SERVER_SHARES:
        bounds = (np.log(_SPREADS[0]), np.log(_SPREADS[1]))
        minimum = scipy.optimize.minimize_scalar(distance, bounds=bounds, args=(share,), method="bounded")
        minima.append((float(minimum.fun), float(np.exp(minimum.x)), share))
    _, spread, share = min(minima)
    return model(spread, share)


def _settled(trace: Trace) -> int:
    """Returns the update from which on the start no longer keeps delays short."""
    return min(4 * trace.max_delay, trace.num_updates // 4)


def compare(recorded: Trace, synthetic: Trace) -> dict[str, Any]:
    """Returns delays of two traces, distances of their histograms, and updates a second where both have a clock."""
    largest = max(recorded.max_delay, synthetic.max_delay) + 1
    shares = [np.bincount(trace.delay, minlength=largest) / trace.num_updates for trace in (recorded, synthetic)]
    rates = [trace.updates_per_second for trace in (recorded, synthetic)]
    return {
        "recorded": _delays(recorded),
        "synthetic": _delays(synthetic),
        "total_variation": float(0.5 * np.abs(shares[0] - shares[1]).sum()),
        "wasserstein": float(scipy.stats.wasserstein_distance(recorded.delay, synthetic.delay)),
        "updates_per_second": None if None in rates else {"recorded": rates[0], "synthetic": rates[1]},
    }


def _delays(trace: Trace) -> Mapping[str, float]:
    quantiles = {f"quantile_{q}": float(np.quantile(trace.delay, q)) for q in (0.5, 0.9, 0.99)}
    spread = float(trace.delay.std())
    return {"mean": trace.mean_delay, "standard_deviation": spread, **quantiles, "max": trace.max_delay}


def _typed(duration: Duration) -> str:
    means = np.atleast_1d(np.asarray(duration.mean, float))
    mean = f"{means[0]:.6g}" if len(means) == 1 else "[" + ",".join(f"{value:.6g}" for value in means) + "]"
    shape = "null" if duration.shape is None else f"{duration.shape:.6g}"
    return f"{{distribution:{duration.distribution},mean:{mean},shape:{shape}}}"
