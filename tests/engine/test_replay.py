import collections
import re
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.sparse
from jaxtyping import Array, PyTree

import asyncopt
from asyncopt import traces
from asyncopt.engine import ApamProbe, loop
from asyncopt.engine.draws import batch_keys
from asyncopt.engine.state import Facts, Inputs, Schedule, Stops
from asyncopt.problems import data
from asyncopt.traces import Trace


def plain_optax_loop(problem, optimizer, num_updates, seed, sample_inside):
    """What anyone would write without this package; mini-batches drawn inside the compiled step, or before it."""
    key = jax.random.key(seed)
    params = problem.init(asyncopt.engine.init_key(key))
    state = optimizer.init(params)

    def sample(k):
        return problem.sample(asyncopt.engine.batch_key(key, k))

    @jax.jit
    def step(params, state, batch):
        gradient = jax.grad(problem.loss)(params, sample(batch) if sample_inside else batch)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    sample_before = jax.jit(sample)
    for k in range(num_updates):
        params, state = step(params, state, k if sample_inside else sample_before(k))
    return params, state


@pytest.mark.optimised
@pytest.mark.parametrize(
    "optimizer",
    [
        asyncopt.apam(0.02),
        asyncopt.apam(0.02, eps=0.0, bias_correction=True),
        asyncopt.apam(lambda k: 0.3 / jnp.sqrt(k + 1.0), constraint=asyncopt.Box(-0.3, 0.3)),
        asyncopt.apam(0.02, constraint=asyncopt.L2Ball(2.0)),
        optax.inject_hyperparams(asyncopt.apam)(0.02),
        optax.sgd(0.1, momentum=0.9, nesterov=True),
        optax.adamw(0.01),
        optax.chain(optax.clip_by_global_norm(1.0), optax.amsgrad(0.01)),
    ],
    ids=["apam", "corrected", "box", "ball", "injected", "sgd", "adamw", "amsgrad"],
)
def test_zero_delay_is_the_plain_optax_loop_bit_for_bit(digits, optimizer):
    results = [
        asyncopt.replay(digits, optimizer, traces.synchronous(300), seed=3, eval_every=70, record_bounds=record_bounds)
        for record_bounds in (True, False)
    ]
    for sample_inside in (True, False):
        params, state = plain_optax_loop(digits, optimizer, 300, 3, sample_inside)
        for result in results:
            np.testing.assert_array_equal(result.params, params)
            jax.tree.map(np.testing.assert_array_equal, result.optimizer_state, state)


# Since JAX 0.12, XLA rounds the product of a matrix and a vector in another way within a loop than in a program of its
# own. That of two matrices (digits, above) and sparse rows have the same bits.
ROUNDS_VECTORS_OTHERWISE = tuple(map(int, jax.__version__.split(".")[:2])) >= (0, 12)


# On the quadratic all of an update is one chain of sums of products, and the plain loop's own last bit depends on
# whether it draws the mini-batch inside its compiled step, as the engine does: XLA fuses other products then.
@pytest.mark.optimised
@pytest.mark.parametrize("optimizer", [asyncopt.apam(0.01), optax.sgd(0.05, momentum=0.9)], ids=["apam", "sgd"])
@pytest.mark.parametrize(
    ("make", "sampled_inside", "has_same_bits"),
    [
        (lambda: asyncopt.problems.quadratic(50), [True], True),
        (lambda: asyncopt.problems.logistic("breast_cancer", l2=1e-2), [True, False], not ROUNDS_VECTORS_OTHERWISE),
        (lambda: asyncopt.problems.logistic(sparse_data()), [True, False], True),
    ],
    ids=["quadratic", "dense", "sparse"],
)
def test_zero_delay_is_the_plain_optax_loop_on_every_problem(make, sampled_inside, has_same_bits, optimizer):
    problem = make()
    result = asyncopt.replay(problem, optimizer, traces.synchronous(300), seed=1)
    for sample_inside in sampled_inside:
        params, _ = plain_optax_loop(problem, optimizer, 300, 1, sample_inside)
        if has_same_bits:
            np.testing.assert_array_equal(result.params, params)
        else:
            np.testing.assert_allclose(result.params, params, rtol=0, atol=1e-14)


def sparse_data():
    rng = np.random.default_rng(0)
    features = scipy.sparse.random_array((200, 300), density=0.05, rng=rng, format="csr")
    return data.split("sparse", features, rng.integers(0, 2, 200), 2, 0.0, 0)


