"""Rows that are drawn at random, where only their number and their shape matter."""

import numpy as np

from asyncopt.checks import check_integer, check_number, check_seed
from asyncopt.problems.data.dataset import RegressionData


def normal_rows(
    num_rows: int = 10_000, num_features: int = 400, noise: float = 1.0, data_seed: int = 0
) -> RegressionData:
    r"""Rows of standard normal features, with the targets of a linear model and normal noise.

    .. math:: b_i = \langle a_i, w \rangle + \sigma z_i, \quad a_i, w \sim N(0, I), \; z_i \sim N(0, 1)

    Args:
      num_rows: N, at least 1.
      num_features: d, at least 1.
      noise: σ, at least 0.
      data_seed: seed of the draws.

    Raises:
      InputError: if a number is out of range.
    """
    num_rows = check_integer("num_rows", num_rows, at_least=1)
    num_features = check_integer("num_features", num_features, at_least=1)
    noise = check_number("noise", noise, at_least=0)
    generator = np.random.default_rng(check_seed("data_seed", data_seed))
    features = generator.standard_normal((num_rows, num_features))
    weights = generator.standard_normal(num_features)
    targets = features @ weights + noise * generator.standard_normal(num_rows)
    return RegressionData("normal rows", features, targets)
