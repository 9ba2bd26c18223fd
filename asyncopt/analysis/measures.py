"""The numbers that claims are about, computed from the cells' means over all seeds, and over all but one."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Int

from asyncopt.analysis import fits, jackknife
from asyncopt.analysis import inflation as inflations
from asyncopt.analysis.bootstrap import Estimate
from asyncopt.analysis.studies import Study

# An excess is significant if its mean over paired seeds is this many standard errors above zero.
SIGNIFICANT = 4.0
# A gain below this share of the mean without delay is ignored.
LITTLE = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Measures:
    """A study with its statistics over all seeds and without each seed.

    In all arrays with an axis R, row 0 belongs to all seeds, and row i to all but the i-th.
    """

    study: Study

    @functools.cached_property
    def means(self) -> Float[np.ndarray, "R C"]:
        """Means over seeds of each cell."""
        return jackknife.means(self.study.finite)

    def estimate(self, values: Float[np.ndarray, " R"]) -> Estimate:
        """Returns row 0 with its interval over seeds."""
        return jackknife.estimate(values)

    @property
    def delay(self) -> Float[np.ndarray, " C"]:
        """The root mean square delay of each cell."""
        return self.study.cells["delay"].to_numpy()

    def num_updates(self, cells: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Returns K of each cell."""
        return self.study.cells["num_updates"].to_numpy(float)[cells]

    def slopes(self, rule: str, among: Int[np.ndarray, " n"] | None = None) -> Float[np.ndarray, " R"]:
        """Returns the exponent of K in the mean along a rule, or ``among`` some of its cells."""
        cells = self.study.where(rule) if among is None else among
        side = np.where(self.study.censored[cells], fits.AT_LEAST, fits.EXACT)
        with np.errstate(divide="ignore", invalid="ignore"):
            return fits.power_law_slope(self.num_updates(cells), self.means[:, cells], side)[:, 1]

    @functools.cached_property
    def partner(self) -> Int[np.ndarray, " C"]:
        """For each cell, the cell without delay at the same K, or -1."""
        num_updates = self.study.cells["num_updates"]
        by_updates = {num_updates.iloc[cell]: cell for cell in self.study.where(self.study.reference)}
        return np.array([by_updates.get(k, -1) for k in num_updates])

    @functools.cached_property
    def excess(self) -> tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"]]:
        """Mean and standard error, over seeds, of each cell's excess over its partner; NaN without a partner."""
        finite, num_seeds = self.study.finite, len(self.study.seeds)
        difference = np.where(self.partner >= 0, finite - finite[:, self.partner], np.nan)
        spread = difference.std(axis=0, ddof=1) if num_seeds > 1 else np.full(finite.shape[1], np.nan)
        return difference.mean(axis=0), spread / np.sqrt(num_seeds)

    @functools.cached_property
    def in_delay_term(self) -> Bool[np.ndarray, " C"]:
        """Whether a cell's excess is a correction, so that it enters the fit of the delay term.

        If the excess is larger than the mean without delay, the run no longer converges. Such runs are all about
        equally bad, so they would make any power look small.
        """
        (mean, error), without = self.excess, self.means[0, self.partner]
        return (self.delay > 0) & (error > 0) & (mean <= without)

    @functools.cached_property
    def significant(self) -> Bool[np.ndarray, " C"]:
        """Whether a cell's excess is significant."""
        mean, error = self.excess
        return (mean > 0) & (mean >= SIGNIFICANT * error)

    @functools.cached_property
    def helped(self) -> Bool[np.ndarray, " C"]:
        """Whether a cell is below its partner, significantly and by more than `LITTLE` of it."""
        (mean, error), without = self.excess, self.means[0, self.partner]
        return (self.delay > 0) & (mean < 0) & (mean <= -SIGNIFICANT * error) & (mean < -LITTLE * without)

    def excess_exponents(self, shortest: float = 0.0) -> Float[np.ndarray, "R 3"] | None:
        """Returns the c, p and q of excess = e^c τ^p K^q over runs of at least ``shortest`` updates.

        None with fewer than 4 significant cells.
        """
        among = self.in_delay_term & (self.num_updates(np.arange(len(self.study.cells))) >= shortest)
        cells = np.flatnonzero(among)
        if (among & self.significant).sum() < 4:
            return None
        excess, error = self.means[:, cells] - self.means[:, self.partner[cells]], self.excess[1][cells]
        return fits.power_law_surface(self.delay[cells], self.num_updates(cells), excess, error)

    @functools.cached_property
    def inflation(self) -> tuple[Float[np.ndarray, "R C"], Int[np.ndarray, "R C"]]:
        """The inflation of each cell, and whether it is exact or a lower limit; NaN where it has no meaning."""
        study, means = self.study, self.means
        value, side = np.full(means.shape, np.nan), np.full(means.shape, fits.EXACT)
        reference = study.where(study.reference)
        if len(reference) < 2 or (means[:, reference] <= 0).any():
            return value, side
        horizons, accuracies = self.num_updates(reference), means[:, reference]
        for cell, (k, diverged) in enumerate(zip(study.cells["num_updates"], study.censored, strict=True)):
            reached = np.full(len(means), np.inf) if diverged else np.maximum(means[:, cell], 0)
            with np.errstate(divide="ignore"):
                value[:, cell], side[:, cell] = inflations.inflation(horizons, accuracies, k, reached)
        return value, side

    def inflation_slopes(self, rule: str, among: Int[np.ndarray, " n"] | None = None) -> Float[np.ndarray, " R"]:
        """Returns the exponent of K in the inflation along a rule, or ``among`` some of its cells."""
        cells = self.study.where(rule) if among is None else among
        value, side = (part[:, cells] for part in self.inflation)
        return fits.power_law_slope(self.num_updates(cells), value, side)[:, 1]

    @functools.cached_property
    def thresholds(self) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "R n"], Int[np.ndarray, "R n"]]:
        """Each K with delays tried, its largest harmless delay, and whether that is exact or a limit."""
        return self._thresholds(squares=False)

    @functools.cached_property
    def thresholds_by_squares(self) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "R n"], Int[np.ndarray, "R n"]]:
        """As `thresholds`, but interpolated in the square of the delay."""
        return self._thresholds(squares=True)

    def _thresholds(self, squares: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        num_updates, (value, _) = self.study.cells["num_updates"].to_numpy(), self.inflation
        lengths = np.unique(num_updates[self.delay > 0])
        largest = np.full((len(self.means), len(lengths)), np.nan)
        side = np.full(largest.shape, fits.EXACT)
        for column, k in enumerate(lengths):
            tried = np.flatnonzero((num_updates == k) & (self.delay > 0))
            # Rules that round to the same delay are one point.
            delays, first = np.unique(self.delay[tried], return_index=True)
            largest[:, column], side[:, column] = inflations.threshold(delays, value[:, tried[first]], squares)
        return lengths, largest, side

    @property
    def threshold_spacing(self) -> float:
        """The largest factor between the two delays tried on both sides of a threshold, over all K."""
        num_updates, value, side = self.thresholds
        factors = [1.0]
        for k, threshold in zip(num_updates[side[0] == fits.EXACT], value[0, side[0] == fits.EXACT], strict=True):
            tried = np.unique(self.delay[(self.study.cells["num_updates"].to_numpy() == k) & (self.delay > 0)])
            right = int(np.clip(np.searchsorted(tried, threshold), 1, len(tried) - 1))
            factors.append(float(tried[right] / tried[right - 1]))
        return max(factors)

    @functools.cached_property
    def threshold_fit(self) -> Float[np.ndarray, "R 2"]:
        """The c and p of log τ* = c + p log K."""
        return self.threshold_power(slice(None))

    def threshold_power(self, lengths: slice, squares: bool = False) -> Float[np.ndarray, "R 2"]:
        """Returns c and p of log τ* = c + p log K over some of the K of `thresholds`, or `thresholds_by_squares`."""
        num_updates, value, side = self.thresholds_by_squares if squares else self.thresholds
        return fits.power_law_slope(num_updates[lengths].astype(float), value[:, lengths], side[:, lengths])
