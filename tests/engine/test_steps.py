"""Steps of several gradients, weights, workers' own data, tables and local steps, against plain NumPy."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import optim, traces
from asyncopt.checks import InputError
from asyncopt.engine import Checkpoint, batch_key, local_steps
from asyncopt.traces import Trace, policies

HESSIAN = np.array([[2.0, 0.3], [0.3, 1.0]])
NUM_WORKERS = 4


class OfWorkers(eqx.Module):
    """½ (x - c_w)ᵀ H (x - c_w) with noise, where each worker has its own centre c_w."""

    centres: jax.Array
    optimum: None = None
    constants: None = None

    def init(self, key):
        return jax.random.normal(key, (2,))

    def sample(self, key, worker):
        return self.centres[worker] + 0.1 * jax.random.normal(key, (2,))

    def loss(self, params, batch):
        return 0.5 * (params - batch) @ jnp.asarray(HESSIAN) @ (params - batch)

    def objective(self, params):
        return jnp.mean(jax.vmap(lambda centre: self.loss(params, centre))(self.centres))


CENTRES = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [2.0, -2.0]])
PROBLEM = OfWorkers(jnp.asarray(CENTRES))
CLOCK = traces.Clock(NUM_WORKERS, "exponential", seed=3)


def key_of(trace, k, seed=0):
    return batch_key(jax.random.key(seed), int(trace.sample[k]))


def noisy_centre(key, worker):
    return CENTRES[worker] + 0.1 * np.asarray(jax.random.normal(key, (2,)))


def start(seed=0):
    return np.asarray(PROBLEM.init(asyncopt.engine.init_key(jax.random.key(seed))))


def naive(trace, make_step, direction=None):
    """Every iterate kept; ``make_step(x, gradients, workers, weights)`` is called at the end of each step."""
    iterates, held = [start()], []
    step = np.arange(trace.num_updates) if trace.step is None else trace.step
    for k in range(trace.num_updates):
        y, worker = iterates[trace.read_version[k]], int(trace.worker[k])
        key = key_of(trace, k)
        sent = direction(y, key, worker) if direction else HESSIAN @ (y - noisy_centre(key, worker))
        held.append((sent, worker, trace.step_weight[k]))
        x = iterates[-1]
        if k + 1 == trace.num_updates or step[k + 1] > step[k]:
            x, held = make_step(x, *zip(*held, strict=True)), []
        iterates.append(x)
    return np.array(iterates)


def replayed(optimizer, trace, **more):
    """All iterates' end, by the compiled loop."""
    return np.asarray(asyncopt.replay(PROBLEM, optimizer, trace, eval_every=25, **more).params)


TRACES = {
    "buffered": traces.simulate(policies.buffered(3), CLOCK, 120),
    "malenia": traces.simulate(policies.malenia(8), CLOCK, 120),
    "rennala": traces.simulate(policies.rennala(5), CLOCK, 120),
    "rounds": traces.simulate(policies.rounds(take=3), CLOCK, 120),
    "weights alone": Trace(np.maximum(np.arange(60) - 2, 0), worker=np.arange(60) % 4, weight=np.linspace(0.5, 1, 60)),
}


@pytest.mark.parametrize("name", TRACES)
def test_a_step_takes_the_weighted_sum(name):
    trace = TRACES[name]
    iterates = naive(trace, lambda x, g, w, weights: x - 0.05 * np.tensordot(weights, g, 1))
    np.testing.assert_allclose(replayed(optax.sgd(0.05), trace), iterates[-1], rtol=1e-12)


@pytest.mark.parametrize("name", ["buffered", "malenia"])
def test_exact_replay_and_batches_agree(name):
    alone = replayed(optax.adam(0.05), TRACES[name])
    np.testing.assert_allclose(replayed(optax.adam(0.05), TRACES[name], exact=True), alone, rtol=1e-12)
    np.testing.assert_allclose(replayed(optax.adam(0.05), TRACES[name], seeds=3)[0], alone, rtol=1e-12)


