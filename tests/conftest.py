"""Strict settings for every test: float64, two devices, shapes checked in the rooms that are all arrays."""

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)

# The same examples in every run: what passes once passes again.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

# Annotated shapes and dtypes are checked at run time here, and only here: users need not pay for it. Where bad
# input must give our own message, the checker is left out, since it would speak first.
install_import_hook(
    [
        "asyncopt.problems.logistic",
        "asyncopt.problems.logistic_optimum",
        "asyncopt.problems.problem",
        "asyncopt.problems.quadratic",
        "asyncopt.replay.engine",
        "asyncopt.replay.measure",
        "asyncopt.replay.plan",
    ],
    "beartype.beartype",
)


@pytest.fixture(scope="session")
def digits():
    """The default problem; its optimum is worth computing once."""
    import asyncopt

    return asyncopt.problems.logistic("digits")
