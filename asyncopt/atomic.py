"""Files that are written whole or not at all."""

import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any


def write(path: pathlib.Path, writer: Callable[[pathlib.Path], Any]) -> None:
    """Lets ``writer`` write under a temporary name, then renames: no half file is ever seen under ``path``.

    Args:
      path: the file to make or replace.
      writer: writes to the path that it is given, which has the same suffix.

    Raises:
      OSError: if the file cannot be written; what was there before stays.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".partial" + path.suffix)
    os.close(handle)
    partial = pathlib.Path(name)
    try:
        writer(partial)
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