@pytest.mark.usefixtures("compiled_anew")
def test_same_inputs_same_bytes():
    arguments = (asyncopt.problems.quadratic(20), asyncopt.apam(0.02), traces.uniform(500, 20))
    first = asyncopt.replay(*arguments, seeds=range(3), record_bounds=True)
    jax.clear_caches()
    second = asyncopt.replay(*arguments, seeds=range(3), record_bounds=True)
    for field in ("params", "average", "objective", "gap", "grad_norm_sq", "average_gap", "drift"):
        assert np.asarray(getattr(first, field)).tobytes() == np.asarray(getattr(second, field)).tobytes(), field
    assert {k: v.tobytes() for k, v in first.bound_terms.items()} == {
        k: v.tobytes() for k, v in second.bound_terms.items()
    }


@pytest.mark.optimised
def test_a_run_alone_equals_itself_in_a_batch(digits):
    trace, optimizer = traces.uniform(2_000, 20), asyncopt.apam(0.02)
    seeds = [5, 0, 17]  # not a multiple of the number of devices
    settings = {"eval_every": "percent", "record_bounds": True}
    together = asyncopt.replay(digits, optimizer, trace, seeds=seeds, **settings)
    assert together.gap.shape == (3, 114)
    assert together.seeds == (5, 0, 17)
    for row, seed in enumerate(seeds):
        alone = asyncopt.replay(digits, optimizer, trace, seed=seed, **settings)
        scale = np.abs(alone.params).max()
        np.testing.assert_allclose(together.params[row], alone.params, atol=1e-10 * scale, rtol=0)
        np.testing.assert_allclose(together.objective[row], alone.objective, rtol=1e-10)
        np.testing.assert_allclose(together.drift[row], alone.drift, rtol=1e-9)
        for name, values in alone.bound_terms.items():
            np.testing.assert_allclose(together.bound_terms[name][row], values, rtol=1e-9)
    assert np.abs(together.params[0] - together.params[1]).max() > 1e-3


def test_seeds_are_spread_over_the_devices(digits):
    assert len(jax.local_devices()) == 2
    result = asyncopt.replay(digits, asyncopt.apam(0.02), traces.constant(20, 2), seeds=range(4))
    # `params` has lost its padding, and with it perhaps its place; the state has not.
    assert len(result.params.sharding.device_set) == 2


class Seen:
    """Not a pytree, so that the loop keeps this very object."""

    def __init__(self):
        self.batches = []


class Listening(eqx.Module):
    """Records what is drawn, as the loop draws it."""

    seen: "Seen"
    optimum: None = None
    constants: None = None

    def init(self, key):
        return jnp.zeros(2)

    def sample(self, key):
        return jax.random.normal(key, (2,))

    def loss(self, params, batch):
        jax.debug.callback(lambda b: self.seen.batches.append(tuple(np.asarray(b))), batch)
        return jnp.sum(batch * params)

    def objective(self, params):
        return jnp.sum(params**2)


def drawn(trace, seed=0):
    problem = Listening(Seen())
    asyncopt.replay(problem, optax.sgd(0.1), trace, seed=seed)
    jax.effects_barrier()
    return problem.seen.batches


def test_mini_batches_depend_on_seed_and_sample_alone():
    base = drawn(traces.synchronous(20))
    assert len(set(base)) == 20
    for trace in (traces.constant(20, 5), traces.pareto(20, 3.0), Trace(np.zeros(20))):
        assert collections.Counter(drawn(trace)) == collections.Counter(base)
    assert collections.Counter(drawn(Trace(np.arange(20), sample=np.arange(20)[::-1].copy()))) == (
        collections.Counter(base)
    )
    fourth = Listening(Seen()).sample(asyncopt.engine.batch_key(jax.random.key(0), 4))
    assert drawn(Trace(np.arange(20), sample=np.full(20, 4))) == [tuple(np.asarray(fourth))] * 20
    assert not set(base) & set(drawn(traces.synchronous(20), seed=1))


