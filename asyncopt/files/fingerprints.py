"""Fingerprints: one hash of everything that a run depends on, kept with its results."""

import functools
import hashlib
import importlib.metadata
import json
import pathlib
import platform
from collections.abc import Iterator, Mapping
from typing import Any

# Settings that change how a run is made or shown, but not its results.
SHOWN = ("checkpoint_seconds", "compilation_cache", "force", "plot", "progress")
# Rooms that read finished runs: their code does not affect a run's results.
READERS = ("analysis", "report", "theory")
_PACKAGES = ("asyncopt", "jax", "jaxlib", "optax", "equinox", "numpy", "scipy", "scikit-learn")
_PACKAGE = pathlib.Path(__file__).parents[1]


def fingerprint(settings: Mapping[str, Any], trace_digest: str) -> str:
    """Returns a hash of everything that affects the results of a run.

    That is the resolved configuration, the trace, the files whose path the configuration names (their sizes and the
    times of their last change), the source of the rooms that compute, and the versions of Python and of the packages
    that compute.

    Args:
      settings: the resolved configuration.
      trace_digest: `asyncopt.traces.Trace.digest` of its trace.
    """
    parts = {
        "config": {key: value for key, value in settings.items() if key not in SHOWN},
        "trace": trace_digest,
        "files": {path: _state(pathlib.Path(path)) for path in sorted(set(_paths(settings)))},
        "source": source(but=READERS),
        # Python's own, too: its documentation is a text to train on.
        "versions": {"python": platform.python_version(), **package_versions()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _paths(settings: Any) -> Iterator[str]:
    """Yields every ``path`` in a configuration."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if key == "path" and isinstance(value, str):
                yield value
            yield from _paths(value)


def _state(path: pathlib.Path) -> list[int] | None:
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None


@functools.cache
def source(but: tuple[str, ...] = ()) -> str:
    """Returns a hash of this package's code.

    Args:
      but: rooms (folders of the package) that are left out. The commands beside the rooms, which only call them, are
        left out with them.
    """
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        parts = path.relative_to(_PACKAGE).parts
        if parts[0] not in but and not (but and len(parts) == 1 and parts[0] != "checks.py"):
            digest.update("/".join(parts).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def package_versions() -> dict[str, str]:
    """Returns the versions of the packages that compute."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}
