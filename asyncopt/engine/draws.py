"""Random keys of a run, and the mini-batches that they draw."""

import functools
import inspect

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from asyncopt.problems import Problem

# Mini-batches are drawn several at a time: a call of the random generator costs more than the numbers that it returns.
_DRAWN_AT_ONCE = 64
_BYTES_AT_ONCE = 1 << 18


@jax.jit
def batch_keys(seed_key: Key[Array, ""], samples: Int[Array, " K"]) -> Key[Array, " K"]:
    """Returns `batch_key` of each sample; made before the loop, where one call makes all of them."""
    return jax.vmap(batch_key, in_axes=(None, 0))(seed_key, samples)


def batch_key(seed_key: Key[Array, ""], sample: Int[Array, ""] | int) -> Key[Array, ""]:
    """Returns the key of mini-batch number ``sample`` in the run of ``seed_key``: it depends on nothing else."""
    return jax.random.fold_in(jax.random.fold_in(seed_key, 1), sample)


def init_key(seed_key: Key[Array, ""]) -> Key[Array, ""]:
    """Returns the key of the start in the run of ``seed_key``."""
    return jax.random.fold_in(seed_key, 0)


def drawn_at_once(problem: Problem, has_steps: bool) -> int:
    """Returns how many mini-batches are drawn together, before the updates that use them.

    Only row numbers and other integers are drawn ahead, unless the problem allows it. XLA rounds numbers in one way
    where it computes them within the gradient, and in another where they are stored before; a replay is to round as a
    plain loop does.

    Args:
      problem: what is minimised.
      has_steps: whether several gradients may make a step; XLA then computes numbers within the gradient.
    """
    leaves = jax.tree.leaves(jax.eval_shape(lambda key: draw_one(problem, key, jnp.int32(0)), jax.random.key(0)))
    are_integers = all(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in leaves)
    if not are_integers and (has_steps or not getattr(problem, "draws_ahead", False)):
        return 1
    return max(
        min(_DRAWN_AT_ONCE, _BYTES_AT_ONCE // max(sum(leaf.size * leaf.dtype.itemsize for leaf in leaves), 1)), 1
    )


def draw_one(problem: Problem, key: Key[Array, ""], worker: Int[Array, ""]) -> PyTree:
    """Returns a mini-batch: of the worker's own data, if `Problem.sample` has an argument ``worker``."""
    if knows_workers(problem):
        return problem.sample(key, worker)  # type: ignore[call-arg]
    return problem.sample(key)


def knows_workers(problem: Problem) -> bool:
    """Whether workers have data of their own: whether `Problem.sample` has an argument ``worker``."""
    try:
        return "worker" in inspect.signature(problem.sample).parameters
    except (TypeError, ValueError):  # a function of C does not say what it takes
        return False


def draw(
    problem: Problem, keys: Key[Array, " K"], workers: Int[Array, " K"], first: Int[Array, ""], number: int
) -> PyTree:
    """Returns the mini-batches of updates ``first`` to ``first + number - 1``, with a leading axis.

    Beyond the last update, the last mini-batch is repeated.
    """
    numbers = jnp.minimum(first + jnp.arange(number, dtype=jnp.int32), len(keys) - 1)
    return jax.vmap(functools.partial(draw_one, problem))(keys[numbers], workers[numbers])
