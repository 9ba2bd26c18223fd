"""A decoder-only transformer, as a tuple of layers that are called one after the other on whole mini-batches."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

# Windows of codes: the first T of a row are read, the last T are predicted.
Windows = Int[Array, "B T+1"]
_BASE = 10_000.0  # of the rotary frequencies


class Embedding(eqx.Module):
    """A vector for each code (token) of the vocabulary."""

    weight: Float[Array, "V D"]

    def __init__(self, vocabulary_size: int, width: int, *, key: Key[Array, ""]):
        self.weight = 0.02 * jax.random.normal(key, (vocabulary_size, width))

    def __call__(self, carried: None, windows: Windows) -> Float[Array, "B T D"]:
        """Returns the vectors of all codes of the windows but the last."""
        # The gradient of a product is a product, the same bits each time; that of an indexed read adds row by row.
        return product(jax.nn.one_hot(windows[:, :-1], len(self.weight), dtype=self.weight.dtype), self.weight)


class Norm(eqx.Module):
    """Divides each vector by its root mean square, and scales it.

    References:
      Zhang and Sennrich, `Root mean square layer normalization <https://arxiv.org/abs/1910.07467>`_, 2019.
    """

    scale: Float[Array, " D"]

    def __init__(self, width: int):
        self.scale = jnp.ones(width)

    def __call__(self, x: Float[Array, "*rows D"]) -> Float[Array, "*rows D"]:
        """Returns the normalised vectors, in the dtype of ``x``; half precision has too few digits for the mean."""
        wide = _wide(x)
        inverse = jax.lax.rsqrt(jnp.mean(wide**2, axis=-1, keepdims=True) + 1e-6)
        return (wide * inverse).astype(x.dtype) * self.scale


class Attention(eqx.Module):
    """Causal attention of several heads with rotary positions, added to the input, which is normalised before.

    References:
      Vaswani et al., `Attention is all you need <https://arxiv.org/abs/1706.03762>`_, 2017; Su et al., `RoFormer:
      enhanced transformer with rotary position embedding <https://arxiv.org/abs/2104.09864>`_, 2021.
    """

    norm: Norm
    inputs: Float[Array, "D 3D"]  # queries, keys and values in one product
    output: Float[Array, "D D"]
    num_heads: int = eqx.field(static=True)

    def __init__(self, width: int, num_heads: int, output_scale: float, *, key: Key[Array, ""]):
        inputs_key, output_key = jax.random.split(key)
        self.norm = Norm(width)
        self.inputs = _matrix(inputs_key, width, 3 * width)
        self.output = output_scale * _matrix(output_key, width, width)
        self.num_heads = num_heads

    def __call__(self, carried: Float[Array, "B T D"], windows: Windows) -> Float[Array, "B T D"]:
        """Returns the vectors; each depends on those up to its own position."""
        batch, length, width = carried.shape
        per_head = (batch, length, 3, self.num_heads, width // self.num_heads)
        heads = (product(self.norm(carried), self.inputs)).reshape(per_head).transpose(2, 0, 3, 1, 4)
        queries, keys, values = _rotated(heads[0]), _rotated(heads[1]), heads[2]
        scores = _wide(queries @ keys.swapaxes(-1, -2)) / np.sqrt(per_head[-1])
        causal = np.tril(np.ones((length, length), bool))
        weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf), axis=-1).astype(carried.dtype)
        mixed = (weights @ values).transpose(0, 2, 1, 3).reshape(carried.shape)
        return carried + product(mixed, self.output)


class FeedForward(eqx.Module):
    """Two matrix products with GELU between them, 4 D hidden units, added to the input, which is normalised before."""

    norm: Norm
    hidden: Float[Array, "D 4D"]
    output: Float[Array, "4D D"]

    def __init__(self, width: int, output_scale: float, *, key: Key[Array, ""]):
        hidden_key, output_key = jax.random.split(key)
        self.norm = Norm(width)
        self.hidden = _matrix(hidden_key, width, 4 * width)
        self.output = output_scale * _matrix(output_key, 4 * width, width)

    def __call__(self, carried: Float[Array, "B T D"], windows: Windows) -> Float[Array, "B T D"]:
        """Returns the vectors; each depends on itself alone."""
        hidden = jax.nn.gelu(product(self.norm(carried), self.hidden))
        return carried + product(hidden, self.output)


class Head(eqx.Module):
    """A logit for each code of the vocabulary, after a last norm."""

    norm: Norm
    weight: Float[Array, "D V"]

    def __init__(self, width: int, vocabulary_size: int, *, key: Key[Array, ""]):
        self.norm = Norm(width)
        self.weight = 0.02 * jax.random.normal(key, (width, vocabulary_size))

    def logits(self, carried: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Returns the logits, as float32 at least."""
        return _wide(product(self.norm(carried), self.weight))

    def __call__(self, carried: Float[Array, "B T D"], windows: Windows) -> Float[Array, ""]:
        """Returns the mean cross-entropy of each next code, in nats."""
        logits = self.logits(carried)
        is_next = windows[:, 1:, None] == jnp.arange(logits.shape[-1])  # no indexed read, as in `Embedding`
        of_next = jnp.sum(jnp.where(is_next, logits, 0), axis=-1)
        return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - of_next)


