"""Two networks that train in minutes on a CPU: a perceptron with one hidden layer, and LeNet-5."""

from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, Key

from asyncopt.checks import InputError
from asyncopt.problems.networks.layers import Convolution, Images, dense, max_pool, scaled


class Perceptron(eqx.Module):
    """Two layers, 100 hidden units with ReLU at ``width`` 1."""

    title: ClassVar[str] = "perceptron"
    hidden: eqx.nn.Linear
    output: eqx.nn.Linear

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float = 1.0, *, key: Key[Array, ""]):
        channels, rows, columns = image_shape
        (hidden,) = scaled(width, 100)
        hidden_key, output_key = jax.random.split(key)
        self.hidden = eqx.nn.Linear(channels * rows * columns, hidden, key=hidden_key)
        self.output = eqx.nn.Linear(hidden, num_classes, key=output_key)

    def __call__(self, images: Images) -> Float[Array, "classes B"]:
        """Returns the score of each class for each image."""
        features = images.reshape(-1, images.shape[3])
        return dense(self.output, jax.nn.relu(dense(self.hidden, features)))


class LeNet5(eqx.Module):
    """Two convolutions of 5 × 5 with pooling, then three dense layers: 44,426 parameters on 28 × 28 pixels.

    References:
      LeCun et al., `Gradient-based learning applied to document recognition
      <https://doi.org/10.1109/5.726791>`_, 1998, with max-pooling and ReLU, as is usual today.
    """

    title: ClassVar[str] = "LeNet-5"
    convolutions: tuple[Convolution, Convolution]
    dense: tuple[eqx.nn.Linear, eqx.nn.Linear, eqx.nn.Linear]

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float = 1.0, *, key: Key[Array, ""]):
        channels, *pixels = image_shape
        rows, columns = (((length - 4) // 2 - 4) // 2 for length in pixels)
        if rows < 1 or columns < 1:
            raise InputError(f"images have {pixels[0]} × {pixels[1]} pixels, expected at least 16 × 16 for LeNet-5")
        first, second, third, fourth = scaled(width, 6, 16, 120, 84)
        keys = jax.random.split(key, 5)
        self.convolutions = (
            Convolution(channels, first, 5, key=keys[0]),
            Convolution(first, second, 5, key=keys[1]),
        )
        self.dense = (
            eqx.nn.Linear(second * rows * columns, third, key=keys[2]),
            eqx.nn.Linear(third, fourth, key=keys[3]),
            eqx.nn.Linear(fourth, num_classes, key=keys[4]),
        )

    def __call__(self, images: Images) -> Float[Array, "classes B"]:
        """Returns the score of each class for each image."""
        for layer in self.convolutions:
            images = jax.nn.relu(max_pool(layer(images)))  # in this order, ReLU has a quarter of the work
        features = images.reshape(-1, images.shape[3])
        for layer in self.dense[:-1]:
            features = jax.nn.relu(dense(layer, features))
        return dense(self.dense[-1], features)
