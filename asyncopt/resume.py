"""Whether a run has been made already: what it depends on, as one fingerprint kept with its results."""

import functools
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from asyncopt import store
from asyncopt.checks import InputError
from asyncopt.traces import Trace

# What changes how a run is made or shown, and not what comes out.
SHOWN = ("checkpoint_seconds", "compilation_cache", "force", "plot", "progress")
_PACKAGE = pathlib.Path(__file__).parent


def fingerprint(settings: Mapping[str, Any], trace: Trace) -> str:
    """Returns a hash of all that decides what comes out of a run.

    That is the resolved configuration, the trace, the files whose path the configuration names (size and time of the
    last change), this package's source, and the versions of the packages that compute.

    Args:
      settings: the configuration, resolved.
      trace: that it asks for.
    """
    parts = {
        "config": {key: value for key, value in settings.items() if key not in SHOWN},
        "trace": trace.digest,
        "files": {path: _state(pathlib.Path(path)) for path in sorted(set(_paths(settings)))},
        "source": source(),
        "versions": store.package_versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def finished(folder: pathlib.Path, wanted: str) -> store.Record | None:
    """Returns the run in a folder if it is whole and has the wanted fingerprint."""
    try:
        record = store.load_run(folder)
    except InputError:
        return None
    return record if record.summary.get("fingerprint") == wanted else None


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
def source() -> str:
    """Returns a hash of this package's code."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(_PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
