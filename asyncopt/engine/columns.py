"""Checks that what probes record fits into the table of a run."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asyncopt.checks import InputError

# Columns that `asyncopt.engine.Result.to_frame` writes for every run.
_OWN = (
    "seed", "step", "time", "computed", "objective", "gap", "grad_norm_sq", "average_objective", "average_gap",
    "drift",
)  # fmt: skip


def check_columns(probes: Iterable[object], probed: Iterable[Any], metrics: Iterable[str]) -> None:
    """Refuses what probes evaluate to if a table cannot hold it. The values may be traced.

    Args:
      probes: the probes.
      probed: what each of them evaluates to.
      metrics: names of the problem's own measurements.

    Raises:
      InputError: if it is no NamedTuple of scalars, or has a column that the run has already. The message names the
        probe and the column.
    """
    taken = dict.fromkeys(_OWN, "the run") | dict.fromkeys(metrics, "the problem")
    for probe, columns in zip(probes, probed, strict=True):
        name = type(probe).__name__
        if not _is_named_tuple(columns):
            raise InputError(f"the probe {name} evaluates to a {type(columns).__name__}, expected a NamedTuple")
        for column, value in zip(columns._fields, columns, strict=True):
            if not _is_real_scalar(value):
                raise InputError(f"the probe {name} evaluates to {column} = {value!r}, expected a scalar")
            if column in taken:
                raise InputError(
                    f"the probe {name} has a column {column}, as {taken[column]} has; expected each name once"
                )
            taken[column] = f"the probe {name}"


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _is_real_scalar(value: Any) -> bool:
    is_number = isinstance(value, jax.Array | np.ndarray | np.number | float | int)
    return is_number and jnp.shape(value) == () and not jnp.iscomplexobj(value)
