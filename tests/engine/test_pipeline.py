"""Delays of layers: replays of pipelines against programs that run them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt.engine import Run, Settings, batch_key, init_key, replay_batch
from asyncopt.engine.prepare import prepare
from tests import pipelines

WIDTH, LAYERS, UPDATES = 5, 8, 200
OPTIMIZERS = {"sgd": optax.sgd(0.01, momentum=0.8), "adamw": optax.adamw(3e-3), "apam": asyncopt.apam(3e-3)}


def middle(own, carried, batch):
    return jnp.tanh(carried @ own["weight"] + own["bias"])


def first(own, carried, batch):
    return middle(own, batch[0], batch)


def last(own, carried, batch):
    return jnp.mean((middle(own, carried, batch) - batch[1]) ** 2)


class Chain:
    """Layers of tanh(w x + b), each of several leaves; the last returns a squared error."""

    optimum = None
    constants = None

    def init(self, key):
        keys = jax.random.split(key, LAYERS)
        return [
            {"bias": jnp.full(WIDTH, 0.1), "weight": jax.random.normal(key, (WIDTH, WIDTH)) / WIDTH**0.5}
            for key in keys
        ]

    def sample(self, key):
        return jax.random.normal(key, (2, 3, WIDTH))

    @property
    def layers(self):
        def at(number, layer):
            return lambda params, carried, batch: layer(params[number], carried, batch)

        return (at(0, first), *[at(number, middle) for number in range(1, LAYERS - 1)], at(LAYERS - 1, last))

    def layer_numbers(self, params):
        return [jax.tree.map(lambda leaf, number=number: number, layer) for number, layer in enumerate(params)]

    def loss(self, params, batch):
        carried = None
        for layer in self.layers:
            carried = layer(params, carried, batch)
        return carried

    def objective(self, params):
        return self.loss(params, jax.random.normal(jax.random.key(7), (2, 20, WIDTH)))


PROBLEM = Chain()


def emulated(optimizer, num_stages, stashing, num_updates, seed=0):
    key = jax.random.key(seed)
    params = PROBLEM.init(init_key(key))
    batches = [PROBLEM.sample(batch_key(key, jnp.int32(number))) for number in range(num_updates)]

    layers = [first, *[middle] * (LAYERS - 2), last]
    return pipelines.emulate(layers, params, optimizer, batches, num_stages, stashing)


@functools.cache
def replayed(stashing):
    """The run of each number of stages, all of several stages in one program: they differ in how much a leaf keeps."""
    traces = {stages: asyncopt.traces.pipeline(UPDATES, stages, stashing=stashing) for stages in (1, 2, 4, 8)}
    runs = {stages: Run(PROBLEM, OPTIMIZERS["sgd"], trace, [0]) for stages, trace in traces.items()}
    together = replay_batch([runs[stages] for stages in (2, 4, 8)], Settings(eval_every=UPDATES))
    alone = replay_batch([runs[1]], Settings(eval_every=UPDATES))
    ends = [jax.tree.map(lambda leaf: leaf[0], result.params) for result in (*alone, *together)]
    return {stages: (traces[stages], end) for stages, end in zip(traces, ends, strict=True)}


@pytest.mark.parametrize("stashing", [True, False])
@pytest.mark.parametrize("num_stages", [1, 2, 4, 8])
def test_a_replay_is_the_pipeline(num_stages, stashing):
    trace, params = replayed(stashing)[num_stages]
    stages = emulated(OPTIMIZERS["sgd"], num_stages, stashing, UPDATES)
    expected = [layer for stage in stages for layer in stage.weights]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), params, expected)
    for number, stage in enumerate(stages):
        reads = {(kind, update): version for kind, update, version in stage.reads}
        forward = [reads["forward", k] for k in range(UPDATES)]
        backward = [reads["backward", k] for k in range(UPDATES)]
        versions = trace.read_version if trace.block_version is None else trace.block_version[:, number]
        np.testing.assert_array_equal(versions, forward)
        if trace.backward_version is not None:
            np.testing.assert_array_equal(trace.backward_version[:, number], backward)


@pytest.mark.optimised  # or rounding errors of two programs grow to 2e-11
def test_a_replay_is_the_pipeline_of_a_transformer():
    num_stages, stashing = 4, False
    characters = "To be, or not to be, that is the question: whether"
    vocabulary = "".join(sorted(set(characters)))
    codes = np.array([vocabulary.index(character) for character in characters], np.int32)
    data = asyncopt.problems.data.Text("a text", vocabulary, codes, codes[:10])
    problem = asyncopt.problems.char_lm(data, context=6, width=8, depth=1, num_heads=2, batch_size=2)
    key = jax.random.key(0)
    weights = problem.init(init_key(key)).layers
    batches = [problem.sample(batch_key(key, jnp.int32(number))) for number in range(UPDATES)]
    layers = [lambda own, carried, batch: own(carried, batch)] * len(weights)  # own is an Equinox module
    stages = pipelines.emulate(layers, list(weights), OPTIMIZERS["sgd"], batches, num_stages, stashing)
    expected = tuple(layer for stage in stages for layer in stage.weights)
    trace = asyncopt.traces.pipeline(UPDATES, num_stages, stashing=stashing)
    result = asyncopt.replay(problem, OPTIMIZERS["sgd"], trace, eval_every=UPDATES)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), result.params.layers, expected)


@pytest.mark.parametrize("name", ["adamw", "apam"])
def test_without_stashing_the_pipelines_differ(name):
    """The test above would notice if forward or backward pass took the other's weights."""
    ends = [
        asyncopt.replay(PROBLEM, OPTIMIZERS[name], asyncopt.traces.pipeline(UPDATES, 4, stashing=stashing)).params
        for stashing in (True, False)
    ]
    apart = max(float(jnp.max(jnp.abs(a - b))) for a, b in zip(*map(jax.tree.leaves, ends), strict=True))
    assert apart > 1e-4
    stages = emulated(OPTIMIZERS[name], 4, False, UPDATES)
    expected = [layer for stage in stages for layer in stage.weights]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12), ends[1], expected)