@pytest.mark.parametrize(("size", "exponent"), [(1, 0.5), (3, 0.0), (4, 0.5)])
def test_steps_of_the_trace_are_those_of_buffer_updates(size, exponent):
    """The same steps, as fields of the trace and as a wrapper of the optimizer."""
    trace = traces.simulate(policies.buffered(size, exponent), CLOCK, 120)
    plain = Trace(trace.read_version, worker=trace.worker)
    wrapped = replayed(optim.buffer_updates(asyncopt.apam(0.05), size, exponent), plain)
    np.testing.assert_array_equal(replayed(asyncopt.apam(0.05), trace), wrapped)


def test_the_optimizer_is_told_the_largest_delay_in_steps():
    seen = []

    def update(updates, state, params=None, *, delay, **extra):
        assert not extra  # neither a worker nor a stale iterate: there are several
        jax.debug.callback(lambda number, g: seen.append((int(number), bool((g != 0).any()))), delay, updates)
        return updates, state

    trace = Trace([0, 0, 0, 2, 4, 1], step=[0, 0, 1, 1, 2, 2], worker=[0, 1, 2, 3, 0, 1])
    spy = optax.GradientTransformationExtraArgs(lambda params: (), update)
    asyncopt.replay(PROBLEM, optax.chain(spy, optax.sgd(0.1)), trace, eval_every=3)
    jax.effects_barrier()
    assert [delay for delay, _ in seen] == [0, 0, 1, 1, 2, 2]


def test_evaluations_fall_on_ends_of_steps():
    trace = TRACES["malenia"]
    result = asyncopt.replay(PROBLEM, optax.sgd(0.05), trace, eval_every=7)
    ends = np.flatnonzero(trace.makes_step) + 1
    assert set(result.step) <= {0, *ends}
    assert len(result.step) > 5
    np.testing.assert_array_equal(result.computed[1:], trace.computed[result.step[1:] - 1])
    assert list(result.to_frame().columns[:4]) == ["seed", "step", "time", "computed"]


def test_a_run_of_steps_resumes_to_the_same_bits(tmp_path):
    trace = TRACES["buffered"]
    whole = replayed(asyncopt.apam(0.05), trace)
    path = tmp_path / "checkpoint.npz"

    def stop(step, values):
        if step >= 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replayed(asyncopt.apam(0.05), trace, checkpoint=Checkpoint(path, "run", 0.0), on_evaluation=stop)
    assert path.exists()
    np.testing.assert_array_equal(replayed(asyncopt.apam(0.05), trace, checkpoint=Checkpoint(path, "run", 0.0)), whole)


@pytest.mark.parametrize("rounds", [False, True])
def test_gradient_table(rounds):
    policy = policies.ringleader() if rounds else policies.asynchronous()
    trace = traces.simulate(policy, CLOCK, 150)
    table, made = [[np.zeros(2)] for _ in range(NUM_WORKERS)], 0
    filled = [0] * NUM_WORKERS

    def make_step(x, gradients, workers, weights):
        nonlocal made
        for gradient, worker in zip(gradients, workers, strict=True):
            if rounds and filled[worker] == made // NUM_WORKERS + 1:
                table[worker].append(gradient)
            else:
                table[worker] = [gradient]
            filled[worker] = made // NUM_WORKERS + 1
        made += 1
        return x - 0.05 * np.mean([np.mean(mine, axis=0) for mine in table], axis=0)

    optimizer = optim.gradient_table(optax.sgd(0.05), NUM_WORKERS, rounds=rounds)
    np.testing.assert_allclose(replayed(optimizer, trace), naive(trace, make_step)[-1], rtol=1e-11)
    assert made == trace.num_steps


