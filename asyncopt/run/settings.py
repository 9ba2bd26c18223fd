"""Checks the values of a configuration, before anything is made from them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from asyncopt.checks import InputError, check_flag, check_integer, check_number, check_seeds
from asyncopt.run import resolvers, staleness


def checked(config: DictConfig) -> dict[str, Any]:
    """Returns the resolved configuration as plain values. Later code does not use Hydra's own object.

    Raises:
      InputError: if it cannot be resolved, or a setting is invalid or has no effect; the message names the key, and
        what was expected.
    """
    unresolved = _plain(config, resolve=False)
    _check_keys(unresolved)
    _check_data(unresolved)
    _check_staleness(unresolved)  # before the configuration is resolved, which needs it
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise InputError(f"{missing[0]} has no value, expected {missing[0]}=... on the command line")
    settings = _plain(config, resolve=True)
    for name, check in _CHECKS.items():
        check(name, settings[name])
    for group in ("problem", "optimizer"):
        own = settings[group].get("constraint", settings["constraint"])
        if own != settings["constraint"]:
            raise InputError(
                f"{group}.constraint is {own!r}, expected +constraint=NAME, which sets it for F* and steps"
            )
    if settings["step_factor"] != 1 and "step_factor" not in str(unresolved["optimizer"]["learning_rate"]):
        raise InputError(
            f"step_factor is {settings['step_factor']}, and optimizer.learning_rate does not use it, expected a method "
            "of method/lm or method/pipeline, or optimizer.learning_rate=..."
        )
    _check_policy(settings)
    if settings["work"] is not None and settings["runtime"] is not None:
        raise InputError(f"work is {settings['work']['_target_']}, expected work=null: real workers compute gradients")
    seeds, history_dtype = settings["seeds"], settings["history_dtype"]
    num_seeds = len(seeds) if isinstance(seeds, list) else seeds
    if settings["runtime"] is not None and (num_seeds != 1 or history_dtype is not None):
        raise InputError(
            f"seeds is {seeds} and history_dtype {history_dtype}, expected one seed, seeds=[0], and "
            "history_dtype=null: a real run keeps no history; a sweep makes several runs: -m seeds=[0],[1]"
        )
    return settings


def _check_policy(settings: Mapping[str, Any]) -> None:
    """Refuses a policy where no server asks it, and two descriptions of one server."""
    policy, runtime = settings["policy"], settings["runtime"]
    if policy is None:
        return
    if runtime is None and "policy" not in settings["trace"]:
        raise InputError(
            f"policy: {policy['_target_']} changes nothing about {settings['trace']['_target_']}, "
            "expected trace=policy, runtime=threads or runtime=ray"
        )
    if runtime is not None and runtime["synchronous"]:
        raise InputError("runtime.synchronous is true and a policy is given, expected one; policy=rounds is both")


def _plain(config: DictConfig, *, resolve: bool) -> dict[str, Any]:
    settings = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _check_precision(name: str, precision: Any) -> None:
    if precision not in ("float32", "float64"):
        raise InputError(f"{name} is {precision!r}, expected float32 or float64")


def _check_cache(name: str, cache: Any) -> None:
    if not isinstance(cache, bool | str):
        raise InputError(f"{name} is {cache!r}, expected true, false or a folder")


def _checked_later(name: str, value: Any) -> None:
    """Accepts any value."""


def _unless_null(check: Callable[..., object], **limits: float) -> Callable[[str, Any], object]:
    return lambda name, value: None if value is None else check(name, value, **limits)


def _check_runtime(name: str, runtime: Any) -> None:
    if runtime is not None:
        check_integer(f"{name}.workers", runtime["workers"], at_least=1)
        check_flag(f"{name}.synchronous", runtime["synchronous"])


# Checks of the top-level values. The objects that the groups describe check their own settings.
_CHECKS: Mapping[str, Callable[[str, Any], object]] = {
    "seeds": check_seeds,
    "runtime": _check_runtime,
    "average": check_flag,
    "precision": _check_precision,
    "compilation_cache": _check_cache,
    "threads": _unless_null(check_integer, at_least=1),
    "step_factor": lambda name, value: check_number(name, value, above=0),
    "checkpoint_seconds": _unless_null(check_number, above=0),
    "force": check_flag,
    "plot": check_flag,
    "progress": check_flag,
    # The engine checks these.
    "eval_every": _checked_later,
    "history_dtype": _checked_later,
    "param_dtype": _checked_later,
    "record_bounds": _checked_later,
    "staleness": _checked_later,
}


# What a configuration has besides these values: groups, and null where one is optional, with the keys that code reads
# here. What else a group needs, its constructor says.
_GROUPS: Mapping[str, Sequence[str]] = {
    "problem": ["_target_"],
    "optimizer": ["_target_", "learning_rate"],
    "trace": ["_target_"],
}
_OPTIONAL_GROUPS: Mapping[str, Sequence[str]] = {
    "constraint": ["_target_"],
    "data": ["_target_"],
    "handling": ["_target_"],
    "policy": ["_target_"],
    "runtime": ["_target_", "workers", "synchronous"],
    "work": ["_target_"],
}


def _check_keys(unresolved: Mapping[str, Any]) -> None:
    """Refuses a configuration that lacks a key, and one with a key that has no effect, which may be misspelt."""
    for name in (*_CHECKS, *_GROUPS, *_OPTIONAL_GROUPS):
        if name not in unresolved:
            raise InputError(f"{name} is missing, expected {name}=... on the command line")
    for name, keys in {**_GROUPS, **_OPTIONAL_GROUPS}.items():
        group = unresolved[name]
        if group is None and name in _OPTIONAL_GROUPS:
            continue
        if not isinstance(group, Mapping):
            raise InputError(f"{name} is {group!r}, expected {name}=NAME; --help lists the names")
        for key in keys:
            if key not in group:
                raise InputError(f"{name}.{key} is missing, expected +{name}.{key}=... on the command line")
    known = {*_CHECKS, *_GROUPS, *_OPTIONAL_GROUPS}
    for name in unresolved:
        if name not in known and not _refers(unresolved, name):
            raise InputError(f"{name}: no such key, and no other value refers to it; expected one of {sorted(known)}")


def _refers(unresolved: Mapping[str, Any], name: str) -> bool:
    """Whether a value of a configuration refers to the key ``name``."""
    text = json.dumps(unresolved, default=str)
    return re.search(rf"\$\{{[^}}]*(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _check_data(unresolved: Mapping[str, Any]) -> None:
    """Refuses data that the command line asks for where the problem has none; the default ones are just not read."""
    if unresolved["data"] is None or _refers(unresolved, "data") or not HydraConfig.initialized():
        return
    for override in HydraConfig.get().overrides.task:
        if re.match(r"\+*data[=.@]", override):
            raise InputError(
                f"{override}: the problem {unresolved['problem']['_target_']} has no data, expected no {override}, "
                "or another problem"
            )


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
