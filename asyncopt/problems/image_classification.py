"""Classification of images by a network: the non-convex problems that people train."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from asyncopt.checks import InputError, check_integer, check_number
from asyncopt.problems import networks
from asyncopt.problems.data import ImageData
from asyncopt.problems.problem import Constants

# Images evaluated at once: few enough for the memory of any machine. Batch statistics are of these images, too.
_EVALUATED_AT_ONCE = 500
# Zeros on each side of an image before it is cropped to its size again.
_MARGIN = 4


class Architecture(NamedTuple):
    """What is needed to make a network; equal ones share a compilation."""

    network: Callable[..., eqx.Module]
    image_shape: tuple[int, int, int]  # C, H, W
    num_classes: int
    width: float


class ImageClassification(eqx.Module):
    """Mean cross-entropy of a network over training images; parameters are the network itself, an Equinox module.

    F is measured on an evenly spaced part of the training images, the same in every evaluation.
    """

    images: UInt8[Array, "N H W C"]
    labels: Int[Array, " N"]
    measured_images: UInt8[Array, "O H W C"]
    measured_labels: Int[Array, " O"]
    test_images: UInt8[Array, "M H W C"]
    test_labels: Int[Array, " M"]
    mean: Float[Array, " C"]
    deviation: Float[Array, " C"]
    constants: Constants
    optimum: None
    architecture: Architecture = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    augment: bool = eqx.field(static=True)

    def init(self, key: Key[Array, ""]) -> Any:
        """Returns a network with random weights."""
        network, *settings = self.architecture
        return network(*settings, key=key)

    def sample(self, key: Key[Array, ""]) -> tuple[Float[Array, "C H W B"], Int[Array, " B"]]:
        """Draws ``batch_size`` training images, with replacement, and crops and flips them if asked to."""
        row_key, crop_key, flip_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (self.batch_size,), 0, len(self.labels))
        images = self.images[rows]
        if self.augment:
            images = _flip(_crop(images, crop_key), flip_key)
        return self._normalised(images), self.labels[rows]

    def loss(self, params: Any, batch: tuple[Float[Array, "C H W B"], Int[Array, " B"]]) -> Float[Array, ""]:
        """Returns the MEAN cross-entropy of a mini-batch."""
        images, labels = batch
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(_scores(params, images), labels))

    def objective(self, params: Any) -> Float[Array, ""]:
        """Returns the mean cross-entropy over the images that F is measured on, without augmentation."""
        return self._means(params, self.measured_images, self.measured_labels)[0]

    def metrics(self, params: Any) -> dict[str, Float[Array, ""]]:
        """Returns accuracy on the images F is measured on, and loss and accuracy on those held out if there are any."""
        _, train_accuracy = self._means(params, self.measured_images, self.measured_labels)
        if not len(self.test_labels):
            return {"train_accuracy": train_accuracy}
        test_loss, test_accuracy = self._means(params, self.test_images, self.test_labels)
        return {"train_accuracy": train_accuracy, "test_loss": test_loss, "test_accuracy": test_accuracy}

    def _normalised(self, images: UInt8[Array, "B H W C"]) -> Float[Array, "C H W B"]:
        pixels = images.astype(self.mean.dtype) / 255
        return ((pixels - self.mean) / self.deviation).transpose(3, 1, 2, 0)

    def _means(self, params: Any, images: UInt8[Array, "M H W C"], labels: Int[Array, " M"]) -> Float[Array, "2"]:
        """Returns mean cross-entropy and accuracy over all images, taken in parts."""

        # Nothing is kept of a part for the gradient: it is computed again.
        @jax.checkpoint
        def part_sums(images, labels):
            scores = _scores(params, self._normalised(images))
            losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
            right = jnp.argmax(scores, axis=1) == labels
            return jnp.stack([jnp.sum(losses), jnp.sum(right, dtype=losses.dtype)])

        number = len(labels)
        size = min(_EVALUATED_AT_ONCE, number)
        whole = number // size * size
        parts = tuple(x[:whole].reshape(-1, size, *x.shape[1:]) for x in (images, labels))
        sums = jnp.sum(jax.lax.map(lambda part: part_sums(*part), parts), axis=0)
        if whole < number:
            sums += part_sums(images[whole:], labels[whole:])
        return sums / number


def _scores(network: Any, images: Float[Array, "C H W B"]) -> Float[Array, "B classes"]:
    """Returns what a network says, computed in the dtype of its parameters; float32 at least."""
    dtype = jax.tree.leaves(network)[0].dtype
    scores = network(images.astype(dtype)).T
    return scores.astype(jnp.promote_types(scores.dtype, jnp.float32))


def _crop(images: UInt8[Array, "B H W C"], key: Key[Array, ""]) -> UInt8[Array, "B H W C"]:
    """Returns each image moved by up to `_MARGIN` pixels in each direction, black where it leaves a gap."""
    number, *shape = images.shape
    margins = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
    corners = jax.random.randint(key, (number, 2), 0, 2 * _MARGIN + 1)

    def crop_one(image, corner):
        return jax.lax.dynamic_slice(jnp.pad(image, margins), (corner[0], corner[1], 0), shape)

    return jax.vmap(crop_one)(images, corners)


def _flip(images: UInt8[Array, "B H W C"], key: Key[Array, ""]) -> UInt8[Array, "B H W C"]:
    """Returns the images, about half of them mirrored left to right."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def perceptron(
    data: ImageData, batch_size: int = 40, width: float = 1.0, augment: bool = False, objective_images: int = 5_000
) -> ImageClassification:
    """A perceptron with one hidden layer of 100 · ``width`` units; see `lenet5` for the arguments."""
    return _problem(networks.Perceptron, data, batch_size, width, augment, objective_images)


