"""Layers on whole mini-batches, laid out channels, height, width, batch: ``[C, H, W, B]``.

With the batch last, every slice that a convolution takes is a row of contiguous numbers, which makes the compiled
loop fast on a CPU. On an accelerator, XLA chooses the layout in memory itself.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Images = Float[Array, "C H W B"]


class Convolution(eqx.Module):
    """A convolution from ``in_channels`` to ``out_channels``.

    Weights are drawn uniformly from ±1/√(in_channels · size²), as PyTorch's and Equinox's are.
    """

    weight: Float[Array, "size size in_channels out_channels"]
    bias: Float[Array, " out_channels"] | None
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        key: Key[Array, ""],
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ):
        limit = (in_channels * size * size) ** -0.5
        weight_key, bias_key = jax.random.split(key)
        shape = (size, size, in_channels, out_channels)
        self.weight = jax.random.uniform(weight_key, shape, minval=-limit, maxval=limit)
        self.bias = jax.random.uniform(bias_key, (out_channels,), minval=-limit, maxval=limit) if bias else None
        self.stride, self.padding = stride, padding

    def __call__(self, images: Images) -> Images:
        """Returns the output feature maps."""
        result = convolve(images, self.weight, self.stride, self.padding)
        return result if self.bias is None else result + self.bias[:, None, None, None]


def convolve(images: Images, weight: Float[Array, "k k C O"], stride: int = 1, padding: int = 0) -> Images:
    """Returns the cross-correlation of images with a filter, by the algorithm that suits the platform.

    Args:
      images: float[C, H, W, B].
      weight: float[size, size, C, O].
      stride: pixels between outputs, in both directions.
      padding: zeros on each side.

    Returns:
      float[O, H', W', B], H' = (H + 2 padding - size) // stride + 1.
    """
    return jax.lax.platform_dependent(
        images,
        weight,
        cpu=lambda x, w: convolve_by_slices(x, w, stride, padding),
        default=lambda x, w: convolve_by_library(x, w, stride, padding),
    )


def convolve_by_library(images: Images, weight: Float[Array, "k k C O"], stride: int, padding: int) -> Images:
    """`convolve` by XLA's own operation; on a CPU, it is slow inside a loop."""
    return jax.lax.conv_general_dilated(
        images,
        weight,
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        dimension_numbers=("CHWN", "HWIO", "CHWN"),
    )


def convolve_by_slices(images: Images, weight: Float[Array, "k k C O"], stride: int, padding: int) -> Images:
    """`convolve` as one product of matrices: the filter, and shifted slices of the images."""
    size, _, in_channels, out_channels = weight.shape
    margin = (padding, padding)
    images = jnp.pad(images, ((0, 0), margin, margin, (0, 0)))
    height, width = ((length - size) // stride + 1 for length in images.shape[1:3])
    # First along one axis, then along the other: 2 size slices, not size².
    columns = [images[:, :, j : j + stride * (width - 1) + 1 : stride] for j in range(size)]
    shifted = jnp.stack(columns)
    rows = [shifted[:, :, i : i + stride * (height - 1) + 1 : stride] for i in range(size)]
    patches = jnp.stack(rows).reshape(size * size * in_channels, -1)
    product = weight.reshape(-1, out_channels).T @ patches
    return product.reshape(out_channels, height, width, images.shape[3])


class BatchNorm(eqx.Module):
    """Subtracts each channel's mean and divides by its deviation, both of the mini-batch at hand, then scales.

    There is no running state, in training or evaluation: f(x; ξ) is a function of parameters and mini-batch alone, as
    a replay requires.

    References:
      Ioffe and Szegedy, `Batch normalization <https://arxiv.org/abs/1502.03167>`_, 2015.
    """

    scale: Float[Array, " channels"]
    shift: Float[Array, " channels"]

    def __init__(self, channels: int):
        self.scale, self.shift = jnp.ones(channels), jnp.zeros(channels)

    def __call__(self, images: Images) -> Images:
        """Returns the output feature maps."""
        # Half precision has too few digits for sums over a batch.
        wide = images.astype(jnp.promote_types(images.dtype, jnp.float32))
        mean = jnp.mean(wide, axis=(1, 2, 3), keepdims=True)
        variance = jnp.mean((wide - mean) ** 2, axis=(1, 2, 3), keepdims=True)
        normal = ((wide - mean) * jax.lax.rsqrt(variance + 1e-5)).astype(images.dtype)
        return normal * self.scale[:, None, None, None] + self.shift[:, None, None, None]


def max_pool(images: Images) -> Images:
    """Returns the largest of each 2 × 2 pixels, without an odd row or column at the end."""
    channels, height, width, batch = images.shape
    height, width = height // 2, width // 2
    pairs = images[:, : 2 * height, : 2 * width].reshape(channels, height, 2, width, 2, batch)
    return jnp.max(pairs, axis=(2, 4))


def dense(layer: eqx.nn.Linear, features: Float[Array, "F B"]) -> Float[Array, "G B"]:
    """Applies a layer to each column."""
    return jax.vmap(layer, in_axes=1, out_axes=1)(features)


def scaled(width: float, *channels: int) -> tuple[int, ...]:
    """Returns numbers of channels times ``width``, rounded, at least 1 each."""
    return tuple(max(1, round(width * number)) for number in channels)
