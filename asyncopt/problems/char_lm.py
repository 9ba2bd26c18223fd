"""A language model of characters: a transformer predicts each next character of a text."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, Key, PyTree

from asyncopt.checks import InputError, check_integer
from asyncopt.problems.data import Text, text
from asyncopt.problems.networks import Transformer
from asyncopt.problems.parts import sums_in_parts
from asyncopt.problems.problem import Constants, Described

_WINDOWS_AT_ONCE = 16  # of an evaluation
_DTYPES = ("bfloat16", "float16", "float32", "float64")


class Sizes(NamedTuple):
    """The arguments of `Transformer` but for the key."""

    vocabulary_size: int
    width: int
    depth: int
    num_heads: int


@dataclasses.dataclass(frozen=True)
class Layer:
    """One of the functions that the loss is composed of.

    Args:
      number: its place among them, from 0.
      compute_dtype: the dtype that its parameters are cast to, or None.
    """

    number: int
    compute_dtype: str | None

    def __call__(self, params: Transformer, carried: Any, batch: Int[Array, "B T+1"]) -> Float[Array, "..."]:
        """Returns what the next layer is given, or the loss if there is none; ``carried`` comes from the one before."""
        layer = params.layers[self.number]
        if self.compute_dtype is not None:
            layer = jax.tree.map(lambda leaf: leaf.astype(self.compute_dtype), layer)
        return layer(carried, batch)


class CharLM(Described, eqx.Module):
    """Mean cross-entropy of a transformer over windows of a text; parameters are the transformer, an Equinox module.

    A window has T + 1 characters: from each of the first T and those before it in the window, the next is predicted.
    F is measured on evenly spaced windows of the training text, the same in every evaluation.
    """

    codes: Int32[Array, " N"]  # the training text
    measured: Int32[Array, "O T+1"]  # windows that F is measured on
    test: Int32[Array, "M T+1"]  # held-out windows
    constants: Constants
    optimum: float | None
    minimiser: None
    sizes: Sizes = eqx.field(static=True)
    context: int = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    compute_dtype: str | None = eqx.field(static=True)

    @property
    def title(self) -> str:
        """What titles and tables call it."""
        return "character model"

    @property
    def num_rows(self) -> int:
        """The number of windows of the training text, which overlap."""
        return len(self.codes) - self.context

    @property
    def num_classes(self) -> int:
        """V, the number of distinct characters."""
        return self.sizes.vocabulary_size

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The functions that `loss` is composed of, from the embedding to the head."""
        return tuple(Layer(number, self.compute_dtype) for number in range(2 * self.sizes.depth + 2))

    def layer_numbers(self, params: PyTree) -> PyTree:
        """Returns, for each leaf of the parameters, the number of the layer that it belongs to."""
        layers = tuple(jax.tree.map(lambda _, n=number: n, layer) for number, layer in enumerate(params.layers))
        return eqx.tree_at(lambda params: params.layers, params, layers)

    def init(self, key: Key[Array, ""]) -> Transformer:
        """Returns a transformer with random weights."""
        return Transformer(*self.sizes, key=key)

    def sample(self, key: Key[Array, ""]) -> Int32[Array, "B T+1"]:
        """Draws ``batch_size`` windows of the training text, with replacement."""
        starts = jax.random.randint(key, (self.batch_size,), 0, self.num_rows)
        return self.codes[starts[:, None] + jnp.arange(self.context + 1)]

    def loss(self, params: Transformer, batch: Int[Array, "B T+1"]) -> Float[Array, ""]:
        """Returns the MEAN cross-entropy of a character, in nats."""
        carried: Any = None
        for layer in self.layers:
            carried = layer(params, carried, batch)
        return carried

    def objective(self, params: Transformer) -> Float[Array, ""]:
        """Returns the mean cross-entropy over the windows that F is measured on."""
        return self._mean(params, self.measured)

    def metrics(self, params: Transformer) -> dict[str, Float[Array, ""]]:
        """Returns loss and perplexity of a character on evenly spaced held-out windows, if any are held out."""
        if not len(self.test):
            return {}
        test_loss = self._mean(params, self.test)
        return {"test_loss": test_loss, "test_perplexity": jnp.exp(test_loss)}

    def _mean(self, params: Transformer, windows: Int32[Array, "M T+1"]) -> Float[Array, ""]:
        """Returns the mean loss over all windows, computed in parts."""
        return sums_in_parts(lambda part: self.loss(params, part) * len(part), windows, _WINDOWS_AT_ONCE) / len(windows)