def lenet5(
    data: ImageData, batch_size: int = 40, width: float = 1.0, augment: bool = False, objective_images: int = 5_000
) -> ImageClassification:
    """LeNet-5 on images of at least 16 × 16 pixels. All networks take the same arguments.

    Parameters have JAX's default float dtype.

    Args:
      data: images, as the loaders of `asyncopt.problems.data` give them.
      batch_size: images drawn for a gradient, at least 1.
      width: multiplies all numbers of channels and hidden units; small ones make quick tests.
      augment: crop and flip the images of a mini-batch at random, keyed by the number of the sample.
      objective_images: on how many of the training images F is measured, evenly spaced among them.

    Raises:
      InputError: if ``data`` is something else, or a number is out of range.
    """
    return _problem(networks.LeNet5, data, batch_size, width, augment, objective_images)


def all_cnn(
    data: ImageData, batch_size: int = 100, width: float = 1.0, augment: bool = True, objective_images: int = 5_000
) -> ImageClassification:
    """The all-convolutional network of the paper's artificial-delay experiment; see `lenet5` for the arguments."""
    return _problem(networks.AllCNN, data, batch_size, width, augment, objective_images)


def resnet18(
    data: ImageData, batch_size: int = 80, width: float = 1.0, augment: bool = True, objective_images: int = 5_000
) -> ImageClassification:
    """ResNet-18 with a stem of 3 × 3; see `lenet5` for the arguments."""
    return _problem(networks.ResNet18, data, batch_size, width, augment, objective_images)


def wrn_28_5(
    data: ImageData, batch_size: int = 100, width: float = 1.0, augment: bool = True, objective_images: int = 5_000
) -> ImageClassification:
    """The wide residual network WRN-28-5; see `lenet5` for the arguments."""
    return _problem(networks.WideResNet, data, batch_size, width, augment, objective_images)


def _problem(
    network: Callable[..., eqx.Module],
    data: Any,
    batch_size: int,
    width: float,
    augment: bool,
    objective_images: int,
) -> ImageClassification:
    if not isinstance(data, ImageData):
        raise InputError(f"data is {type(data).__name__}, expected images (data=fashion_mnist, say)")
    batch_size = check_integer("batch_size", batch_size, at_least=1)
    width = check_number("width", width, above=0)
    number = min(check_integer("objective_images", objective_images, at_least=1), len(data.images))
    if not isinstance(augment, bool):
        raise InputError(f"augment is {augment!r}, expected true or false")
    rows, columns, channels = data.images.shape[1:]
    architecture = Architecture(network, (channels, rows, columns), data.num_classes, width)
    made = jax.eval_shape(lambda: network(*architecture[1:], key=jax.random.key(0)))
    measured = np.linspace(0, len(data.images), number, endpoint=False).astype(int)
    dtype = jnp.zeros(()).dtype
    return ImageClassification(
        images=jnp.asarray(data.images),
        labels=jnp.asarray(data.labels, jnp.int32),
        measured_images=jnp.asarray(data.images[measured]),
        measured_labels=jnp.asarray(data.labels[measured], jnp.int32),
        test_images=jnp.asarray(data.test_images),
        test_labels=jnp.asarray(data.test_labels, jnp.int32),
        mean=jnp.asarray(data.mean, dtype),
        deviation=jnp.asarray(data.deviation, dtype),
        constants=Constants(dimension=sum(leaf.size for leaf in jax.tree.leaves(made)), lower_bound=0.0),
        optimum=None,
        architecture=architecture,
        batch_size=batch_size,
        augment=augment,
    )