class Transformer(eqx.Module):
    """Embedding, ``depth`` times attention and feed-forward, and the head: 2 ``depth`` + 2 layers without biases.

    Each layer is called with what the one before has returned and with the windows. The head returns the loss. All
    parameters have JAX's default float dtype.

    Args:
      vocabulary_size: V, the number of codes.
      width: D, the length of the vectors, a multiple of twice ``num_heads``.
      depth: the number of blocks, each an attention and a feed-forward layer.
      num_heads: the number of heads of each attention.
      key: key of all random weights.

    References:
      Radford et al., `Language models are unsupervised multitask learners
      <https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf>`_, 2019:
      norms before each layer, and smaller initial weights of the 2 ``depth`` outputs that are added.
    """

    title: ClassVar[str] = "transformer"
    layers: tuple[Embedding | Attention | FeedForward | Head, ...]

    def __init__(self, vocabulary_size: int, width: int, depth: int, num_heads: int, *, key: Key[Array, ""]):
        keys = jax.random.split(key, 2 * depth + 2)
        output_scale = (2 * depth) ** -0.5
        layers: list[Embedding | Attention | FeedForward | Head] = [Embedding(vocabulary_size, width, key=keys[0])]
        for block in range(depth):
            layers.append(Attention(width, num_heads, output_scale, key=keys[2 * block + 1]))
            layers.append(FeedForward(width, output_scale, key=keys[2 * block + 2]))
        self.layers = (*layers, Head(width, vocabulary_size, key=keys[-1]))


@jax.custom_vjp
def product(x: Float[Array, "*rows D"], weight: Float[Array, "D E"]) -> Float[Array, "*rows E"]:
    """Returns ``x @ weight``, whose gradient for the weight is one product of the matrices as they lie in memory.

    JAX makes that gradient the other way round and transposes it, for which XLA on a CPU copies one of the matrices
    transposed: an update of the default model took 41 ms in place of 25.
    """
    return x @ weight


def _product_forward(x, weight):
    return x @ weight, (x, weight)


def _product_backward(kept, gradient):
    x, weight = kept
    rows, of_rows = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    return gradient @ weight.T, jax.lax.dot_general(rows, of_rows, (((0,), (0,)), ((), ())))


product.defvjp(_product_forward, _product_backward)


def _matrix(key: Key[Array, ""], rows: int, columns: int) -> Float[Array, "rows columns"]:
    """Returns a random normal matrix, of variance 1 / ``rows``: a product keeps the size of a vector's coordinates."""
    return jax.random.normal(key, (rows, columns)) / np.sqrt(rows)


def _rotated(x: Float[Array, "*heads T E"]) -> Float[Array, "*heads T E"]:
    """Returns the vectors of all positions, coordinates i and i + E/2 rotated by position · base^(-2i/E)."""
    *_, length, size = x.shape
    angles = np.arange(length)[:, None] * _BASE ** (-np.arange(0, size, 2) / size)
    cosine, sine = (jnp.asarray(table, x.dtype) for table in (np.cos(angles), np.sin(angles)))
    first, second = x[..., : size // 2], x[..., size // 2 :]
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


def _wide(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Returns numbers as float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
