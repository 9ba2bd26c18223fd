"""Imports of large libraries, without what slows them down."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Inside, Python does not search for cycles of objects; afterwards, it does not search in what was imported.

    By default it does so after every 700 new objects, which takes a sixth of the time of a short run.
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
