"""Networks: their published sizes, both convolutions, gradients, and a replay of each at small width."""

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

import asyncopt
from asyncopt.problems import networks
from asyncopt.problems.data import ImageData
from asyncopt.problems.networks import layers

NETWORKS = {
    "perceptron": (networks.Perceptron, (1, 28, 28), 784 * 100 + 100 + 100 * 10 + 10),
    "lenet5": (networks.LeNet5, (1, 28, 28), 44_426),
    "all_cnn": (networks.AllCNN, (3, 32, 32), 1_681_268),
    "resnet18": (networks.ResNet18, (3, 32, 32), 11_173_962),
    "wrn_28_5": (networks.WideResNet, (3, 32, 32), 9_132_634),
}
every = pytest.mark.parametrize("name", NETWORKS)
SMALL_WIDTH = {"perceptron": 0.05, "lenet5": 0.2, "all_cnn": 0.02, "resnet18": 0.03, "wrn_28_5": 0.02}


def quick(function):
    """Compiles what runs a few times only, so that optimising it would take longer than that saves."""
    unoptimised = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(lambda *arguments: function(*arguments), compiler_options=unoptimised)


def images(size=16, channels=3, number=24, test=8):
    """Random images; the brightness tells the class."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, number + test)
    pixels = generator.integers(0, 80, (number + test, size, size, channels)) + 80 * labels[:, None, None, None]
    pixels = pixels.astype(np.uint8)
    return ImageData(
        "random", pixels[:number], labels[:number], 3, pixels[number:], labels[number:],
        np.full(channels, 0.5), np.full(channels, 0.3),
    )  # fmt: skip


@every
def test_has_the_published_number_of_parameters(name):
    network, shape, expected = NETWORKS[name]
    made = jax.eval_shape(lambda: network(shape, 10, key=jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(made)) == expected


@pytest.mark.parametrize(("size", "stride", "padding"), [(5, 1, 0), (3, 1, 1), (3, 2, 1), (1, 2, 0), (2, 3, 2)])
def test_both_convolutions_are_the_same_function(size, stride, padding):
    x_key, w_key = jax.random.split(jax.random.key(size))
    x, w = jax.random.normal(x_key, (3, 9, 8, 4)), jax.random.normal(w_key, (size, size, 3, 5))

    def value_and_gradient(convolve):
        def both(x, w):
            result = convolve(x, w, stride, padding)
            return result, *jax.grad(lambda x, w: jnp.sum(jnp.sin(convolve(x, w, stride, padding))), (0, 1))(x, w)

        return quick(both)(x, w)

    by_slices = value_and_gradient(layers.convolve_by_slices)
    for one, other in zip(by_slices, value_and_gradient(layers.convolve_by_library), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    chosen = layers.convolve(x, w, stride, padding)
    np.testing.assert_allclose(chosen, by_slices[0], rtol=1e-12, atol=1e-12)
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    expected = sum(scipy.signal.correlate2d(padded[c, :, :, 1], w[:, :, c, 2], mode="valid") for c in range(3))
    np.testing.assert_allclose(chosen[2, :, :, 1], expected[::stride, ::stride], rtol=1e-10, atol=1e-12)


def test_max_pool_leaves_out_an_odd_row():
    x = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
    expected = [[np.max(x[:, i : i + 2, j : j + 2], axis=(1, 2)) for j in (0, 2)] for i in (0, 2)]
    np.testing.assert_array_equal(layers.max_pool(x), np.array(expected).transpose(2, 0, 1, 3))


def test_batch_statistics_are_those_of_the_batch():
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (2, 5, 4, 30))
    normal = layers.BatchNorm(2)(x)
    np.testing.assert_allclose(normal.mean(axis=(1, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(normal.var(axis=(1, 2, 3)), 1, rtol=1e-4)


@every
def test_gradients_agree_with_finite_differences_and_two_steps_go_down(name):
    """Slow: the largest networks take XLA long to compile."""
    problem = getattr(asyncopt.problems, name)(images(), batch_size=6, width=SMALL_WIDTH[name], augment=True)
    params = quick(problem.init)(jax.random.key(1))
    assert isinstance(params, NETWORKS[name][0])
    batch = quick(problem.sample)(jax.random.key(2))
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    both = quick(jax.value_and_grad(lambda x: problem.loss(unflatten(x), batch)))
    before, gradient = both(flat)
    # A step small enough that it crosses hardly any kink of ReLU and pooling.
    for seed in range(3):
        direction = jax.random.normal(jax.random.key(seed), flat.shape)
        direction /= jnp.linalg.norm(direction)
        difference = (both(flat + 1e-6 * direction)[0] - both(flat - 1e-6 * direction)[0]) / 2e-6
        np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-4, atol=1e-8)
    optimizer = asyncopt.apam(1e-4)
    state, update = optimizer.init(flat), quick(optimizer.update)
    for _ in range(2):
        steps, state = update(both(flat)[1], state)
        flat += steps
    assert both(flat)[0] < before


def test_a_replay_of_a_small_network():
    problem = asyncopt.problems.perceptron(images(), batch_size=6, width=0.02, augment=True)
    result = asyncopt.replay(problem, asyncopt.apam(1e-3), asyncopt.traces.constant(2, 1), record_bounds=False)
    assert result.diverged_at == -1
    assert np.isfinite(result.objective).all()
    assert result.objective[-1] != result.objective[0]
    assert isinstance(result.params, networks.Perceptron)


def test_objective_is_the_mean_over_the_images_it_is_measured_on():
    data = images(number=530, size=16, channels=1)  # one part of 500 and a rest
    problem = asyncopt.problems.lenet5(data, width=0.2, objective_images=10_000)
    params = problem.init(jax.random.key(0))
    every_image = (data.images / 255 - 0.5) / 0.3
    scores = np.asarray(quick(params.__call__)(every_image.transpose(3, 1, 2, 0))).T
    log_sums = np.log(np.exp(scores).sum(axis=1))
    expected = np.mean(log_sums - scores[np.arange(530), data.labels])
    np.testing.assert_allclose(quick(problem.objective)(params), expected, rtol=1e-10)
    accuracy = np.mean(scores.argmax(axis=1) == data.labels)
    np.testing.assert_allclose(quick(problem.metrics)(params)["train_accuracy"], accuracy, rtol=1e-12)
    assert asyncopt.problems.lenet5(data, objective_images=53).measured_images.shape[0] == 53


def test_augmentation_moves_and_mirrors_by_the_key_alone():
    data = images(channels=1)
    plain = asyncopt.problems.perceptron(data, batch_size=32)
    moved = asyncopt.problems.perceptron(data, batch_size=32, augment=True)
    (x, y), (z, same) = plain.sample(jax.random.key(3)), moved.sample(jax.random.key(3))
    np.testing.assert_array_equal(y, same)  # the same images, in other places
    assert not np.allclose(x, z)
    np.testing.assert_array_equal(z, moved.sample(jax.random.key(3))[0])
    black = (0 - 0.5) / 0.3
    mirrored = 0
    for i in range(32):
        image, result = np.pad(x[0, :, :, i], 4, constant_values=black), z[0, :, :, i]
        offsets = [(r, c, f) for r in range(9) for c in range(9) for f in (1, -1)
                   if np.allclose(image[r : r + 16, c : c + 16][:, ::f], result)]  # fmt: skip
        assert len(offsets) == 1
        mirrored += offsets[0][2] == -1
    assert 6 < mirrored < 26


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "digits"}, "data is str, expected images"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"width": 0}, "width is 0"),
        ({"augment": 1}, "augment is 1, expected true or false"),
        ({"objective_images": 0}, "objective_images is 0"),
        ({"data": images(size=12)}, "12 × 12 pixels, expected at least 16 × 16"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(asyncopt.InputError, match=message):
        asyncopt.problems.lenet5(**{"data": images(), **settings})
