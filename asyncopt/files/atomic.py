"""Files that are written whole or not at all."""

import contextlib
import fcntl
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

# A temporary file this old, in seconds, was left behind by a process that was killed.
_FORGOTTEN = 3600.0
_PARTIAL = ".partial"


def write(path: pathlib.Path, writer: Callable[[pathlib.Path], Any]) -> None:
    """Lets ``writer`` write under a temporary name, then renames: no half file is ever seen under ``path``.

    Args:
      path: the file to make or replace.
      writer: writes to the path that it is given, which has the same suffix.

    Raises:
      OSError: if the file cannot be written; what was there before stays.
    """
    _remove_forgotten(path)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=_PARTIAL + path.suffix)
    os.close(handle)
    partial = pathlib.Path(name)
    try:
        writer(partial)
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def alone_in(folder: pathlib.Path) -> Iterator[None]:
    """Locks a folder against other processes that call this, so that the files of one run stay together."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # releases the lock, as the end of the process would


def _remove_forgotten(path: pathlib.Path) -> None:
    """Removes the temporary files that killed processes have left behind."""
    for partial in path.parent.glob(f"tmp*{_PARTIAL}{path.suffix}"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - partial.stat().st_mtime > _FORGOTTEN:
                partial.unlink()
