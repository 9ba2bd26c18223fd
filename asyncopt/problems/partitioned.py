"""A problem whose workers draw mini-batches from data of their own."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from asyncopt.checks import InputError, check_integer
from asyncopt.problems.problem import Constants, Described


class Partitioned(Described, eqx.Module):
    """A problem over rows that are divided among p workers: F is the mean of the workers' own objectives.

    Worker w has rows w N/p to (w + 1) N/p - 1. All else is as in the problem that it is made of.

    Args:
      whole: the problem with all rows; its mini-batches are row numbers, or are made of them by ``batch_of``.
      optimum, minimiser, constants, constraint: those of ``whole``.
      num_workers: p.
    """

    whole: Any
    optimum: float | None  # F*
    minimiser: PyTree  # where F is F*, or None
    constants: Constants
    constraint: Any  # the set X, or None
    num_workers: int = eqx.field(static=True)

    def sample(self, key: Key[Array, ""], worker: Int[Array, ""] | None = None) -> PyTree:
        """Draws a mini-batch of the worker's own rows, with replacement."""
        if worker is None:
            raise InputError(f"{self.title}: sample has no worker, expected sample(key, worker)")
        size = self.whole.num_rows // self.num_workers
        if not hasattr(self.whole, "batch_of"):
            return worker * size + jax.random.randint(key, (self.whole.batch_size,), 0, size)
        row_key, batch_key = jax.random.split(key)
        rows = worker * size + jax.random.randint(row_key, (self.whole.batch_size,), 0, size)
        return self.whole.batch_of(rows, batch_key)

    def worker_objective(self, params: PyTree, worker: int | Int[Array, ""]) -> Float[Array, ""]:
        """Returns F_w(x), the mean loss over the rows of a worker."""
        if isinstance(worker, int | np.integer) and check_integer("worker", worker, at_least=0) >= self.num_workers:
            raise InputError(f"worker is {worker}, expected at most {self.num_workers - 1}")
        size = self.whole.num_rows // self.num_workers
        if hasattr(self.whole, "batch_of"):
            raise InputError(f"{self.title}: a worker's objective is known only where mini-batches are row numbers")
        return self.whole.loss(params, worker * size + jnp.arange(size))

    def dissimilarity(self, params: PyTree) -> float:
        """Returns how much the workers' gradients differ at a point, mean ‖∇F_w - ∇F‖² over the workers.

        At the minimum of F without a constraint, it is the mean of ‖∇F_w‖², 0 if all workers agree on the minimum.
        """
        gradient = jax.jit(jax.grad(self.worker_objective))
        gradients = [gradient(params, worker) for worker in range(self.num_workers)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *gradients)
        spread = jax.tree.map(lambda x: jnp.sum((x - jnp.mean(x, axis=0)) ** 2) / self.num_workers, stacked)
        return float(sum(jax.tree.leaves(spread)))

    def init(self, key: Key[Array, ""]) -> PyTree:
        """Returns the start."""
        return self.whole.init(key)

    def loss(self, params: PyTree, batch: Any) -> Float[Array, ""]:
        """Returns f(x; ξ)."""
        return self.whole.loss(params, batch)

    def objective(self, params: PyTree) -> Float[Array, ""]:
        """Returns F(x)."""
        return self.whole.objective(params)

    def metrics(self, params: PyTree) -> dict[str, Float[Array, ""]]:
        """Returns further measurements."""
        return self.whole.metrics(params)

    @property
    def title(self) -> str:
        """What titles and tables call the problem."""
        return f"{self.whole.title}, {self.num_workers} workers with rows of their own"

    @property
    def num_rows(self) -> int:
        """N, the number of training rows."""
        return self.whole.num_rows

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return self.whole.num_classes


def of_workers(problem: Any, num_workers: int) -> Any:
    """Returns the problem itself for one worker, or with rows of their own for several."""
    if check_integer("num_workers", num_workers, at_least=1) == 1:
        return problem
    return Partitioned(
        problem,
        problem.optimum,
        problem.minimiser,
        problem.constants,
        getattr(problem, "constraint", None),
        num_workers,
    )