@pytest.mark.parametrize("compressor", ["top_k", "sign"])
def test_error_feedback(compressor):
    trace = traces.simulate(policies.asynchronous(), CLOCK, 100)
    memory = np.zeros((NUM_WORKERS, 2))

    def make_step(x, gradients, workers, weights):
        (gradient,), (worker,) = gradients, workers
        wanted = gradient + memory[worker]
        if compressor == "sign":
            sent = np.abs(wanted).mean() * np.sign(wanted)
        else:
            sent = np.where(np.arange(2) == np.abs(wanted).argmax(), wanted, 0.0)
        memory[worker] = wanted - sent
        return x - 0.05 * sent

    optimizer = optim.error_feedback(optax.sgd(0.05), NUM_WORKERS, compressor, share=0.5)
    np.testing.assert_allclose(replayed(optimizer, trace), naive(trace, make_step)[-1], rtol=1e-11)


def test_random_entries_are_kept_and_the_rest_remembered():
    optimizer = optim.error_feedback(optax.identity(), 2, "random_k", share=0.25, seed=1)
    params = jnp.zeros(8)
    state, total, sent_places = optimizer.init(params), np.zeros(8), set()
    for k in range(40):
        gradient = jnp.arange(1.0, 9.0)
        sent, state = optimizer.update(gradient, state, params, worker=k % 2)
        total += np.asarray(sent)
        assert (np.asarray(sent) != 0).sum() == 2
        sent_places |= set(np.flatnonzero(sent))
    assert sent_places == set(range(8))
    np.testing.assert_allclose(total + np.asarray(state.memory).sum(axis=0), 40 * np.arange(1.0, 9.0))


@pytest.mark.parametrize("keep_state", [False, True])
@pytest.mark.parametrize("num_steps", [3, [1, 2, 3, 5]])
def test_local_steps(num_steps, keep_state):
    trace = traces.simulate(policies.asynchronous(), CLOCK, 60)
    velocity = np.zeros((NUM_WORKERS, 2))

    def direction(y, key, worker):
        local, mine = y.copy(), velocity[worker].copy() if keep_state else np.zeros(2)
        for i in range(num_steps if isinstance(num_steps, int) else num_steps[worker]):
            centre = noisy_centre(jax.random.fold_in(key, i), worker)
            mine = 0.9 * mine + HESSIAN @ (local - centre)
            local = local - 0.02 * mine
        if keep_state:
            velocity[worker] = mine
        return y - local

    iterates = naive(trace, lambda x, g, w, weights: x - 0.7 * g[0], direction)
    work = local_steps(optax.sgd(0.02, momentum=0.9), num_steps, keep_state)
    np.testing.assert_allclose(replayed(optax.sgd(0.7), trace, work=work), iterates[-1], rtol=1e-11)
    several = replayed(optax.sgd(0.7), trace, work=work, seeds=2)
    np.testing.assert_allclose(several[0], iterates[-1], rtol=1e-11)


def test_one_local_step_is_one_gradient():
    """One step of SGD with step size a, sent to an outer SGD with step size 1, is SGD with step size a."""
    trace = traces.simulate(policies.asynchronous(), CLOCK, 60)
    keys = [key_of(trace, k) for k in range(60)]

    def make_step(x, g, w, weights):
        return x - g[0]

    def direction(y, key, worker):
        return 0.05 * HESSIAN @ (y - noisy_centre(jax.random.fold_in(key, 0), worker))

    assert len(keys) == trace.num_updates
    got = replayed(optax.sgd(1.0), trace, work=local_steps(optax.sgd(0.05), 1))
    np.testing.assert_allclose(got, naive(trace, make_step, direction)[-1], rtol=1e-11)