def test_one_compilation_serves_all_traces_of_one_length(digits):
    traced = collections.Counter()

    class Counting(eqx.Module):
        inner: PyTree
        optimum: None = None
        constants: None = None

        def loss(self, params, batch):
            traced["loss"] += 1
            return self.inner.loss(params, batch)

        def init(self, key):
            return self.inner.init(key)

        def sample(self, key):
            return self.inner.sample(key)

        def objective(self, params):
            return self.inner.objective(params)

    problem, optimizer = Counting(digits), asyncopt.apam(0.02)
    # Live versions from 9 to 11: with one scratch slot, all fit into 12.
    for trace in (
        traces.constant(100, 8),
        traces.constant(100, 9),
        traces.constant(100, 10),
        traces.uniform(100, 20, seed=1),
        traces.cluster(100, 10),
    ):
        assert 8 <= trace.live_versions <= 11
        for seed in (0, 1):
            asyncopt.replay(problem, optimizer, trace, seed=seed, eval_every=50)
    assert traced["loss"] == 1
    asyncopt.replay(problem, optimizer, traces.constant(100, 40), eval_every=50)
    assert traced["loss"] == 2


def compiled_text(problem, optimizer, start, probes=()):
    """The compiled loop of 100 updates."""
    slots = asyncopt.engine.plan(traces.uniform(100, 20))
    keys = batch_keys(jax.random.key(0), jnp.arange(100))
    read, write = (jnp.asarray(x, jnp.int32) for x in (slots.read_slot, slots.write_slot))
    state = loop.start(optimizer, start, slots.capacity, None, probes, True)
    zero = jnp.asarray(0, jnp.int32)
    lowered = loop.advance_one.lower(
        probes,
        Inputs(problem, optimizer, None, Schedule(read, write, Facts(read, write)), keys),
        state,
        Stops(zero, zero, jnp.array([100], jnp.int32), jnp.array([True])),
    )
    return lowered.compile().compiled.as_text()


@pytest.mark.optimised
@pytest.mark.parametrize(
    ("optimizer", "probes"),
    [(asyncopt.apam(0.02), (ApamProbe(),)), (asyncopt.apam(0.02), ()), (optax.adam(0.01), ())],
    ids=["apam and its bounds", "apam", "adam"],
)
def test_history_and_parameters_are_updated_in_place(digits, optimizer, probes):
    """XLA copies a buffer that is read after it is written; copies in each update would be slow."""
    program = compiled_text(digits, optimizer, jnp.zeros((65, 10)), probes)
    inside, before_the_loop = program.split("\nENTRY ")
    copy = r"= f64\[(\d+,)?65,10\]\S* copy\("
    assert not re.search(r"= f64\[\d+,65,10\]\S* copy\(", inside)
    # A probe of APAM reads two moments, which XLA copies before they are overwritten.
    assert len(re.findall(copy, inside)) == 2 * len(probes)
    assert re.search(copy, before_the_loop)  # of the arguments, which the caller keeps


@pytest.mark.optimised
@pytest.mark.parametrize("size", [64, 65, 66, 1729])
def test_no_number_of_coordinates_makes_xla_copy_the_history(size):
    """A sum of one entry, the rest of 65 or of 1,729 by 64, was once computed anew after the write."""
    program = compiled_text(asyncopt.problems.quadratic(size), optax.sgd(0.1), jnp.zeros(size))
    inside, _ = program.split("\nENTRY ")
    assert re.search(rf"f64\[\d+,{size}\]", inside)
    assert not re.search(rf"= f64\[\d+,{size}\]\S* copy\(", inside)


@pytest.mark.optimised
@pytest.mark.parametrize(
    "optimizer",
    [
        asyncopt.optim.gradient_table(optax.sgd(0.1), 7),
        asyncopt.optim.gradient_table(optax.sgd(0.1), 7, rounds=True),
        asyncopt.optim.error_feedback(optax.sgd(0.1), 7, "sign"),
    ],
    ids=["gradient_table", "gradient_table in rounds", "error_feedback"],
)
def test_a_table_of_workers_is_updated_in_place(optimizer):
    program = compiled_text(asyncopt.problems.quadratic(640), optimizer, jnp.zeros(640))
    inside, _ = program.split("\nENTRY ")
    assert re.search(r"f64\[7,640\]", inside)
    assert not re.search(r"= f64\[7,640\]\S* copy\(", inside)


