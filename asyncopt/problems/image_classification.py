"""Classification of images by a network: the non-convex problems of deep learning."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key, UInt8

from asyncopt.checks import InputError, check_flag, check_integer, check_number
from asyncopt.problems import networks
from asyncopt.problems.data import ImageData
from asyncopt.problems.partitioned import of_workers
from asyncopt.problems.parts import sums_in_parts
from asyncopt.problems.problem import Constants, Described

# Images evaluated at once: few enough for the memory of any machine. Batch statistics are over these images, too.
_EVALUATED_AT_ONCE = 500
# Zeros added on each side of an image before it is cropped to its old size.
_MARGIN = 4


class Architecture(NamedTuple):
    """A network's class and its arguments; problems with equal ones share a compilation."""

    network: type[Any]  # an Equinox module with a ``title``, constructed from the other three and a key
    image_shape: tuple[int, int, int]  # C, H, W
    num_classes: int
    width: float


class ImageClassification(Described, eqx.Module):
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
    minimiser: None
    architecture: Architecture = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    augment: bool = eqx.field(static=True)

    @property
    def title(self) -> str:
        """The network's name."""
        return self.architecture.network.title

    @property
    def num_rows(self) -> int:
        """N, the number of training images."""
        return self.labels.shape[0]

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return self.architecture.num_classes

    def init(self, key: Key[Array, ""]) -> Any:
        """Returns a network with random weights."""
        network, *settings = self.architecture
        return network(*settings, key=key)

    def sample(self, key: Key[Array, ""]) -> tuple[Float[Array, "C H W B"], Int[Array, " B"]]:
        """Draws ``batch_size`` training images, with replacement, and crops and flips them if ``augment`` is set."""
        row_key, crop_key, flip_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (self.batch_size,), 0, len(self.labels))
        return self._batch(rows, crop_key, flip_key)

    def batch_of(self, rows: Int[Array, " B"], key: Key[Array, ""]) -> tuple[Float[Array, "C H W B"], Int[Array, " B"]]:
        """Returns the mini-batch of these training images, cropped and flipped if ``augment`` is set."""
        return self._batch(rows, *jax.random.split(key))

    def _batch(self, rows, crop_key, flip_key):
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
        """Returns the accuracy on the images that F is measured on, and loss and accuracy on held-out ones, if any."""
        _, train_accuracy = self._means(params, self.measured_images, self.measured_labels)
        if not len(self.test_labels):
            return {"train_accuracy": train_accuracy}
        test_loss, test_accuracy = self._means(params, self.test_images, self.test_labels)
        return {"train_accuracy": train_accuracy, "test_loss": test_loss, "test_accuracy": test_accuracy}

    def _normalised(self, images: UInt8[Array, "B H W C"]) -> Float[Array, "C H W B"]:
        pixels = images.astype(self.mean.dtype) / 255
        return ((pixels - self.mean) / self.deviation).transpose(3, 1, 2, 0)

    def _means(self, params: Any, images: UInt8[Array, "M H W C"], labels: Int[Array, " M"]) -> Float[Array, "2"]:
        """Returns mean cross-entropy and accuracy over all images, computed in parts."""

        def part_sums(part):
            images, labels = part
            scores = _scores(params, self._normalised(images))
            losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
            correct = jnp.argmax(scores, axis=1) == labels
            return jnp.stack([jnp.sum(losses), jnp.sum(correct, dtype=losses.dtype)])

        return sums_in_parts(part_sums, (images, labels), _EVALUATED_AT_ONCE) / len(labels)


def _scores(network: Any, images: Float[Array, "C H W B"]) -> Float[Array, "B classes"]:
    """Returns a network's scores as float32 at least, computed in the dtype of its parameters."""
    dtype = jax.tree.leaves(network)[0].dtype
    scores = network(images.astype(dtype)).T
    return scores.astype(jnp.promote_types(scores.dtype, jnp.float32))


def _crop(images: UInt8[Array, "B H W C"], key: Key[Array, ""]) -> UInt8[Array, "B H W C"]:
    """Returns each image shifted by up to `_MARGIN` pixels in each direction; gaps are black."""
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


def _constructor(
    name: str, network: type[Any], default_batch_size: int, default_augment: bool, description: str
) -> Callable[..., ImageClassification]:
    """Returns the public constructor for one network; all but two defaults are the same for all networks."""

    def construct(
        data: ImageData,
        batch_size: int = default_batch_size,
        width: float = 1.0,
        augment: bool = default_augment,
        objective_images: int = 5_000,
    ) -> ImageClassification:
        if not isinstance(data, ImageData):
            raise InputError(f"data is {type(data).__name__}, expected images (data=fashion_mnist, say)")
        batch_size = check_integer("batch_size", batch_size, at_least=1)
        width = check_number("width", width, above=0)
        num_measured = min(check_integer("objective_images", objective_images, at_least=1), len(data.images))
        check_flag("augment", augment)
        rows, columns, channels = data.images.shape[1:]
        architecture = Architecture(network, (channels, rows, columns), data.num_classes, width)
        shapes = jax.eval_shape(lambda: network(*architecture[1:], key=jax.random.key(0)))
        measured = np.linspace(0, len(data.images), num_measured, endpoint=False).astype(int)
        dtype = jnp.zeros(()).dtype
        problem = ImageClassification(
            images=jnp.asarray(data.images),
            labels=jnp.asarray(data.labels, jnp.int32),
            measured_images=jnp.asarray(data.images[measured]),
            measured_labels=jnp.asarray(data.labels[measured], jnp.int32),
            test_images=jnp.asarray(data.test_images),
            test_labels=jnp.asarray(data.test_labels, jnp.int32),
            mean=jnp.asarray(data.mean, dtype),
            deviation=jnp.asarray(data.deviation, dtype),
            constants=Constants(dimension=sum(leaf.size for leaf in jax.tree.leaves(shapes)), lower_bound=0.0),
            optimum=None,
            minimiser=None,
            architecture=architecture,
            batch_size=batch_size,
            augment=augment,
        )
        return of_workers(problem, data.num_workers)

    construct.__name__ = construct.__qualname__ = name  # so that it is pickled by reference and documented
    construct.__doc__ = f"""Returns the classification of images by {description}.

    Parameters have JAX's default float dtype.

    Args:
      data: images, as the loaders of `asyncopt.problems.data` return them. Those that
        `asyncopt.problems.data.partition` has divided make a problem whose workers have data of their own.
      batch_size: images drawn for a gradient, at least 1.
      width: factor of all numbers of channels and hidden units; small ones make quick tests.
      augment: whether to crop and flip the images of a mini-batch at random, keyed by the number of the sample.
      objective_images: how many of the training images F is measured on, evenly spaced among them.

    Raises:
      InputError: if ``data`` is something else, or a number is out of range.
    """
    return construct


perceptron = _constructor(
    "perceptron", networks.Perceptron, 40, False, "a perceptron with 100 · ``width`` hidden units"
)
lenet5 = _constructor("lenet5", networks.LeNet5, 40, False, "LeNet-5, which needs at least 16 × 16 pixels")
all_cnn = _constructor("all_cnn", networks.AllCNN, 100, True, "the all-convolutional network of Xu et al.")
resnet18 = _constructor("resnet18", networks.ResNet18, 80, True, "ResNet-18 with a stem of 3 × 3")
wrn_28_5 = _constructor("wrn_28_5", networks.WideResNet, 100, True, "the wide residual network WRN-28-5")