def char_lm(
    data: Text | None = None,
    context: int = 128,
    width: int = 128,
    depth: int = 4,
    num_heads: int = 4,
    batch_size: int = 8,
    objective_windows: int = 256,
    compute_dtype: str | None = None,
) -> CharLM:
    """Returns the problem of predicting each next character of a text by a decoder-only transformer.

    Parameters have JAX's default float dtype: with the default sizes and text, about 0.8 million of them.

    Args:
      data: a text, as `asyncopt.problems.data.text` returns it. Default: its default.
      context: T, the number of characters that the model sees at most.
      width: the length of the vectors, a multiple of twice ``num_heads``.
      depth: the number of blocks, each an attention and a feed-forward layer.
      num_heads: the number of heads of each attention.
      batch_size: windows drawn for a gradient, at least 1.
      objective_windows: the number of windows that F is measured on, and of held-out windows for the metrics; fewer
        if they would overlap.
      compute_dtype: dtype of the matrix products: bfloat16, float16, float32 or float64. Norms, softmax and loss are
        float32 at least. Default: bfloat16 if JAX's default backend is a GPU, else that of the parameters.

    Raises:
      InputError: if ``data`` is something else or too short for a window, or a setting is out of range.

    References:
      Radford et al., `Language models are unsupervised multitask learners
      <https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf>`_, 2019.
    """
    data = text() if data is None else data
    if not isinstance(data, Text):
        raise InputError(f"data is {type(data).__name__}, expected a text (data=text, say)")
    context = check_integer("context", context, at_least=1)
    width = check_integer("width", width, at_least=1)
    depth = check_integer("depth", depth, at_least=1)
    num_heads = check_integer("num_heads", num_heads, at_least=1)
    if width % (2 * num_heads):
        raise InputError(f"width is {width}, expected a multiple of 2 · num_heads, {2 * num_heads}")
    batch_size = check_integer("batch_size", batch_size, at_least=1)
    objective_windows = check_integer("objective_windows", objective_windows, at_least=1)
    if compute_dtype is None:
        compute_dtype = "bfloat16" if jax.default_backend() == "gpu" else None
    elif compute_dtype not in _DTYPES:
        raise InputError(f"compute_dtype is {compute_dtype!r}, expected one of {_DTYPES}, or none")
    elif compute_dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise InputError("compute_dtype is 'float64', expected JAX to have it enabled (precision=float64)")
    sizes = Sizes(len(data.vocabulary), width, depth, num_heads)
    shapes = jax.eval_shape(lambda: Transformer(*sizes, key=jax.random.key(0)))
    return CharLM(
        codes=jnp.asarray(data.codes),
        measured=_windows(f"{data.name}: codes", data.codes, context, objective_windows),
        test=_windows(f"{data.name}: test_codes", data.test_codes, context, objective_windows),
        constants=Constants(dimension=sum(leaf.size for leaf in jax.tree.leaves(shapes)), lower_bound=0.0),
        optimum=None,
        minimiser=None,
        sizes=sizes,
        context=context,
        batch_size=batch_size,
        compute_dtype=compute_dtype,
    )


def _windows(name: str, codes: Int32[np.ndarray, " N"], context: int, at_most: int) -> Int32[Array, "M T+1"]:
    """Returns evenly spaced windows, of which no two predict the same character; none if there are no codes."""
    if 0 < len(codes) <= context:
        raise InputError(f"{name} has {len(codes)} characters, expected more than context, {context}")
    number = min(at_most, max(0, len(codes) - 1) // context)
    starts = np.linspace(0, len(codes) - 1 - context, number).astype(int)
    return jnp.asarray(codes[starts[:, None] + np.arange(context + 1)])
