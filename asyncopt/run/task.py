"""From a configuration to a task: its checked values and its trace, with a hash of all that affects its results."""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from asyncopt import runtime, traces
from asyncopt.checks import InputError, check_seeds
from asyncopt.engine import Settings
from asyncopt.files import fingerprints
from asyncopt.run import resolvers
from asyncopt.run.settings import checked
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
        return check_seeds("seeds", self.settings["seeds"])

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
        """The number of seeds of a replay, or of workers of a real run, which share the cores."""
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


def _trace(settings: Mapping[str, Any]) -> Trace:
    make = constructor("trace", settings["trace"])
    is_real, recorded = settings["runtime"] is not None, make.func is runtime.record
    _check_ringleader(settings)
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


def _check_ringleader(settings: Mapping[str, Any]) -> None:
    """Refuses the policy Ringleader without the optimizer that makes its steps."""
    policy, handling = settings["policy"] or {}, settings["handling"] or {}
    if policy.get("_target_") == "asyncopt.traces.policies.Ringleader" and not (
        handling.get("_target_") == "asyncopt.optim.gradient_table" and handling.get("rounds")
    ):
        raise InputError(
            "policy: ringleader steps with a table of gradients, expected +handling=gradient_table handling.rounds=true"
        )


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
        of_arguments = re.search(r"unexpected keyword|required (keyword|positional)", str(cause))
        if isinstance(cause, InputError | OSError) or of_arguments:
            raise InputError(f"{group}: {cause}") from error
        raise
