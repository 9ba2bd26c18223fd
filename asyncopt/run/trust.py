"""What a configuration that was read from a folder may name: data does not choose which code runs.

A configuration that a user types may name any constructor, as always with Hydra. One that is read from a folder of
results may be anybody's.
"""

import functools
import importlib
import inspect
from collections.abc import Collection, Iterator, Mapping
from importlib import metadata
from typing import Any

from asyncopt.checks import InputError

ENTRY_POINTS = "asyncopt.constructors"  # the group in which an installed package names constructors of its own
_OUR_MODULES = (
    "asyncopt.optim", "asyncopt.problems", "asyncopt.problems.data", "asyncopt.traces", "asyncopt.traces.policies",
)  # fmt: skip
_OURS = frozenset(
    {
        "asyncopt.apam",
        "asyncopt.Box",
        "asyncopt.L2Ball",
        "asyncopt.engine.local_steps",
        "asyncopt.runtime.record",
        "asyncopt.runtime.ray.Ray",
        "asyncopt.runtime.threads.Threads",
    }
)
_TARGET = "_target_"


def check(where: str, config: Mapping[str, Any], trusted: Collection[str] = ()) -> None:
    """Refuses a configuration that names code which is not known, before anything is imported for it.

    Known are the constructors of asyncopt and Optax's optimizers, those that installed packages name as entry points
    of the group `ENTRY_POINTS`, and those that the user trusts.

    Args:
      where: the file that holds the configuration, for messages.
      config: plain values, at any depth in mappings and lists.
      trusted: full names of further constructors.

    Raises:
      InputError: if it names another one, has an interpolation, or another of Hydra's own keys; the message names the
        file, the key and the value.
    """
    for key, value in _entries(config):
        name = key.rpartition(".")[2]
        if name == _TARGET:
            if not isinstance(value, str) or (value not in trusted and value not in _known()):
                raise InputError(
                    f"{where}: {key} is {value!r}, expected a constructor of asyncopt or an optimizer of Optax; "
                    f"it would run this code: only if you trust it, name it with --trust"
                )
        elif name.startswith("_"):
            raise InputError(f"{where}: {key} is {value!r}, expected no key of Hydra's but {_TARGET}")
        elif isinstance(value, str) and "${" in value:
            raise InputError(f"{where}: {key} is {value!r}, expected a value, as a finished run writes it")


def _entries(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields everything in nested mappings and lists, with dotted keys; a mapping is followed by what it holds."""
    named = config.items() if isinstance(config, Mapping) else enumerate(config)
    for key, value in named:
        yield f"{prefix}{key}", value
        if isinstance(value, Mapping | list | tuple):
            yield from _entries(value, f"{prefix}{key}.")


@functools.cache
def _known() -> frozenset[str]:
    return _OURS | frozenset(_of_asyncopt()) | frozenset(_of_optax()) | frozenset(_of_packages())


def _of_asyncopt() -> Iterator[str]:
    for module in map(importlib.import_module, _OUR_MODULES):
        yield from (f"{module.__name__}.{name}" for name in module.__all__ if callable(getattr(module, name)))


def _of_optax() -> Iterator[str]:
    import optax
    import optax.contrib

    for module in (optax, optax.contrib):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            returned = str(inspect.signature(function).return_annotation).rpartition(".")[2]
            if returned.startswith("GradientTransformation") and not name.startswith("_"):
                yield f"{module.__name__}.{name}"


def _of_packages() -> Iterator[str]:
    return (entry.value.replace(":", ".") for entry in metadata.entry_points(group=ENTRY_POINTS))
