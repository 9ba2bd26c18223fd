"""The character model: against the same network in Flax, causality, its layers, and what it measures."""

import functools
import os

import equinox as eqx
import flax.linen
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

import asyncopt
from asyncopt import InputError
from asyncopt.problems import data
from asyncopt.problems.data import Text

CONTEXT, WIDTH, DEPTH, HEADS, VOCABULARY = 10, 16, 2, 2, 7
GENERATOR = np.random.default_rng(0)
CODES = GENERATOR.integers(0, VOCABULARY, 350, dtype=np.int32)
TEXT = Text("random", "abcdefg", CODES[:300], CODES[300:])
SIZES = {"context": CONTEXT, "width": WIDTH, "depth": DEPTH, "num_heads": HEADS, "batch_size": 3}


def model(**settings):
    return asyncopt.problems.char_lm(TEXT, **{**SIZES, "objective_windows": 6, **settings})


def compiled(function):
    """Compiles a method of a problem, which jit cannot hash."""
    return jax.jit(lambda *arguments: function(*arguments))


def disturbed(params, dtype):
    """Parameters with all leaves random, so that no norm has the scale 1."""
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    noise = np.random.default_rng(1).standard_normal(flat.shape)
    return jax.tree.map(lambda leaf: leaf.astype(dtype), unflatten(flat + 0.3 * noise))


@pytest.fixture(scope="module")
def params():
    return disturbed(compiled(model().init)(jax.random.key(0)), jnp.float64)


@pytest.fixture(scope="module")
def windows():
    return model().sample(jax.random.key(3))


def rotary(x):
    """Rotates pairs of coordinates as complex numbers, place by place; ``x`` is [B, T, heads, E]."""
    half = x.shape[-1] // 2
    turned = []
    for place in range(x.shape[1]):
        pairs = x[:, place, :, :half] + 1j * x[:, place, :, half:]
        pairs = pairs * jnp.exp(1j * place * 10_000.0 ** (-jnp.arange(half) / half))
        turned.append(jnp.concatenate([pairs.real, pairs.imag], axis=-1))
    return jnp.stack(turned, axis=1)


class Reference(flax.linen.Module):
    """The same network of Flax's layers; queries, keys and values have products of their own."""

    @flax.linen.compact
    def __call__(self, codes):
        dense = functools.partial(flax.linen.Dense, use_bias=False, param_dtype=jnp.float64)
        norm = functools.partial(flax.linen.RMSNorm, epsilon=1e-6, param_dtype=jnp.float64)
        x = flax.linen.Embed(VOCABULARY, WIDTH, param_dtype=jnp.float64)(codes)
        for block in range(DEPTH):
            y = norm(name=f"norm {block} 1")(x)
            heads = (
                dense(WIDTH, name=f"{part} {block}")(y).reshape(*y.shape[:2], HEADS, -1)
                for part in ("query", "key", "value")
            )
            query, key, value = heads
            mask = flax.linen.make_causal_mask(codes)
            mixed = flax.linen.dot_product_attention(rotary(query), rotary(key), value, mask=mask)
            x = x + dense(WIDTH, name=f"output {block}")(mixed.reshape(y.shape))
            hidden = flax.linen.gelu(dense(4 * WIDTH, name=f"up {block}")(norm(name=f"norm {block} 2")(x)))
            x = x + dense(WIDTH, name=f"down {block}")(hidden)
        return dense(VOCABULARY, name="head")(norm(name="last norm")(x))


def as_flax(params):
    """The same weights under the names of `Reference`."""
    embedding, *of_blocks, head = params.layers
    named = {"Embed_0": {"embedding": embedding.weight}, "last norm": {"scale": head.norm.scale}}
    kernels = {"head": head.weight}
    for block in range(DEPTH):
        attention, feed_forward = of_blocks[2 * block : 2 * block + 2]
        parts = zip(("query", "key", "value"), jnp.split(attention.inputs, 3, axis=1), strict=True)
        kernels |= {f"{part} {block}": kernel for part, kernel in parts}
        kernels |= {f"output {block}": attention.output, f"up {block}": feed_forward.hidden}
        kernels[f"down {block}"] = feed_forward.output
        named |= {
            f"norm {block} 1": {"scale": attention.norm.scale},
            f"norm {block} 2": {"scale": feed_forward.norm.scale},
        }
    return {"params": named | {name: {"kernel": kernel} for name, kernel in kernels.items()}}


