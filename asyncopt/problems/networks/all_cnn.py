"""The all-convolutional network of the artificial-delay experiment."""

import itertools
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from asyncopt.problems.networks.layers import BatchNorm, Convolution, Images, scaled

_CHANNELS = (96, 96, 96, 192, 192, 192, 192, 192)
_STRIDES = (1, 1, 2, 1, 1, 2, 1, 1, 1)
# The paper's own code multiplies the scores by this.
_TEMPERATURE = 0.125


class AllCNN(eqx.Module):
    """Nine convolutions of 3 × 3 without bias, each with batch statistics and ReLU, and the mean over all pixels.

    It has 1,681,268 parameters with three colours and 10 classes; 2,516 of them scale and shift normalised channels.

    References:
      Springenberg et al., `Striving for simplicity: the all convolutional net
      <https://arxiv.org/abs/1412.6806>`_, 2015;
      with the layers of Xu et al., `arXiv:2002.09095 <https://arxiv.org/abs/2002.09095>`_.
    """

    title: ClassVar[str] = "All-CNN"
    convolutions: tuple[Convolution, ...]
    norms: tuple[BatchNorm, ...]

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float = 1.0, *, key: Key[Array, ""]):
        channels = (image_shape[0], *scaled(width, *_CHANNELS), num_classes)
        keys = jax.random.split(key, len(_STRIDES))
        self.convolutions = tuple(
            Convolution(before, after, 3, stride=stride, padding=1, bias=False, key=layer_key)
            for (before, after), stride, layer_key in zip(itertools.pairwise(channels), _STRIDES, keys, strict=True)
        )
        self.norms = tuple(BatchNorm(number) for number in channels[1:])

    def __call__(self, images: Images) -> Float[Array, "classes B"]:
        """Returns the score of each class for each image."""
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            images = jax.nn.relu(norm(convolution(images)))
        return _TEMPERATURE * jnp.mean(images, axis=(1, 2))