def test_what_does_not_go_together():
    trace = TRACES["buffered"]
    with pytest.raises(InputError, match="one gradient for each step"):
        asyncopt.replay(asyncopt.problems.quadratic(2, 3.0), asyncopt.apam(0.1), trace, record_bounds=True)
    with pytest.raises(InputError, match="exact is for one seed"):
        asyncopt.replay(PROBLEM, optax.sgd(0.1), trace, exact=True, work=local_steps(optax.sgd(0.1), 2))
    with pytest.raises(InputError, match=r"does not take steps of several gradients.*error_feedback needs worker="):
        asyncopt.replay(PROBLEM, optim.error_feedback(optax.sgd(0.1), NUM_WORKERS), trace)
    with pytest.raises(InputError, match=r"does not take steps of several gradients.* needs params and stale_params="):
        asyncopt.replay(PROBLEM, optim.compensate_delay(optax.sgd(0.1)), trace)
    with pytest.raises(InputError, match="num_steps has 3 numbers, expected one, or one for each of 4 workers"):
        asyncopt.replay(PROBLEM, optax.sgd(0.1), trace, work=local_steps(optax.sgd(0.1), [1, 2, 3]))
    with pytest.raises(InputError, match="a table for 3 workers, and the trace has 4"):
        asyncopt.replay(PROBLEM, optim.gradient_table(optax.sgd(0.1), 3), TRACES["rennala"])
    with pytest.raises(InputError, match="a table for 5 workers, and the trace has 4"):
        asyncopt.replay(PROBLEM, optim.error_feedback(optax.sgd(0.1), 5), TRACES["weights alone"])
    with pytest.raises(InputError, match="the trace has weights, which an optimizer"):
        asyncopt.replay(PROBLEM, optim.gradient_table(optax.sgd(0.1), NUM_WORKERS), trace)
    with pytest.raises(InputError, match="expected a transform that takes sums of gradients"):
        optim.gradient_table(optim.gradient_table(optax.sgd(0.1), 2), 2)
    with pytest.raises(InputError, match=r"inner is None, expected an optax.GradientTransformation"):
        optim.error_feedback(None, 2)
    with pytest.raises(TypeError, match="work is 5, expected an object with init and direction"):
        asyncopt.replay(PROBLEM, optax.sgd(0.1), trace, work=5)
    table = optim.gradient_table(optax.sgd(0.1), 2)
    with pytest.raises(InputError, match="worker is 9, expected at most 1"):
        table.update(jnp.ones(2), table.init(jnp.zeros(2)), worker=9)
    with pytest.raises(InputError, match="num_steps is 0"):
        local_steps(optax.sgd(0.1), 0)
    with pytest.raises(InputError, match="num_steps is 3000000000, expected numbers from 1 to 2147483647"):
        local_steps(optax.sgd(0.1), 3_000_000_000)
    with pytest.raises(InputError, match=r"num_steps is \[\], expected numbers"):
        local_steps(optax.sgd(0.1), [])
    with pytest.raises(InputError, match=r"inner_optimizer is EachGradient.*without a table of workers"):
        local_steps(optim.gradient_table(optax.sgd(0.1), 3), 2)
    with pytest.raises(InputError, match="inner_optimizer is 3"):
        local_steps(3, 1)


def test_fields_of_a_trace_are_checked_and_kept(tmp_path):
    trace = TRACES["malenia"]
    trace.save(tmp_path / "trace.npz")
    loaded = traces.load(tmp_path / "trace.npz")
    assert loaded == trace
    assert (loaded.arrivals, loaded.cancelled) == (trace.arrivals, trace.cancelled)
    assert loaded.wasted_seconds == trace.wasted_seconds
    for bad, message in (
        ({"step": [0, 2, 2]}, "step of update 1 is 2, expected 0 to 1"),
        ({"step": [1, 1, 2]}, "step of update 0 is 1, expected 0"),
        ({"weight": [1.0, np.nan, 1.0]}, "weight of update 1 is nan"),
        ({"weight": [1.0]}, "weight has shape"),
        ({"computed": [3, 2, 4]}, "computed of update 1 is 2"),
        ({"computed": [1, 1, 4]}, "computed of update 1 is 1, expected 2 to"),
        ({"arrivals": 2}, "arrivals is 2, expected an integer of at least 3"),
        ({"wasted_seconds": -1.0}, "wasted_seconds is -1.0"),
    ):
        with pytest.raises(InputError, match=message):
            Trace([0, 1, 2], **bad)
    assert Trace([0, 1, 2]) != Trace([0, 1, 2], step=[0, 0, 1])
    assert Trace([0, 1, 2], step=[0, 0, 1], weight=[1, 1, 1]) != Trace([0, 1, 2], step=[0, 0, 1])
