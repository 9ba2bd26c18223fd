"""Errors of the command line, ours, Hydra's and the system's, each in one line."""

import difflib
import os
import re
from collections.abc import Callable, Iterable
from typing import Any

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from asyncopt.checks import InputError

# Hydra prints whole tracebacks, and lets errors pass, if this variable is 1.
FULL = "HYDRA_FULL_ERROR"
_FROM_A_RESOLVER = "InputError raised while resolving interpolation: "
_LONGEST = 600  # characters; a value in a message may be a whole array


def explain(error: BaseException, keys: Callable[[], Iterable[str]]) -> str:
    """Returns what went wrong, in one line of at most about 600 characters.

    Args:
      error: what was raised.
      keys: returns the dotted keys of the configuration, among which a misspelt one is looked for.
    """
    line = _explain(error, keys)
    # The end of a message says what was expected.
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"


def _explain(error: BaseException, keys: Callable[[], Iterable[str]]) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        known = list(error.options or ())
        if not group:
            return f"{option}: no such configuration"
        return f"{group}={option}: no such option, expected {_one_of(known)}{_did_you_mean(option, known)}"
    if isinstance(error, ConfigCompositionException) and (match := re.match(r"Could not override '([^']*)'", text)):
        key, known_keys = match[1], list(keys())
        if "." not in key and key in known_keys:
            return f"{key} is off, expected +{key}=NAME to choose one"
        return f"{key}: no such key, +{key}=... adds one, --help lists all{_did_you_mean(key, known_keys)}"
    twice = r"Multiple values for ([\w/]+)\.|([\w/]+) appears more than once in the final defaults list"
    if isinstance(error, ConfigCompositionException) and (match := re.match(twice, text)):
        group = match[1] or match[2]
        return f"{group} is given twice: it has a value already, expected {group}=... without +"
    if isinstance(error, HydraException | OmegaConfBaseException):
        place = error.override if isinstance(error, OverrideParseException) else getattr(error, "full_key", None)
        # The last lines name a page of Hydra's documentation, or what is in `place` and Python's type of it.
        lines = [
            line.strip() for line in str(error).splitlines() if not re.match(r"See |\s*(full_key|object_type)", line)
        ]
        said = " ".join(lines).removeprefix("asyncopt: ").removeprefix(_FROM_A_RESOLVER)
        wanted = _QUOTED if isinstance(error, OverrideParseException) else _wanted(said)
        return (f"{place}: " if place else "") + said + (f", expected {wanted}" if wanted else "")
    if isinstance(error, ValueError) and text.startswith("Config group override must be a string"):
        return f"an option of a group is a name, expected no number, boolean or null ({text})"
    if isinstance(error, ImportError):
        return f"{text}; {_EXTRAS.get(str(error.name).partition('.')[0], 'is the package installed?')}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {text}"
    if isinstance(error, InputError | OSError):
        return text
    return f"{type(error).__name__}: {text or 'no message'}; {FULL}=1 in the environment shows where"


# What to do about some of the errors of Hydra and OmegaConf, which do not say it.
_QUOTED = "key=value; in quotes a value may have any characters: 'key=\"a=b\"'"
_WANTED = {
    "Interpolation key": "the name of another key, which --help lists",
    "Environment variable": "one that is set, or a default: ${oc.env:NAME,DEFAULT}",
    "Could not delete": "~NAME of a group that has an option, or of a key",
}


def _wanted(said: str) -> str:
    return next((what for start, what in _WANTED.items() if start in said), "")


_EXTRAS = {
    "ray": "expected pip install 'asyncopt[ray]'",
    "joblib": "expected pip install 'asyncopt[cluster]'",
    "submitit": "expected pip install 'asyncopt[cluster]'",
    "pooch": "expected pip install 'asyncopt[download]'",
}


def wants_tracebacks() -> bool:
    """Whether the user asked for whole tracebacks."""
    return os.environ.get(FULL) == "1"


def _one_of(options: list[Any]) -> str:
    return f"one of {', '.join(map(str, options))}" if options else "the name of a file there"


def _did_you_mean(word: str, known: list[str]) -> str:
    by_last = {key.rpartition(".")[2]: key for key in reversed(known)}
    near = difflib.get_close_matches(word, known, 1) or [
        by_last[name] for name in difflib.get_close_matches(word.rpartition(".")[2], list(by_last), 1)
    ]
    return f"; did you mean {near[0]}?" if near else ""