def reference_loss(params, windows):
    scores = Reference().apply(as_flax(params), windows[:, :-1])
    chosen = jnp.take_along_axis(flax.linen.log_softmax(scores), windows[:, 1:, None], axis=-1)
    return -jnp.mean(chosen)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_loss_and_gradients_are_those_of_flax(params, windows, dtype, tolerance):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    value, gradient = compiled(jax.value_and_grad(model().loss))(params, windows)
    assert value.dtype == dtype
    wide = jax.tree.map(lambda leaf: leaf.astype("float64"), params)
    expected, expected_gradient = jax.jit(jax.value_and_grad(reference_loss))(wide, windows)
    np.testing.assert_allclose(value, expected, rtol=tolerance)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
        assert one.dtype == dtype
        assert abs(other).max() > 1e-3  # no layer is without effect
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * abs(other).max())


def scores(params, windows):
    """The scores of all next codes, by the layers but the loss."""
    *layers, head = params.layers
    carried = None
    for layer in layers:
        carried = layer(carried, windows)
    return head.logits(carried)


def test_a_character_changes_the_scores_from_its_place_on_alone(params, windows):
    scores_of = compiled(scores)
    before = scores_of(params, windows)
    for place in (0, 4, CONTEXT - 1):
        changed = windows.at[:, place].set((windows[:, place] + 1) % VOCABULARY)
        after = scores_of(params, changed)
        np.testing.assert_array_equal(after[:, :place], before[:, :place])
        moved = abs(after[:, place:] - before[:, place:]).max(axis=-1)
        assert (moved > 1e-6).all()


def test_the_order_of_the_characters_before_matters(params, windows):
    """One attention without positions would be a mean, in which places 1 and 2 can be exchanged."""
    shallow = eqx.tree_at(lambda params: params.layers, params, (*params.layers[:3], params.layers[-1]))
    scores_of = compiled(scores)
    assert windows[0, 1] != windows[0, 2]
    exchanged = windows.at[0, 1:3].set(windows[0, 2:0:-1])
    before, after = scores_of(shallow, windows), scores_of(shallow, exchanged)
    assert abs(after - before)[0, 6].max() > 1e-6
    np.testing.assert_array_equal(after[1:], before[1:])


def test_gradients_agree_with_finite_differences(params, windows):
    flat, unflatten = jax.flatten_util.ravel_pytree(params)
    both = jax.jit(jax.value_and_grad(lambda x: model().loss(unflatten(x), windows)))
    gradient = both(flat)[1]
    for seed in range(3):
        direction = jax.random.normal(jax.random.key(seed), flat.shape)
        direction /= jnp.linalg.norm(direction)
        difference = (both(flat + 1e-5 * direction)[0] - both(flat - 1e-5 * direction)[0]) / 2e-5
        np.testing.assert_allclose(gradient @ direction, difference, rtol=1e-6)


def test_the_layers_compose_to_the_loss(params, windows):
    problem = model()
    assert len(problem.layers) == 2 * DEPTH + 2
    carried, shapes = None, []
    for layer in problem.layers:
        carried = layer(params, carried, windows)
        shapes.append(carried.shape)
    assert shapes == [(3, CONTEXT, WIDTH)] * (2 * DEPTH + 1) + [()]
    np.testing.assert_array_equal(carried, problem.loss(params, windows))
    assert problem.layers == problem.layers  # so that programs made for them are found again
    assert hash(problem.layers) == hash(model().layers)


def test_each_layer_uses_its_own_leaves_alone(params, windows):
    problem = model()
    numbers = problem.layer_numbers(params)
    assert jax.tree.structure(numbers) == jax.tree.structure(params)
    flat = jax.tree.leaves(numbers)
    assert all(isinstance(number, int) for number in flat)
    assert flat == sorted(flat)
    assert set(flat) == set(range(len(problem.layers)))
    carried = None
    for number, layer in enumerate(problem.layers):

        def total(params, layer=layer, carried=carried):
            return jnp.sum(jnp.sin(layer(params, carried, windows)))

        gradient = compiled(jax.grad(total))(params)
        used = [bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradient)]
        assert used == [owner == number for owner in flat]
        only_its_own = jax.tree.map(
            lambda leaf, owner, n=number: leaf if owner == n else leaf * np.nan, params, numbers
        )
        run = compiled(layer)
        carried, again = run(params, carried, windows), run(only_its_own, carried, windows)
        np.testing.assert_array_equal(again, carried)


def test_the_start_is_of_the_key_alone_and_predicts_all_characters_alike():
    problem = model()
    one, same = (compiled(problem.init)(jax.random.key(5)) for _ in range(2))
    other = problem.init(jax.random.key(6))
    for leaf, again, another in zip(*map(jax.tree.leaves, (one, same, other)), strict=True):
        np.testing.assert_array_equal(leaf, again)
        assert leaf.ndim == 1 or (leaf != another).mean() > 0.9
    matrices = [leaf.ravel() for leaf in jax.tree.leaves(one) if leaf.ndim == 2]
    assert len({float(matrix[0] / matrix[1]) for matrix in matrices}) == len(matrices)  # no key is used twice
    np.testing.assert_allclose(problem.loss(one, problem.sample(jax.random.key(0))), np.log(VOCABULARY), atol=0.1)


