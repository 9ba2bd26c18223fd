"""Compressed gradients; what compression leaves out is added to the worker's next gradient."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from asyncopt.checks import InputError, check_number
from asyncopt.optim._shared import checked_inner, known_worker, static_integer

COMPRESSORS = ("top_k", "random_k", "sign")


class ErrorFeedbackState(NamedTuple):
    """State of `error_feedback`."""

    inner: PyTree
    memory: PyTree  # what was left out, like the parameters, each leaf with a leading axis of workers
    num_received: Int[Array, ""]  # int32, gradients received

    @property
    def num_workers(self) -> int:
        """The number of workers, p."""
        return jax.tree.leaves(self.memory)[0].shape[0]


def error_feedback(
    inner: optax.GradientTransformation,
    num_workers: int,
    compressor: str = "top_k",
    share: float = 0.01,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    r"""Compresses each gradient, as workers do that send little, with a memory for each worker (EF-SGD).

    .. math:: c_k = C(g_k + e_w), \qquad e_w \leftarrow g_k + e_w - c_k,

    where w is the worker of update k. Each leaf is compressed by itself.

    ``update`` needs the keyword ``worker``: int, in 0..p - 1.

    Args:
      inner: the optimizer; it receives :math:`c_k`.
      num_workers: p, at least 1. The memory is p copies of the parameters.
      compressor: "top_k" keeps the entries of the largest absolute values, "random_k" a random choice of entries, and
        "sign" the signs, times the mean absolute value.
      share: the share of a leaf's entries that top_k and random_k keep, above 0, at most 1; at least one entry.
      seed: seed of random_k's choices.

    Raises:
      InputError: if a value is out of range.

    References:
      Stich, Cordonnier and Jaggi, `Sparsified SGD with memory <https://arxiv.org/abs/1809.07599>`_, 2018; Karimireddy
      et al., `Error feedback fixes SignSGD <https://arxiv.org/abs/1901.09847>`_, 2019.
    """
    num_workers = static_integer("num_workers", num_workers, at_least=1)
    seed = static_integer("seed", seed, at_least=0)
    if compressor not in COMPRESSORS:
        raise InputError(f"compressor is {compressor!r}, expected one of {COMPRESSORS}")
    if check_number("share", share, above=0) > 1:
        raise InputError(f"share is {share!r}, expected at most 1")
    inner = checked_inner(inner)

    def compressed(leaf, key):
        flat = leaf.ravel()
        if compressor == "sign":
            return (jnp.mean(jnp.abs(flat)) * jnp.sign(flat)).reshape(leaf.shape).astype(leaf.dtype)
        kept = max(round(share * flat.size), 1)
        if compressor == "top_k":
            _, places = jax.lax.top_k(jnp.abs(flat), kept)
        else:
            places = jax.random.permutation(key, flat.size)[:kept]
        return jnp.zeros_like(flat).at[places].set(flat[places]).reshape(leaf.shape)

    def init(params):
        memory = jax.tree.map(lambda p: jnp.broadcast_to(jnp.zeros_like(p), (num_workers, *jnp.shape(p))), params)
        return ErrorFeedbackState(inner.init(params), memory, jnp.zeros((), jnp.int32))

    def update(updates, state, params=None, *, worker=None, **extra_args):
        worker = known_worker(worker, "error_feedback", num_workers)
        wanted = jax.tree.map(lambda g, e: g + e[worker].astype(g.dtype), updates, state.memory)
        leaves, structure = jax.tree.flatten(wanted)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), state.num_received), max(len(leaves), 1))
        sent = structure.unflatten([compressed(leaf, key) for leaf, key in zip(leaves, keys, strict=False)])
        memory = jax.tree.map(lambda e, w, s: e.at[worker].set((w - s).astype(e.dtype)), state.memory, wanted, sent)
        steps, inner_state = inner.update(sent, state.inner, params, worker=worker, **extra_args)
        return steps, ErrorFeedbackState(inner_state, memory, optax.safe_increment(state.num_received))

    return optax.GradientTransformationExtraArgs(init, update)
