"""asyncopt: replay asynchrony traces against Optax optimizers, and check what theory says about staleness.

A trace says when, and from which iterate, each gradient came; a problem says what is minimised; an Optax
optimizer says how to step; `replay` puts the three together in one compiled program.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncopt import analysis, optim, problems, runtime, theory, traces
    from asyncopt.checks import InputError
    from asyncopt.constraints import Box, L2Ball
    from asyncopt.optim import apam, delay_gradients, scale_by_apam
    from asyncopt.replay import replay
    from asyncopt.store import load_runs

# Where each public name lives. They are imported at first use, so that whoever reads a trace needs no JAX, and
# whoever takes the optimizer needs no Hydra and no pandas.
_HOMES = {
    "Box": "asyncopt.constraints",
    "InputError": "asyncopt.checks",
    "L2Ball": "asyncopt.constraints",
    "analysis": None,
    "apam": "asyncopt.optim",
    "delay_gradients": "asyncopt.optim",
    "load_runs": "asyncopt.store",
    "optim": None,
    "problems": None,
    "replay": None,  # the package can be called, see there
    "runtime": None,
    "scale_by_apam": "asyncopt.optim",
    "theory": None,
    "traces": None,
}

__all__ = [
    "Box",
    "InputError",
    "L2Ball",
    "analysis",
    "apam",
    "delay_gradients",
    "load_runs",
    "optim",
    "problems",
    "replay",
    "runtime",
    "scale_by_apam",
    "theory",
    "traces",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asyncopt' has no attribute {name!r}")
    home = _HOMES[name]
    if home is None:
        return importlib.import_module(f"asyncopt.{name}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
