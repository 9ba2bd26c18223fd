"""Whether tuning could have found the best step size: grids that end too early, and grids that differ."""

from collections.abc import Iterable, Sequence

from asyncopt.analysis.comparison import FIRST, Comparison, Trial

# Values that an override adds at an end of a grid.
_NUM_ADDED = 2
# A value is written with as few digits as come this close to it.
_ROUNDING = 0.01


def faults(comparison: Comparison, methods: Sequence[str], clock: str, num_workers: int, quantity: str) -> list[str]:
    """Returns why the tuned methods cannot be compared in a setting; none if their grids are equal and wide enough.

    A best step size at an end of the grid is a fault even if all others never reach the target: a better one may lie
    outside. Gradients a round have ends of their own, 1 and p, where nothing lies outside.
    """
    found = []
    for method in methods:
        best, tried = (
            comparison.tuned(method, clock, num_workers, quantity),
            comparison.tried(method, clock, num_workers),
        )
        if best is None:
            continue
        rates = _rates(trial for trial in tried if trial.taken == best.taken)
        if best.learning_rate in (rates[0], rates[-1]):
            end = "smallest" if best.learning_rate == rates[0] else "largest"
            found.append(f"{method}'s best step size, {best.learning_rate:g}, is the {end} of its grid")
        if _takes_outside(best, tried):
            found.append(f"{method}'s best number of gradients a round, {best.taken}, is an end of its grid")
    grids = {tuple(grid) for method in methods for grid in _grids(comparison, method, clock, num_workers)}
    if len(grids) > 1:
        found.append("the grids of step sizes differ")
    return found


def override(comparison: Comparison) -> str:
    """Returns what to add to the sweep's command so that all grids become equal and wide enough; "" if they are."""
    added: set[float] = set()
    takes: set[int] = set()
    for clock in comparison.clocks:
        for p in comparison.num_workers:
            grids = [grid for method in comparison.methods for grid in _grids(comparison, method, clock, p)]
            every = sorted(set().union(*grids))
            added |= {rate for grid in grids for rate in every if rate not in grid}
            for method in comparison.methods:
                for quantity in comparison.quantities:
                    best = comparison.tuned(method, clock, p, quantity)
                    if best is not None:
                        tried = comparison.tried(method, clock, p)
                        added |= _beyond(best, _rates(t for t in tried if t.taken == best.taken))
                        takes |= _takes_outside(best, tried) if method.endswith(FIRST) else set()
    words = []
    if added:
        words.append("optimizer.learning_rate=" + ",".join(f"{rate:g}" for rate in sorted(added)))
    if takes:
        words.append("trace.take=" + ",".join(map(str, sorted(takes))))
    return " ".join(words)


def _rates(trials: Iterable[Trial]) -> list[float]:
    return sorted({trial.learning_rate for trial in trials})


def _grids(comparison: Comparison, method: str, clock: str, num_workers: int) -> list[list[float]]:
    """Returns the step sizes that a method tried, for each number of gradients a round."""
    tried = comparison.tried(method, clock, num_workers)
    return [_rates(trial for trial in tried if trial.taken == taken) for taken in dict.fromkeys(t.taken for t in tried)]


def _takes_outside(best: Trial, tried: Sequence[Trial]) -> set[int]:
    """Returns numbers of gradients a round to try, if the best one is an end of those tried, and neither 1 nor p."""
    taken = sorted({trial.taken for trial in tried if trial.taken is not None})
    outside = set()
    if best.taken is None or len(taken) == 1:
        return outside
    if best.taken == taken[0] > 1:
        outside |= {max(best.taken // 2, 1), 1}
    if best.taken == taken[-1] < best.num_workers:
        outside |= {min(2 * best.taken, best.num_workers), best.num_workers}
    return outside


def _beyond(best: Trial, rates: Sequence[float]) -> set[float]:
    """Returns step sizes beyond the end of the grid at which the best one lies, spaced as the grid is."""
    ratio = (rates[-1] / rates[0]) ** (1 / (len(rates) - 1)) if len(rates) > 1 else 10**0.5
    added = set()
    if best.learning_rate == rates[0]:
        added |= {_rounded(rates[0] / ratio**n) for n in range(1, _NUM_ADDED + 1)}
    if best.learning_rate == rates[-1]:
        added |= {_rounded(rates[-1] * ratio**n) for n in range(1, _NUM_ADDED + 1)}
    return added


def _rounded(rate: float) -> float:
    candidates = (float(f"{rate:.{digits}g}") for digits in range(1, 17))
    return next(candidate for candidate in candidates if abs(candidate / rate - 1) < _ROUNDING)