def test_seeds_and_exact_replays_are_the_same_run():
    trace = asyncopt.traces.pipeline(40, 4, stashing=False)
    alone = asyncopt.replay(PROBLEM, OPTIMIZERS["apam"], trace, seed=1)
    exact = asyncopt.replay(PROBLEM, OPTIMIZERS["apam"], trace, seed=1, exact=True)
    both = asyncopt.replay(PROBLEM, OPTIMIZERS["apam"], trace, seeds=[0, 1])
    for other in (exact.params, jax.tree.map(lambda x: x[1], both.params)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), alone.params, other)


def test_pipelines_of_several_depths_are_one_program():
    runs = [Run(PROBLEM, OPTIMIZERS["sgd"], asyncopt.traces.pipeline(30, stages), [0]) for stages in (2, 8)]
    together = replay_batch(runs, Settings())
    for run, result in zip(runs, together, strict=True):
        alone = asyncopt.replay(PROBLEM, OPTIMIZERS["sgd"], run.trace, seeds=[0])
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), result.params, alone.params)


def test_memory_is_live_versions_of_each_block():
    num_stages = 8
    trace = asyncopt.traces.pipeline(50, num_stages)
    assert trace.block_live_versions == tuple(num_stages - stage for stage in range(num_stages))
    run = Run(PROBLEM, OPTIMIZERS["sgd"], trace, [0])
    prepared = prepare(run, Settings())
    assert max(prepared.leaf_blocks) == num_stages - 1
    for capacity, block in zip(prepared.slots.capacity, prepared.leaf_blocks, strict=True):
        live = num_stages - block  # one slot more is for scratch, and a few sizes of histories share a compilation
        assert live < capacity <= max(2, (live + 1) * 3 // 2)


def test_the_optimizer_is_told_the_delay_of_each_leaf():
    def update(updates, state, params=None, *, delay, leaf_delay, **extra):
        # An iterate that counts: each leaf adds its own delay, and a hundred times the largest.
        return jax.tree.map(lambda x, own: jnp.full_like(x, own + 100.0 * delay), params, leaf_delay), state

    told = optax.GradientTransformationExtraArgs(lambda params: (), update)
    trace = asyncopt.traces.pipeline(20, 4)
    for exact in (False, True):
        result = asyncopt.replay(PROBLEM, told, trace, exact=exact)
        start = PROBLEM.init(init_key(jax.random.key(0)))
        moved = [float((after["bias"] - before["bias"])[0]) for after, before in zip(result.params, start, strict=True)]
        of_stage = [sum(min(k, 3 - stage) for k in range(20)) for stage in range(4)]
        largest = 100 * of_stage[0]
        np.testing.assert_allclose(moved, np.repeat(of_stage, 2) + largest, rtol=1e-9)


def test_blocks_may_be_a_function_of_paths():
    trace = asyncopt.traces.pipeline(60, 2)
    swapped = asyncopt.replay(PROBLEM, OPTIMIZERS["sgd"], trace, blocks=lambda path: int(int(path[1]) < LAYERS // 2))
    usual = asyncopt.replay(PROBLEM, OPTIMIZERS["sgd"], trace, blocks=lambda path: int(int(path[1]) >= LAYERS // 2))
    default = asyncopt.replay(PROBLEM, OPTIMIZERS["sgd"], trace)
    jax.tree.map(np.testing.assert_array_equal, usual.params, default.params)
    assert not np.allclose(swapped.params[0]["weight"], default.params[0]["weight"], rtol=1e-6)


def test_containers_are_layers_where_a_problem_has_none():
    class Plain(Chain):
        layer_numbers = None

    trace = asyncopt.traces.pipeline(30, 4)
    plain, layered = (asyncopt.replay(problem, OPTIMIZERS["sgd"], trace) for problem in (Plain(), PROBLEM))
    jax.tree.map(np.testing.assert_array_equal, plain.params, layered.params)


def test_blocks_of_shared_memory_as_layers():
    """A trace of shared memory may say of layers what it says of coordinates."""
    trace = asyncopt.traces.shared_memory(30, 3, num_blocks=LAYERS)
    named = asyncopt.traces.Trace(
        trace.read_version, block_version=trace.block_version, blocks="layers", worker=trace.worker
    )
    a, b = (asyncopt.replay(PROBLEM, OPTIMIZERS["sgd"], t, blocks="layers") for t in (trace, named))
    jax.tree.map(np.testing.assert_array_equal, a.params, b.params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": "stages"}, "blocks is 'stages', expected None, 'layers', or a function"),
        ({"blocks": lambda path: 9}, r"blocks of leaf \[0\]\['bias'\] is 9, expected at most 3"),
        ({"blocks": lambda path: "a"}, r"blocks of leaf \[0\]\['bias'\] is 'a'"),
        ({"record_bounds": True}, "expected no work, no probes or record_bounds"),
        ({"work": asyncopt.engine.local_steps(optax.sgd(0.1), 2)}, "expected no work, no probes"),
    ],
)
def test_bad_blocks(arguments, message):
    stashing = "blocks" in arguments
    with pytest.raises(asyncopt.InputError, match=message):
        asyncopt.replay(PROBLEM, OPTIMIZERS["apam"], asyncopt.traces.pipeline(9, 4, stashing=stashing), **arguments)


@pytest.mark.parametrize(
    ("numbers", "found"), [("first", "'first'"), (0.5, r"0\.5"), (-1, "-1, expected an integer of at least 0")]
)
def test_bad_numbers_of_layers(numbers, found):
    class Numbered(Chain):
        def layer_numbers(self, params):
            return jax.tree.map(lambda leaf: numbers, params)

    with pytest.raises(asyncopt.InputError, match=f"a leaf of layer_numbers of the problem is {found}"):
        asyncopt.replay(Numbered(), OPTIMIZERS["sgd"], asyncopt.traces.pipeline(9, 2))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((1,), "layers of the problem has 1, expected functions of params, carried and batch"),
        ((lambda params, carried, batch: params[0]["bias"],), r"layers returns .*, expected the loss, one number"),
        ((lambda params, carried, batch: (params[0]["bias"][0],),), r"layers returns .*, expected the loss, one"),
    ],
)
def test_bad_layers(layers, message):
    class Layered(Chain):
        pass

    Layered.layers = layers
    with pytest.raises(asyncopt.InputError, match=message):
        asyncopt.replay(Layered(), OPTIMIZERS["sgd"], asyncopt.traces.pipeline(9, 2, stashing=False))


def test_layers_that_are_not_the_loss():
    class Doubled(Chain):
        def loss(self, params, batch):
            return 2 * super().loss(params, batch)

    with pytest.raises(asyncopt.InputError, match=r"layers compose to 0\.\d+ at the start, expected its loss, "):
        asyncopt.replay(Doubled(), OPTIMIZERS["sgd"], asyncopt.traces.pipeline(9, 2, stashing=False))


def test_more_stages_than_layers():
    with pytest.raises(asyncopt.InputError, match="the trace has 9 stages, and the problem 8 layers"):
        asyncopt.replay(PROBLEM, OPTIMIZERS["sgd"], asyncopt.traces.pipeline(9, 9))


def test_backward_passes_need_layers():
    with pytest.raises(asyncopt.InputError, match=r"has no layers, expected a problem that has them, such as char_lm"):
        asyncopt.replay(
            asyncopt.problems.quadratic(8), OPTIMIZERS["sgd"], asyncopt.traces.pipeline(9, 2, stashing=False)
        )
