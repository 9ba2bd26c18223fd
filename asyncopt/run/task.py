"""From a configuration to a task: checks its values, makes its trace, and hashes all that affects its results."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from asyncopt import runtime, traces
from asyncopt.checks import InputError, check_distinct, check_integer, check_number
from asyncopt.engine import Settings
from asyncopt.files import fingerprints
from asyncopt.run import resolvers, staleness
from asyncopt.traces import Trace
from asyncopt.traces.rounds import gradients_a_round

resolvers.register()


@dataclasses.dataclass(frozen=True)
class Task:
    """A validated configuration with its trace, ready to run.

    Args:
      settings: the configuration, resolved, as plain values.
      trace: the trace that the configuration asks for; for a real run, which records its own, a synchronous one.
    """

    settings: dict[str, Any]
    trace: Trace

    @property
    def seeds(self) -> Sequence[int]:
        """Seeds of the run."""
        return _seeds("seeds", self.settings["seeds"])

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of everything that affects the results."""
        return fingerprints.fingerprint(self.settings, self.trace.digest)

    @property
    def is_real(self) -> bool:
        """Whether real workers train, and no trace is replayed."""
        return self.settings["runtime"] is not None

    @property
    def num_side_by_side(self) -> int:
        """The number of seeds of a replay, or of workers of a real run: they share the cores."""
        return self.settings["runtime"]["workers"] if self.is_real else len(self.seeds)

    @property
    def measured(self) -> Settings:
        """How the run is measured."""
        return Settings(**{field.name: self.settings[field.name] for field in dataclasses.fields(Settings)})


def prepare(config: DictConfig) -> Task:
    """Checks a configuration, and makes its trace.

    Args:
      config: a configuration as in ``conf/config.yaml``.

    Raises:
      InputError: as `checked` does, or if the trace refuses its settings.
    """
    settings = checked(config)
    return Task(settings, _trace(settings))


def checked(config: DictConfig) -> dict[str, Any]:
    """Returns the resolved configuration as plain values. Later code does not use Hydra's own object.

    Raises:
      InputError: if it cannot be resolved, or a setting is invalid or has no effect; the message names the key, and
        what was expected.
    """
    _check_staleness(_plain(config, resolve=False))  # first, since resolving the configuration needs it
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(f"{missing[0]} has no value, expected {missing[0]}=... on the command line")
    settings = _plain(config, resolve=True)
    for name, check in _CHECKS.items():
        check(name, settings[name])
    seeds, history_dtype = settings["seeds"], settings["history_dtype"]
    num_seeds = len(seeds) if isinstance(seeds, list) else seeds
    if settings["runtime"] is not None and (num_seeds != 1 or history_dtype is not None):
        raise InputError(
            f"seeds is {seeds} and history_dtype {history_dtype}, expected one seed, seeds=[0], and "
            "history_dtype=null: a real run keeps no history; a sweep makes several runs: -m seeds=[0],[1]"
        )
    return settings


def _plain(config: DictConfig, *, resolve: bool) -> dict[str, Any]:
    settings = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _seeds(name: str, seeds: Any) -> Sequence[int]:
    if isinstance(seeds, list):
        checked = [check_integer(name, seed, at_least=0) for seed in seeds]
        check_distinct(name, checked)
        return checked
    return range(check_integer(name, seeds, at_least=1))


def _check_precision(name: str, precision: Any) -> None:
    if precision not in ("float32", "float64"):
        raise InputError(f"{name} is {precision!r}, expected float32 or float64")


def _check_boolean(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise InputError(f"{name} is {value!r}, expected true or false")


def _check_cache(name: str, cache: Any) -> None:
    if not isinstance(cache, bool | str):
        raise InputError(f"{name} is {cache!r}, expected true, false or a folder")


def _unless_null(check: Callable[..., object], **limits: float) -> Callable[[str, Any], object]:
    return lambda name, value: None if value is None else check(name, value, **limits)


def _check_runtime(name: str, runtime: Any) -> None:
    if runtime is not None:
        check_integer(f"{name}.workers", runtime["workers"], at_least=1)


# Checks of the top-level values. The objects that the groups describe check their own settings.
_CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    "seeds": _seeds,
    "runtime": _check_runtime,
    "average": _check_boolean,
    "precision": _check_precision,
    "compilation_cache": _check_cache,
    "threads": _unless_null(check_integer, at_least=1),
    "checkpoint_seconds": _unless_null(check_number, above=0),
}


def _trace(settings: Mapping[str, Any]) -> Trace:
    make = constructor("trace", settings["trace"])
    is_real, recorded = settings["runtime"] is not None, make.func is runtime.record
    if recorded and is_real:
        with errors_of("trace"):
            return traces.synchronous(settings["trace"]["num_updates"])
    if recorded:
        raise InputError(
            "trace: trace=recorded is for real runs, expected runtime=threads, or trace=file trace.path=..."
        )
    if is_real:
        raise InputError(
            f"trace: a real run makes its own, expected no {settings['trace']['_target_']}, but trace.num_updates=..."
        )
    with errors_of("trace"):
        trace = make()
    if make.func is traces.rounds:
        taken = gradients_a_round(trace.num_workers, settings["trace"].get("take"))
        check_rounds("trace", settings["handling"], taken)
    return trace


def check_rounds(name: str, handling: Mapping[str, Any] | None, gradients: int) -> None:
    """Refuses an optimizer that would not step once a round with the mean of its gradients.

    Raises:
      InputError: starting with ``name``.
    """
    wanted = {"_target_": "asyncopt.optim.buffer_updates", "size": gradients, "exponent": 0.0}
    if handling != wanted:
        raise InputError(
            f"{name}: rounds are for an optimizer that steps once a round, expected +handling=buffer_updates "
            f"handling.size={gradients} handling.exponent=0, as +method=synchronous_amsgrad sets it"
        )


def constructor(group: str, settings: Mapping[str, Any]) -> functools.partial:
    """Returns the ``_target_`` of a group with its arguments; the caller adds objects that Hydra must not see.

    Raises:
      InputError: if there is no such target; the message starts with the group.
    """
    with errors_of(group):
        return instantiate(settings, _convert_="all", _partial_=True)


@contextlib.contextmanager
def errors_of(group: str) -> Iterator[None]:
    """Turns a constructor's errors about the user's input into an InputError that starts with the config group."""
    try:
        yield
    except (InstantiationException, InputError, OSError, TypeError) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(cause, InputError | OSError) or "unexpected keyword argument" in str(cause):
            raise InputError(f"{group}: {cause}") from error
        raise


def _check_staleness(unresolved: Mapping[str, Any]) -> None:
    """Refuses a rule that cannot be read, and one that the trace does not use: it would change nothing."""
    rule, trace = unresolved["staleness"], unresolved["trace"]
    if rule is None:
        return
    staleness.parse(rule)
    if not any(str(value).startswith(resolvers.PREFIXES) for value in trace.values()):
        raise InputError(
            f"staleness is {rule!r}, but the delays of {trace['_target_']} were set otherwise; "
            "expected staleness=null, or a trace whose delay is not set by hand"
        )
