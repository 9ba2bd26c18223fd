"""Counts the operations of a function, to choose how often a run is evaluated: a count is the same on every machine."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from asyncopt.engine.draws import draw_one
from asyncopt.engine.shapes import by_shapes
from asyncopt.problems import Problem

# Operations that an entry of a result counts as; all others count as one. Products count their multiplications.
_WEIGHTS = dict.fromkeys(("gather", "scatter", "scatter-add", "sort"), 8) | dict.fromkeys(
    ("exp", "exp2", "expm1", "log", "log1p", "logistic", "tanh", "sin", "cos", "pow", "erf", "erf_inv"), 8
)
# Multiplications that a processor's vector unit makes while it handles one entry otherwise.
_PRODUCTS_AT_ONCE = 8


@by_shapes
def evaluation_cost(
    problem: Problem,
    optimizer: optax.GradientTransformation,
    params: PyTree,
    average: bool,
    leaf_delays: bool = False,
) -> float:
    """Returns how many updates take as many operations as one evaluation does.

    Args:
      problem: what is minimised.
      optimizer: how to step.
      params: an iterate.
      average: whether F is evaluated at the average, too.
      leaf_delays: whether the optimizer is told the delay of each leaf.
    """

    def update(problem, optimizer, params):
        worker = jnp.int32(0)
        gradient = jax.grad(problem.loss)(params, draw_one(problem, jax.random.key(0), worker))
        extra = optax.with_extra_args_support(optimizer)
        told = {"delay": worker, "worker": worker, "stale_params": params}
        if leaf_delays:
            told["leaf_delay"] = jax.tree.map(lambda leaf: worker, params)
        return extra.update(gradient, extra.init(params), params, **told)

    def evaluation(problem, params):
        metrics = getattr(problem, "metrics", lambda params: {})(params)
        at_average = problem.objective(jax.tree.map(lambda x: 2 * x, params)) if average else None
        return jax.value_and_grad(problem.objective)(params), at_average, metrics

    return max(operations(evaluation, problem, params), 1.0) / max(operations(update, problem, optimizer, params), 1.0)


def operations(function: Callable[..., Any], *arguments: Any) -> float:
    """Returns about how many operations a call of a function takes.

    Args:
      function: can be traced by JAX.
      *arguments: its arguments: pytrees with arrays, or with their shapes and dtypes.
    """
    program, _, _ = eqx.filter_make_jaxpr(function)(*arguments)
    return _of_program(program.jaxpr)


def _of_program(program: Any) -> float:
    return sum(_of_equation(equation) for equation in program.eqns)


def _of_equation(equation: Any) -> float:
    name, settings = equation.primitive.name, equation.params
    inner = [_of_program(program) for value in settings.values() for program in _programs(value)]
    if name == "cond":
        return max(inner)
    if inner:  # a loop of unknown length counts as one pass
        return sum(inner) * settings.get("length", 1)
    # A single number counts as nothing: optimizers of the same steps differ in them.
    shapes = [getattr(result.aval, "shape", ()) for result in equation.outvars]
    entries = sum(math.prod(shape) for shape in shapes if shape)
    if name == "dot_general":
        (contracted, _), _ = settings["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return max(entries, 1) * math.prod(shape[axis] for axis in contracted) / _PRODUCTS_AT_ONCE
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        outputs = kernel[settings["dimension_numbers"].rhs_spec[0]]
        return entries * math.prod(kernel) / outputs / _PRODUCTS_AT_ONCE
    if name.startswith("reduce"):
        entries = math.prod(equation.invars[0].aval.shape)
    elif name.startswith("scatter"):  # counts what is added, not what it is added to
        entries = math.prod(equation.invars[2].aval.shape)
    return entries * _WEIGHTS.get(name, 1)


def _programs(value: Any) -> list[Any]:
    """Returns the programs in a setting of an equation."""
    values = value if isinstance(value, list | tuple) else [value]
    programs = [getattr(item, "jaxpr", item) for item in values]
    return [program for program in programs if hasattr(program, "eqns")]
