"""Residual networks: ResNet-18 for small images, and the wide WRN-28-5."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from asyncopt.problems.networks.layers import BatchNorm, Convolution, Images, dense, scaled


class BasicBlock(eqx.Module):
    """Two convolutions of 3 × 3 beside a shortcut, normalised after each convolution.

    References:
      He et al., `Deep residual learning for image recognition <https://arxiv.org/abs/1512.03385>`_, 2016.
    """

    convolutions: tuple[Convolution, Convolution]
    norms: tuple[BatchNorm, BatchNorm]
    shortcut: tuple[Convolution, BatchNorm] | None

    def __init__(self, before: int, after: int, stride: int, *, key: Key[Array, ""]):
        keys = jax.random.split(key, 3)
        self.convolutions = _pair(before, after, stride, keys[:2])
        self.norms = BatchNorm(after), BatchNorm(after)
        self.shortcut = None
        if stride != 1 or before != after:
            projection = Convolution(before, after, 1, stride=stride, bias=False, key=keys[2])
            self.shortcut = projection, BatchNorm(after)

    def __call__(self, images: Images) -> Images:
        """Returns the output feature maps."""
        (first, second), (first_norm, second_norm) = self.convolutions, self.norms
        result = second_norm(second(jax.nn.relu(first_norm(first(images)))))
        if self.shortcut is not None:
            projection, norm = self.shortcut
            images = norm(projection(images))
        return jax.nn.relu(result + images)


class PreActivationBlock(eqx.Module):
    """Two convolutions of 3 × 3 beside a shortcut, normalised before each convolution.

    References:
      He et al., `Identity mappings in deep residual networks <https://arxiv.org/abs/1603.05027>`_, 2016.
    """

    norms: tuple[BatchNorm, BatchNorm]
    convolutions: tuple[Convolution, Convolution]
    shortcut: Convolution | None

    def __init__(self, before: int, after: int, stride: int, *, key: Key[Array, ""]):
        keys = jax.random.split(key, 3)
        self.norms = BatchNorm(before), BatchNorm(after)
        self.convolutions = _pair(before, after, stride, keys[:2])
        self.shortcut = None
        if stride != 1 or before != after:
            self.shortcut = Convolution(before, after, 1, stride=stride, bias=False, key=keys[2])

    def __call__(self, images: Images) -> Images:
        """Returns the output feature maps."""
        (first, second), (first_norm, second_norm) = self.convolutions, self.norms
        active = jax.nn.relu(first_norm(images))
        # A projection takes the activated images, the identity those before.
        beside = images if self.shortcut is None else self.shortcut(active)
        return beside + second(jax.nn.relu(second_norm(first(active))))


class ResNet18(eqx.Module):
    """A stem of 3 × 3, four stages of two blocks, and the mean over all pixels.

    It has 11,173,962 parameters with three colours and 10 classes. The stem is the usual one for 32 × 32 pixels.
    """

    title: ClassVar[str] = "ResNet-18"
    stem: Convolution
    norm: BatchNorm
    blocks: tuple[BasicBlock, ...]
    output: eqx.nn.Linear

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float = 1.0, *, key: Key[Array, ""]):
        stages = scaled(width, 64, 128, 256, 512)
        keys = jax.random.split(key, 3)
        self.stem = Convolution(image_shape[0], stages[0], 3, padding=1, bias=False, key=keys[0])
        self.norm = BatchNorm(stages[0])
        self.blocks = _stages(BasicBlock, stages[0], stages, 2, keys[1])
        self.output = eqx.nn.Linear(stages[-1], num_classes, key=keys[2])

    def __call__(self, images: Images) -> Float[Array, "classes B"]:
        """Returns the score of each class for each image."""
        images = jax.nn.relu(self.norm(self.stem(images)))
        for block in self.blocks:
            images = block(images)
        return dense(self.output, jnp.mean(images, axis=(1, 2)))


class WideResNet(eqx.Module):
    """WRN-28-5: a stem, and three stages of four pre-activation blocks with 80, 160 and 320 channels.

    It has 9,132,634 parameters with three colours and 10 classes.

    References:
      Zagoruyko and Komodakis, `Wide residual networks <https://arxiv.org/abs/1605.07146>`_, 2016.
    """

    title: ClassVar[str] = "WRN-28-5"
    stem: Convolution
    blocks: tuple[PreActivationBlock, ...]
    norm: BatchNorm
    output: eqx.nn.Linear

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, width: float = 1.0, *, key: Key[Array, ""]):
        first, *stages = scaled(width, 16, 80, 160, 320)
        keys = jax.random.split(key, 3)
        self.stem = Convolution(image_shape[0], first, 3, padding=1, bias=False, key=keys[0])
        self.blocks = _stages(PreActivationBlock, first, stages, 4, keys[1])
        self.norm = BatchNorm(stages[-1])
        self.output = eqx.nn.Linear(stages[-1], num_classes, key=keys[2])

    def __call__(self, images: Images) -> Float[Array, "classes B"]:
        """Returns the score of each class for each image."""
        images = self.stem(images)
        for block in self.blocks:
            images = block(images)
        return dense(self.output, jnp.mean(jax.nn.relu(self.norm(images)), axis=(1, 2)))


def _pair(before: int, after: int, stride: int, keys: Key[Array, "2"]) -> tuple[Convolution, Convolution]:
    return (
        Convolution(before, after, 3, stride=stride, padding=1, bias=False, key=keys[0]),
        Convolution(after, after, 3, padding=1, bias=False, key=keys[1]),
    )


def _stages(block, before: int, stages, blocks_a_stage: int, key: Key[Array, ""]):
    """Returns all blocks; in each stage but the first, the first block halves the image."""
    blocks = []
    keys = iter(jax.random.split(key, len(stages) * blocks_a_stage))
    for number, after in enumerate(stages):
        for position in range(blocks_a_stage):
            stride = 2 if number > 0 and position == 0 else 1
            blocks.append(block(before, after, stride, key=next(keys)))
            before = after
    return tuple(blocks)
