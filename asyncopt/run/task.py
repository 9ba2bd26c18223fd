"""From a configuration to a task: its values are checked, its trace is made, and what it depends on has one hash."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from asyncopt import runtime, traces
from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.engine import Settings
from asyncopt.files import fingerprints
from asyncopt.run import resolvers, staleness
from asyncopt.traces import Trace

resolvers.register()


@dataclasses.dataclass(frozen=True)
class Task:
    """A validated configuration with its trace, ready to run.

    Args:
      settings: the configuration, resolved, as plain values.
      seeds: seeds of the run.
      trace: the trace that the configuration asks for. A real run makes its own: then a synchronous one of its length.
    """

    settings: dict[str, Any]
    seeds: Sequence[int]
    trace: Trace

    @functools.cached_property
    def config(self) -> DictConfig:
        """The same settings for Hydra, which makes objects of them."""
        return OmegaConf.create(self.settings)

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
        """How many share the cores: the seeds of a replay, or the workers of a real run."""
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
      InputError: as of `checked`, or if the trace refuses its settings.
    """
    settings = checked(config)
    return Task(settings, _seeds(settings["seeds"]), _trace(settings))


def checked(config: DictConfig) -> dict[str, Any]:
    """Returns a configuration resolved, as plain values. Hydra's own object goes no further.

    Raises:
      InputError: if it cannot be resolved, or would not do what it seems to ask for; the message names the key, and
        what was expected.
    """
    _check_staleness(_plain(config, resolve=False))  # first, since resolving the configuration needs it
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(f"{missing[0]} has no value, expected {missing[0]}=... on the command line")
    settings = _plain(config, resolve=True)
    seeds = _seeds(settings["seeds"])
    if settings["runtime"] is not None:
        check_integer("runtime.workers", settings["runtime"]["workers"], at_least=1)
        if len(seeds) != 1 or settings["history_dtype"] is not None:
            raise InputError(
                f"seeds is {settings['seeds']} and history_dtype {settings['history_dtype']}, expected one seed, "
                "seeds=[0], and history_dtype=null: a real run keeps no history, and a sweep makes several, -m "
                "seeds=[0],[1]"
            )
    if settings["checkpoint_seconds"] is not None:
        check_number("checkpoint_seconds", settings["checkpoint_seconds"], above=0)
    return settings


def _plain(config: DictConfig, *, resolve: bool) -> dict[str, Any]:
    settings = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _trace(settings: Mapping[str, Any]) -> Trace:
    make = constructor("trace", settings["trace"])
    is_real, recorded = settings["runtime"] is not None, make.func is runtime.record
    if recorded and is_real:
        with errors_of("trace"):
            return traces.synchronous(settings["trace"]["num_updates"])
    if recorded:
        raise InputError(
            "trace: trace=recorded is of real runs, expected runtime=threads, or trace=file trace.path=..."
        )
    if is_real:
        raise InputError(
            f"trace: a real run makes its own, expected no {settings['trace']['_target_']}, but trace.num_updates=..."
        )
    with errors_of("trace"):
        trace = make()
    if make.func is traces.rounds:
        check_rounds("trace", settings["handling"], trace.num_workers)
    return trace


def check_rounds(name: str, handling: Mapping[str, Any] | None, num_workers: int) -> None:
    """Refuses an optimizer that would not step once a round with the mean of its gradients.

    Raises:
      InputError: starting with ``name``.
    """
    wanted = {"_target_": "asyncopt.optim.buffer_updates", "size": num_workers, "exponent": 0.0}
    if handling != wanted:
        raise InputError(
            f"{name}: rounds are for an optimizer that steps once a round, expected +handling=buffer_updates "
            f"handling.size={num_workers} handling.exponent=0, as +method=synchronous_amsgrad sets it"
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
    """Turns what a constructor says about the user's input into an InputError that starts with the config group."""
    try:
        yield
    except (InstantiationException, InputError, OSError, TypeError) as error:
        said = error.__cause__ if isinstance(error, InstantiationException) else error
        if isinstance(said, InputError | OSError) or "unexpected keyword argument" in str(said):
            raise InputError(f"{group}: {said}") from error
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
            "expected staleness=null, or a trace with one such setting, left alone"
        )


def _seeds(seeds: Any) -> Sequence[int]:
    if isinstance(seeds, list):
        return [check_integer("seeds", seed, at_least=0) for seed in seeds]
    return range(check_integer("seeds", seeds, at_least=1))
