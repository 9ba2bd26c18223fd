"""A problem from functions and arrays of one's own: a model in JAX, Equinox or Flax, and its data."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.problems.parts import sums_in_parts
from asyncopt.problems.problem import Constants, Described

_ROWS_AT_ONCE = 1024  # of an evaluation of F, so that a large model's activations fit into memory


class FromLoss(Described, eqx.Module):
    """F(x), the mean of a loss over all rows; a mini-batch is rows drawn with replacement.

    Args:
      data: arrays whose first axis has the N rows.
      start: a function of a key that returns a model; a static part of it, such as activations, is kept apart.
      mean_loss: a function of a model and some rows that returns the mean of their losses.
      rest: what of a model is no array of floats.
      batch_size: rows drawn for a gradient.
      optimum: F*, or None.
      constants: constants of F.
    """

    data: PyTree[Array]
    start: Callable[[Key[Array, ""]], Any] = eqx.field(static=True)
    mean_loss: Callable[[Any, PyTree[Array]], Float[Array, ""]] = eqx.field(static=True)
    rest: Any
    batch_size: int = eqx.field(static=True)
    optimum: float | None = None
    constants: Constants | None = None

    @property
    def title(self) -> str:
        """The name of its loss, which tables show."""
        return getattr(self.mean_loss, "__name__", "a loss").replace("_", " ")

    @property
    def num_rows(self) -> int:
        """N."""
        return len(jax.tree.leaves(self.data)[0])

    def init(self, key: Key[Array, ""]) -> PyTree[Array]:
        """Returns the arrays of floats of a model."""
        return eqx.filter(self.start(key), eqx.is_inexact_array)

    def model(self, params: PyTree[Array]) -> Any:
        """Returns the whole model with these parameters."""
        return eqx.combine(params, self.rest)

    def sample(self, key: Key[Array, ""]) -> Int[Array, " b"]:
        """Draws row numbers."""
        return jax.random.randint(key, (self.batch_size,), 0, self.num_rows)

    def loss(self, params: PyTree[Array], batch: Int[Array, " b"]) -> Float[Array, ""]:
        """Returns the mean loss of the rows drawn."""
        return self.mean_loss(self.model(params), jax.tree.map(lambda rows: rows[batch], self.data))

    def objective(self, params: PyTree[Array]) -> Float[Array, ""]:
        """Returns F, the mean loss over all rows, taken in parts of 1,024."""
        model = self.model(params)

        def sum_of(rows: PyTree[Array]) -> Float[Array, ""]:
            return self.mean_loss(model, rows) * len(jax.tree.leaves(rows)[0])

        return sums_in_parts(sum_of, self.data, _ROWS_AT_ONCE) / self.num_rows


def from_loss(
    init: Callable[[Key[Array, ""]], Any],
    loss: Callable[[Any, PyTree[Array]], Float[Array, ""]],
    data: PyTree[Any],
    *,
    batch_size: int = 32,
    optimum: float | None = None,
    constants: Constants | None = None,
) -> FromLoss:
    """Returns the problem of minimising a loss of one's own over rows of data.

    Args:
      init: a function of a key that returns the start: a pytree of arrays, such as Flax's variables, or an Equinox
        module. Its arrays of floats are trained; whatever else it has stays as it is for the first key.
      loss: a function of the model, as ``init`` returns it, and of some rows of ``data``. It returns the mean of their
        losses, a scalar.
      data: a pytree of arrays with N rows each: ``(features, labels)``, say.
      batch_size: rows drawn for a gradient, at least 1.
      optimum: F*, the minimum of F, if it is known: then results have gaps.
      constants: constants of F, for theorems; without them, no bound is computed.

    Raises:
      InputError: if ``data`` has no rows or not as many in each array, or ``loss`` returns no scalar of floats.

    Examples:
      >>> import asyncopt, jax.numpy as jnp
      >>> x, y = jnp.linspace(-1.0, 1.0, 50), jnp.linspace(-2.0, 2.0, 50)
      >>> def squares(slope, rows):
      ...     return jnp.mean((slope * rows[0] - rows[1]) ** 2)
      >>> problem = asyncopt.problems.from_loss(lambda key: jnp.zeros(()), squares, (x, y), optimum=0.0)
      >>> run = asyncopt.replay(problem, asyncopt.apam(0.05), asyncopt.traces.uniform(400, 5))
      >>> print(jnp.round(run.params, 2))
      2.0
    """
    for name, function in (("init", init), ("loss", loss)):
        if not callable(function):
            raise InputError(f"{name} is {function!r}, expected a function")
    optimum = None if optimum is None else check_number("optimum", optimum)
    try:
        arrays = jax.tree.map(jnp.asarray, data)
    except TypeError as error:
        raise InputError(f"data is {data!r}, expected arrays, such as (data.features, data.labels)") from error
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves(arrays)}
    if len(lengths) != 1 or not all(length and length[0] for length in lengths):
        shapes = [leaf.shape for leaf in jax.tree.leaves(arrays)]
        raise InputError(f"data has arrays of shapes {shapes}, expected one number of rows, at least 1, as first axis")
    batch_size = check_integer("batch_size", batch_size, at_least=1)
    params, rest = eqx.partition(init(jax.random.key(0)), eqx.is_inexact_array)
    if not jax.tree.leaves(params):
        raise InputError("init returns no array of floats, expected the parameters, or an Equinox module")
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    problem = FromLoss(arrays, init, loss, rest, batch_size, optimum, constants or Constants(dimension=size))
    found = eqx.filter_eval_shape(lambda problem, params: problem.loss(params, jnp.zeros(1, int)), problem, params)
    if not isinstance(found, jax.ShapeDtypeStruct) or found.shape or not jnp.issubdtype(found.dtype, jnp.floating):
        raise InputError(f"loss returns {found}, expected the mean loss of the rows: one number of floating point")
    return problem
