"""asyncopt: replay asynchrony traces against Optax optimizers, and check what theory says about staleness.

A trace says when, and from which iterate, each gradient came. A problem says what is minimised. An Optax optimizer
says how to step. `replay` puts the three together in one compiled program.

The public names are listed in ``__init__.pyi``. Each is imported at first use: reading a trace needs no JAX, and
using an optimizer needs neither Hydra nor pandas.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
