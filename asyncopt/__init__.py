"""asyncopt: replay asynchrony traces against Optax optimizers, and check what theory says about staleness.

A trace says when, and from which iterate, each gradient came. A problem says what is minimised. An Optax optimizer
says how to step. `replay` puts the three together in one compiled program.

The public names are listed in ``__init__.pyi``. Each is imported at first use: reading a trace needs no JAX, and
using an optimizer needs neither Hydra nor pandas.
"""

from typing import Any

import lazy_loader

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata

        return metadata.version(__name__)
    return _lazy(name)
