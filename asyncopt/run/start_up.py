"""Imports of large libraries, without what slows them down."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Inside, Python does not search for cycles of objects; afterwards, it does not search in what was imported.

    What is imported stays: looking through it finds nothing. The command also searches seldom at other times.
    """
    before = len(sys.modules)
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if enabled:
            gc.enable()
