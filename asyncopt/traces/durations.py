"""Random durations in the cluster model: distributions of seconds, whose mean may differ from worker to worker."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from asyncopt.checks import InputError, check_number

# Draws of mean 1 for each distribution: (generator, shape parameter, size) -> float[size].
_UNIT_MEAN: Mapping[str, Callable[[np.random.Generator, float, int], np.ndarray]] = {
    "constant": lambda generator, shape, size: np.ones(size),
    "exponential": lambda generator, shape, size: generator.exponential(1.0, size),
    "gamma": lambda generator, shape, size: generator.gamma(shape, 1 / shape, size),
    "half_normal": lambda generator, shape, size: np.sqrt(np.pi / 2) * np.abs(generator.normal(0.0, 1.0, size)),
    "lognormal": lambda generator, shape, size: generator.lognormal(-(shape**2) / 2, shape, size),
    "pareto": lambda generator, shape, size: (shape - 1) / shape * (1 + generator.pareto(shape, size)),
}
# For the distributions that have a `shape`: its meaning, and the value that it must exceed.
_SHAPE = {
    "gamma": ("the shape parameter", 0.0),
    "lognormal": ("sigma, the standard deviation of the logarithm", 0.0),
    "pareto": ("the tail's exponent", 1.0),
}


@dataclasses.dataclass(frozen=True)
class Duration:
    """A random number of seconds.

    Args:
      distribution: "constant", "exponential", "gamma", "half_normal", "lognormal" or "pareto".
      mean: the mean in seconds, at least 0; or one mean for each worker; or a mapping with ``base``, ``factor``,
        ``exponent`` and ``first`` (by default 0, 1, 1 and 0) that makes it base + factor · (i + first)^exponent for
        worker i.
      shape: gamma's shape parameter (above 0), lognormal's sigma (above 0), or pareto's tail exponent (above 1). The
        other distributions have no shape.

    Raises:
      InputError: for an unknown distribution, or a number out of range.
    """

    distribution: str
    mean: float | Sequence[float] | Mapping[str, float] = 1.0
    shape: float | None = None

    def __post_init__(self):
        if self.distribution not in _UNIT_MEAN:
            raise InputError(f"distribution is {self.distribution!r}, expected one of {sorted(_UNIT_MEAN)}")
        if isinstance(self.mean, Mapping):
            self.means("mean", 1)  # refuses bad numbers
        else:
            means = np.atleast_1d(np.asarray(self.mean, dtype=object))
            for index, mean in enumerate(means):
                name = f"mean of the {self.distribution} duration" + (f", worker {index}" if len(means) > 1 else "")
                check_number(name, mean, at_least=0)
        meaning, above = _SHAPE.get(self.distribution, (None, 0.0))
        if meaning is None and self.shape is not None:
            raise InputError(f"shape is {self.shape!r}, but a {self.distribution} duration has none")
        if meaning is not None:
            check_number(f"shape of the {self.distribution} duration ({meaning})", self.shape, above=above)

    def unit_draws(self, generator: np.random.Generator, size: int) -> Float[np.ndarray, " size"]:
        """Returns ``size`` independent draws, scaled to mean 1."""
        return _UNIT_MEAN[self.distribution](generator, self.shape or 0.0, size)

    def means(self, name: str, num_workers: int) -> Float[np.ndarray, " p"]:
        """Returns the mean in seconds of each worker.

        Args:
          name: the user's name for the duration; the error message starts with it.
          num_workers: p.

        Raises:
          InputError: if there are several means, and not one for each worker.
        """
        if isinstance(self.mean, Mapping):
            return _power_means(name, self.mean, num_workers)
        means = np.atleast_1d(np.asarray(self.mean, dtype=float))
        if len(means) not in (1, num_workers):
            raise InputError(
                f"{name} has {len(means)} means, expected one"
                + (f", or one for each of the {num_workers} workers" if num_workers > 1 else "")
            )
        return np.broadcast_to(means, num_workers)


def _power_means(name: str, settings: Mapping[str, float], num_workers: int) -> Float[np.ndarray, " p"]:
    """Returns base + factor · (i + first)^exponent seconds for worker i."""
    known = {"base": 0.0, "factor": 1.0, "exponent": 1.0, "first": 0.0}
    if not settings.keys() <= known.keys():
        raise InputError(f"{name} has the mean {dict(settings)!r}, expected {', '.join(known)}")
    base, factor, exponent, first = (
        check_number(f"{name}: {key} of its mean", settings.get(key, default), at_least=0)
        for key, default in known.items()
    )
    return base + factor * (np.arange(num_workers) + first) ** exponent


@dataclasses.dataclass(frozen=True)
class Total:
    """A sum of independent durations, such as a fixed part and a random one; only a `Clock` takes it.

    Args:
      terms: the durations, at least one.

    Raises:
      InputError: if there is none, or one is not a `Duration`.
    """

    terms: tuple[Duration, ...]

    def __post_init__(self):
        if not self.terms or not all(isinstance(term, Duration) for term in self.terms):
            raise InputError(f"a sum of durations has the terms {self.terms!r}, expected at least one Duration")


AnyDuration = Duration | Mapping | Sequence[float] | float | str


def constant(mean: float | Sequence[float]) -> Duration:
    """Returns a duration that is always ``mean`` seconds."""
    return Duration("constant", mean)


def exponential(mean: float | Sequence[float]) -> Duration:
    """Returns an exponential duration with ``mean`` seconds."""
    return Duration("exponential", mean)


def gamma(mean: float | Sequence[float], shape: float) -> Duration:
    """Returns a gamma duration with ``mean`` seconds; its coefficient of variation is 1/√shape."""
    return Duration("gamma", mean, shape)


def lognormal(mean: float | Sequence[float], sigma: float) -> Duration:
    """Returns a lognormal duration with ``mean`` seconds; ``sigma`` is the standard deviation of the logarithm."""
    return Duration("lognormal", mean, sigma)


def pareto(mean: float | Sequence[float], shape: float) -> Duration:
    """Returns a Pareto duration with ``mean`` seconds and P(duration > t) ~ t^-shape, shape above 1."""
    return Duration("pareto", mean, shape)


def half_normal(scale: float | Sequence[float]) -> Duration:
    """Returns the absolute value of a normal number whose standard deviation is ``scale``.

    Its mean is scale · √(2/π).

    Args:
      scale: at least 0; one number, or one for each worker.

    Raises:
      InputError: if a scale is not such a number.
    """
    scales = np.ravel(np.asarray(scale, dtype=object))
    means = [np.sqrt(2 / np.pi) * check_number("scale", one, at_least=0) for one in scales]
    return Duration("half_normal", means if np.ndim(scale) else means[0])


def total(*terms: AnyDuration) -> Total:
    """Returns the sum of independent durations, each in one of the forms that `as_duration` takes."""
    return Total(tuple(as_duration(f"term {number}", term) for number, term in enumerate(terms)))


def as_total(name: str, value: AnyDuration | Total) -> Total:
    """Returns ``value`` as a sum: what `as_duration` takes, or a `Total`, or a mapping ``{"sum": [...]}`` of terms.

    Raises:
      InputError: as `as_duration` does.
    """
    if isinstance(value, Total):
        return value
    if isinstance(value, Mapping) and value.get("sum") is not None:
        terms = value["sum"]
        if (
            any(value[key] is not None for key in value if key != "sum")
            or isinstance(terms, str | Mapping)
            or not isinstance(terms, Sequence)
            or not terms
        ):
            raise InputError(
                f"{name} is {dict(value)!r}, expected sum alone, with a list of durations, or null besides"
            )
        return Total(tuple(as_duration(f"{name}, term {number}", term) for number, term in enumerate(terms)))
    return Total((as_duration(name, value),))


def as_duration(name: str, value: AnyDuration) -> Duration:
    """Returns ``value`` as a Duration.

    Args:
      name: the user's name for the duration; the error message starts with it.
      value: a Duration; a number of seconds or one for each worker (constant); the name of a distribution (mean 1 s);
        or a mapping with the fields of a Duration, as in ``conf/``.

    Raises:
      InputError: if ``value`` is something else, or a field is out of range.
    """
    try:
        if isinstance(value, Duration):
            return value
        if isinstance(value, str):
            return Duration(value)
        if isinstance(value, Mapping):
            return Duration(**{str(key): field for key, field in value.items() if key != "sum" or field is not None})
        return Duration("constant", value)
    except (InputError, TypeError) as error:
        raise InputError(f"{name}: {error}") from error