def test_a_mini_batch_is_windows_of_the_training_text_by_the_key_alone():
    problem = model(batch_size=2_000)
    batch = np.asarray(problem.sample(jax.random.key(1)))
    np.testing.assert_array_equal(batch, problem.sample(jax.random.key(1)))
    starts = {CODES[start : start + CONTEXT + 1].tobytes(): start for start in range(300 - CONTEXT)}
    assert problem.num_rows == len(starts)
    drawn = [starts[window.tobytes()] for window in batch]
    assert (min(drawn), max(drawn)) == (0, 300 - CONTEXT - 1)


@pytest.mark.parametrize(("objective_windows", "number", "number_held_out"), [(6, 6, 4), (18, 18, 4), (10_000, 29, 4)])
def test_objective_and_metrics_are_means_over_windows_that_do_not_overlap(
    params, objective_windows, number, number_held_out
):
    problem = model(objective_windows=objective_windows)
    loss = compiled(problem.loss)

    def mean(codes, number):
        starts = [int(i * (len(codes) - 1 - CONTEXT) / (number - 1)) for i in range(number)]
        assert min(np.diff(starts)) >= CONTEXT
        return np.mean([loss(params, codes[None, start : start + CONTEXT + 1]) for start in starts])

    np.testing.assert_allclose(compiled(problem.objective)(params), mean(CODES[:300], number), rtol=1e-12)
    metrics = compiled(problem.metrics)(params)
    test_loss = mean(CODES[300:], number_held_out)
    np.testing.assert_allclose(metrics["test_loss"], test_loss, rtol=1e-12)
    np.testing.assert_allclose(metrics["test_perplexity"], np.exp(test_loss), rtol=1e-12)


def test_nothing_is_measured_where_nothing_is_held_out(params):
    problem = asyncopt.problems.char_lm(Text("all", "abcdefg", CODES, CODES[:0]), **SIZES)
    assert problem.metrics(params) == {}


def test_products_have_the_dtype_that_is_asked_for(params, windows):
    assert model().compute_dtype == ("bfloat16" if jax.default_backend() == "gpu" else None)
    exact = float(compiled(model().loss)(params, windows))
    for dtype, tolerance in (("bfloat16", 0.1), ("float32", 1e-5)):
        problem = model(compute_dtype=dtype)
        assert jax.eval_shape(problem.layers[0], params, None, windows).dtype == dtype
        value, gradient = compiled(jax.value_and_grad(problem.loss))(params, windows)
        assert value.dtype == jnp.float32
        assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float64")}
        assert 0 < abs(float(value) - exact) < tolerance


def test_double_precision_has_to_be_enabled():
    with jax.enable_x64(False), pytest.raises(asyncopt.InputError, match="compute_dtype is 'float64', expected JAX to"):
        model(compute_dtype="float64")
    assert model(compute_dtype="float64").compute_dtype == "float64"


def test_a_replay_learns_and_a_stale_one_otherwise():
    problem = model(width=8, depth=1)
    runs = [
        asyncopt.replay(problem, asyncopt.apam(1e-2), asyncopt.traces.constant(30, delay), eval_every=15)
        for delay in (0, 3)
    ]
    for run in runs:
        assert run.objective[-1] < run.objective[0]
        assert np.isfinite(run.metrics["test_perplexity"]).all()
    assert runs[0].objective[-1] != runs[1].objective[-1]


def test_the_default_model_is_as_large_as_said():
    problem = asyncopt.problems.char_lm()
    assert 790_000 < problem.constants.dimension < 850_000
    assert problem.num_classes == len(asyncopt.problems.data.text().vocabulary)
    assert problem.title == "character model"
    shapes = jax.eval_shape(problem.init, jax.random.key(0))
    assert problem.constants.dimension == sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": "text"}, "data is str, expected a text"),
        ({"context": 0}, "context is 0"),
        ({"context": 60}, "random: test_codes has 50 characters, expected more than context, 60"),
        ({"context": 300}, "random: codes has 300 characters, expected more than context, 300"),
        ({"width": 18}, r"width is 18, expected a multiple of 2 · num_heads, 4"),
        ({"width": 0}, "width is 0"),
        ({"depth": 0}, "depth is 0"),
        ({"num_heads": 0}, "num_heads is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"objective_windows": 0}, "objective_windows is 0"),
        ({"compute_dtype": "int32"}, "compute_dtype is 'int32', expected one of"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(asyncopt.InputError, match=message):
        asyncopt.problems.char_lm(**{"data": TEXT, **SIZES, **settings})


def test_a_pipe_is_no_text(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: path is no regular file"):
        data.text(tmp_path / "pipe")