@pytest.mark.optimised
def test_number_of_evaluations_does_not_change_the_run(digits):
    trace, optimizer = traces.uniform(1_500, 9), asyncopt.apam(0.02)
    often = asyncopt.replay(digits, optimizer, trace, eval_every=1, record_bounds=True)  # more evaluations than calls
    seldom = asyncopt.replay(digits, optimizer, trace, eval_every=10_000)
    uneven = asyncopt.replay(digits, optimizer, trace, eval_every=400, record_bounds=True)
    np.testing.assert_array_equal(often.params, seldom.params)
    np.testing.assert_array_equal(often.average, seldom.average)
    np.testing.assert_array_equal(uneven.step, [0, 400, 800, 1200, 1500])
    np.testing.assert_array_equal(seldom.step, [0, 1500])
    np.testing.assert_array_equal(often.objective[uneven.step], uneven.objective)
    assert uneven.drift[-1] == pytest.approx(often.drift[1201:].mean())
    assert uneven.bound_terms["scaled_momentum_sum"][-1] == often.bound_terms["scaled_momentum_sum"][-1]


def test_optimizer_is_told_delay_and_stale_params():
    problem = asyncopt.problems.quadratic(2, noise=0.0)
    trace = traces.uniform(10, 5, seed=2)

    def update(updates, state, params, *, delay, stale_params, **_):
        # The gradient of this problem gives away where it was computed.
        error = jnp.abs(updates - problem.eigenvalues * stale_params).max()
        history, k = state
        return -0.1 * updates, (history.at[k].set(jnp.array([delay, error])), k + 1)

    spy = optax.GradientTransformationExtraArgs(lambda params: (jnp.zeros((10, 2)), 0), update)
    told = np.asarray(asyncopt.replay(problem, spy, trace).optimizer_state[0])
    np.testing.assert_array_equal(told[:, 0], trace.delay)
    assert told[:, 1].max() < 1e-15


def test_parameters_may_be_any_pytree_of_any_dtype():
    class Tree(eqx.Module):
        optimum: float = 0.0
        constants: None = None

        def init(self, key) -> dict[str, Array | tuple | None]:
            return {"a": jnp.ones((2, 2), jnp.bfloat16), "b": (jnp.ones(3, jnp.float32), None)}

        def sample(self, key):
            return jax.random.normal(key, (), jnp.float32)

        def loss(self, params, batch):
            return jnp.sum(params["a"].astype(jnp.float32) ** 2) + jnp.sum((params["b"][0] - 0.01 * batch) ** 2)

        def objective(self, params):
            return self.loss(params, 0.0)

    result = asyncopt.replay(Tree(), asyncopt.apam(0.05), traces.uniform(200, 4), seeds=[0, 1])
    assert result.params["a"].dtype == jnp.bfloat16
    assert result.params["b"][0].dtype == jnp.float32
    assert result.average["a"].dtype == jnp.float32
    assert result.params["a"].shape == (2, 2, 2)
    assert result.params["b"][1] is None
    assert (result.gap[:, -1] < 0.1 * result.gap[:, 0]).all()


def test_any_object_with_the_methods_is_a_problem():
    class Plain:
        optimum = 0.0
        constants = None

        def init(self, key):
            return jnp.ones(2)

        def sample(self, key):
            return None

        def loss(self, params, batch):
            return jnp.sum(params**2)

        objective = staticmethod(lambda params: jnp.sum(params**2))

    result = asyncopt.replay(Plain(), optax.sgd(0.1), traces.constant(100, 1))
    assert result.gap[-1] < 1e-6
    assert result.metrics == {}


def test_clock_of_a_cluster(digits):
    trace = traces.cluster(50, 3, compute=1.0, server=0.1)
    result = asyncopt.replay(digits, asyncopt.apam(0.1), trace, eval_every=25)
    np.testing.assert_array_equal(result.time, [0.0, trace.time[24], trace.time[49]])
    assert asyncopt.replay(digits, asyncopt.apam(0.1), traces.synchronous(5)).time is None


def test_progress_is_shown_on_demand(digits, capfd):
    arguments = (digits, asyncopt.apam(0.1), traces.synchronous(50))
    asyncopt.replay(*arguments)
    assert capfd.readouterr().err == ""
    asyncopt.replay(*arguments, progress=True)
    assert "updates" in capfd.readouterr().err


def test_replay_is_a_function_whatever_is_imported_first():
    code = (
        "import asyncopt, asyncopt.engine.runner, inspect; assert inspect.isfunction(asyncopt.replay);"
        "assert list(inspect.signature(asyncopt.replay).parameters)[:3] == ['problem', 'optimizer', 'trace']"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
