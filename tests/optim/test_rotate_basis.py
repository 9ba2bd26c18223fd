"""`rotate_basis`: against a loop of its paper's algorithm, what it keeps, and what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import optim

SHAPE = (4, 5)
ADAM = {"b1": 0.9, "b2": 0.99, "eps": 1e-3}  # where a direction has no gradient yet, a small ε magnifies rounding


def gradients(count, shape=SHAPE, seed=0):
    """Returns gradients that are larger in some directions than in others, not along the axes."""
    random = np.random.default_rng(seed)
    left, right = random.normal(size=(shape[0], shape[0])), random.normal(size=(shape[1], shape[1]))
    return [left @ random.normal(size=shape) @ right for _ in range(count)]


def run(transform, sequence, params):
    """Returns the steps for a sequence of gradients, and the last state."""
    state, steps = transform.init(params), []
    update = jax.jit(transform.update)
    for gradient in sequence:
        step, state = update(gradient, state, params)
        params = optax.apply_updates(params, step)
        steps.append(step)
    return steps, state


def power_step(covariance, basis):
    q, r = np.linalg.qr(covariance @ basis)
    return q * np.where(np.diagonal(r) < 0, -1, 1)


def reference(sequence, params, every, decay, sides, weight_decay=0.0, alpha=0.1, b1=0.9, b2=0.99, eps=1e-3):
    """Returns the steps of the paper's Algorithm 1: the first moment is kept in the original coordinates."""
    (m, n), (turn_rows, turn_columns) = SHAPE, sides
    u, v, rows, columns = np.eye(m), np.eye(n), np.zeros((m, m)), np.zeros((n, n))
    mean, second, steps = np.zeros(SHAPE), np.zeros(SHAPE), []
    for t, g in enumerate(sequence, start=1):
        mean = b1 * mean + (1 - b1) * g
        rows, columns = decay * rows + (1 - decay) * g @ g.T, decay * columns + (1 - decay) * g.T @ g
        if t % every == 0:
            u = power_step(rows, u) if turn_rows else u
            v = power_step(columns, v) if turn_columns else v
        second = b2 * second + (1 - b2) * (u.T @ g @ v) ** 2
        turned = u.T @ mean @ v / (1 - b1**t) / (np.sqrt(second / (1 - b2**t)) + eps)
        steps.append(-alpha * (u @ turned @ v.T + weight_decay * params))
        params = params + steps[-1]
    return steps


@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize(("max_side", "sides"), [(5, (True, True)), (4, (True, False)), (3, (False, False))])
def test_as_in_the_paper_s_algorithm(every, max_side, sides):
    params = np.random.default_rng(1).normal(size=SHAPE)
    transform = optim.rotate_basis(optax.adam(0.1, **ADAM), every, decay=0.95, max_side=max_side)
    steps, _ = run(transform, gradients(50), params)
    np.testing.assert_allclose(steps, reference(gradients(50), params, every, 0.95, sides), rtol=1e-10, atol=1e-10)


INSIDE = {
    "chain": lambda: optax.chain(optax.scale_by_adam(**ADAM), optax.add_decayed_weights(0.3), optax.scale(-0.1)),
    "adamw": lambda: optax.adamw(0.1, **ADAM, weight_decay=0.3),
    "injected": lambda: optax.inject_hyperparams(optax.adamw)(0.1, **ADAM, weight_decay=0.3),
    "masked": lambda: optax.masked(optax.adamw(0.1, **ADAM, weight_decay=0.3), True),
    "scaled": lambda: optim.scale_steps_by_delay(optax.adamw(0.1, **ADAM, weight_decay=0.3)),
}


@pytest.mark.parametrize("inside", INSIDE)
def test_moments_are_turned_at_any_depth(inside):
    params = np.random.default_rng(1).normal(size=SHAPE)
    transform = optim.rotate_basis(INSIDE[inside](), 4, decay=0.95)
    told = transform._replace(update=lambda *args: transform.update(*args, delay=1))
    steps, _ = run(told, gradients(50), params)
    expected = reference(gradients(50), params, 4, 0.95, (True, True), weight_decay=0.3)
    np.testing.assert_allclose(steps, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "inner",
    [
        optax.sgd(0.1, momentum=0.9),
        optax.sgd(0.1, momentum=0.9, nesterov=True),
        optim.lookahead_nesterov(0.1, 0.9),
        optax.chain(optax.ema(0.9, debias=False), optax.scale(-1.0)),
    ],
    ids=["momentum", "nesterov", "look-ahead", "mean"],
)
def test_what_is_linear_does_not_depend_on_the_basis(inner):
    params = np.zeros(SHAPE)
    ours, _ = run(optim.rotate_basis(inner, 3), gradients(30), params)
    plain, _ = run(optax.with_extra_args_support(inner), gradients(30), params)
    np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rank", [1, 4])
def test_bases_stay_orthogonal(rank):
    """Also where the gradients say nothing about most directions."""
    sequence = gradients(200, (6, 5))
    if rank == 1:
        sequence = [np.outer(g[:, 0], sequence[0][0]) * 1e-8 for g in sequence]
    _, state = run(optim.rotate_basis(optax.adam(0.1), 2), sequence, np.zeros((6, 5)))
    for side, length in zip(state.sides, (6, 5), strict=True):
        np.testing.assert_allclose(side.basis.T @ side.basis, np.eye(length), atol=1e-10)
        assert np.abs(side.basis - np.eye(length)).max() > 0.1


def test_the_basis_tends_to_the_eigenvectors():
    sequence = gradients(3000)
    _, state = run(optim.rotate_basis(optax.adam(0.1), 1, decay=0.999), sequence, np.zeros(SHAPE))
    for side in state.sides:
        rotated = side.basis.T @ side.covariance @ side.basis
        assert np.abs(rotated - np.diag(np.diagonal(rotated))).max() < 0.01 * rotated[0, 0]


@pytest.mark.optimised
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("inner", [optax.adamw(0.1), asyncopt.apam(0.1), optax.sgd(0.1, momentum=0.9)])
def test_before_the_first_change_of_basis_it_is_the_optimizer_inside_to_the_last_bit(inner, dtype):
    params = {"w": jnp.ones((3, 4), dtype), "b": jnp.ones(3, dtype), "kernel": jnp.ones((2, 2, 2), dtype)}
    sequence = [jax.tree.map(lambda p, k=k: jnp.cos(k + jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape), params)
                for k in range(10)]  # fmt: skip
    ours, _ = run(optim.rotate_basis(inner, 1000), sequence, params)
    plain, _ = run(optax.with_extra_args_support(inner), sequence, params)
    jax.tree.map(np.testing.assert_array_equal, ours, plain)


def test_other_leaves_are_those_of_the_optimizer_inside():
    params = {"w": jnp.ones(SHAPE), "b": jnp.ones(5), "kernel": jnp.ones((2, 3, 4)), "row": jnp.ones((1, 1))}
    sequence = [jax.tree.map(lambda p, k=k: jnp.cos(p * k), params) for k in range(1, 9)]
    ours, _ = run(optim.rotate_basis(optax.adam(0.1), 2), sequence, params)
    plain, _ = run(optax.with_extra_args_support(optax.adam(0.1)), sequence, params)
    for name in ("b", "kernel", "row"):
        np.testing.assert_array_equal([step[name] for step in ours], [step[name] for step in plain])


def test_runs_side_by_side_decompose_only_where_the_basis_changes():
    transform = optim.rotate_basis(optax.adam(0.1), 3)
    sequence = np.stack([gradients(7, seed=seed) for seed in range(2)], axis=1)  # updates, runs, rows, columns
    update = jax.vmap(transform.update)
    state = jax.vmap(transform.init)(sequence[0])
    program = str(jax.make_jaxpr(update)(sequence[0], state))
    assert "cond[" in program
    assert f"f64[2,{SHAPE[0]},{SHAPE[0]}] = qr" not in program
    steps = []
    for gradient in sequence:
        step, state = jax.jit(update)(gradient, state)
        steps.append(step)
    for run_number in range(2):
        alone, _ = run(transform, sequence[:, run_number], np.zeros(SHAPE))
        np.testing.assert_allclose(np.stack(steps)[:, run_number], alone, rtol=1e-9, atol=1e-9)


def test_the_optimizer_inside_is_told_everything_in_its_basis():
    told = {}

    def update(updates, state, params=None, **extra_args):
        told.update(extra_args, params=params, updates=updates)
        return updates, state

    inner = optax.GradientTransformationExtraArgs(lambda params: (), update)
    transform = optim.rotate_basis(inner, 1)
    g, x, y = gradients(3)
    steps, state = transform.update(jnp.asarray(g), transform.init(x), x, stale_params=y, delay=3, leaf_delay=3)
    u, v = (side.basis for side in state.sides)
    for name, value in {"updates": g, "params": x, "stale_params": y}.items():
        np.testing.assert_allclose(told[name], u.T @ value @ v, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(steps, g, rtol=1e-12, atol=1e-12)
    assert told["delay"] == told["leaf_delay"] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "every is 0, expected an integer of at least 1"),
        ({"decay": 1.0}, "decay is 1.0, expected a finite number >= 0 and < 1"),
        ({"max_side": 0}, "max_side is 0"),
    ],
)
def test_numbers_out_of_range(settings, message):
    with pytest.raises(asyncopt.InputError, match=message):
        optim.rotate_basis(optax.adam(0.1), **settings)


def least_loss(wrap, is_aligned, delay, count=1500):
    """Returns the mean loss of the last 300 updates with the better of two step sizes.

    The loss is tr(Wᵀ A W B) / 2, with eigenvalues from 1 to 0.01 and from 1 to 0.1. Aligned, A and B are diagonal;
    else the eigenvectors are random, and the start is that of the aligned problem in these.
    """
    random = np.random.default_rng(0)
    left, right = (np.linalg.qr(random.normal(size=(n, n)))[0] for n in (6, 4))
    start = random.normal(size=(6, 4))
    if is_aligned:
        left, right = np.eye(6), np.eye(4)
    a, b = left * np.geomspace(1, 0.01, 6) @ left.T, right * np.geomspace(1, 0.1, 4) @ right.T
    start = jnp.asarray(left @ start @ right.T)

    @jax.jit
    def last_loss(learning_rate):
        transform = wrap(optax.adam(learning_rate, b1=0.9, b2=0.99))

        def step(carry, _):
            iterates, state = carry
            update, state = transform.update(a @ iterates[-1] @ b, state, iterates[0])
            newest = iterates[0]
            iterates = jnp.concatenate([(newest + update)[None], iterates[:-1]])
            return (iterates, state), jnp.sum(newest * (a @ newest @ b)) / 2

        iterates = jnp.broadcast_to(start, (delay + 1, *start.shape))
        return jax.lax.scan(step, (iterates, transform.init(start)), length=count)[1][-300:].mean()

    return min(float(last_loss(rate)) for rate in (0.003, 0.01))


def test_under_delay_it_helps_where_eigenvectors_are_not_along_the_axes():
    def gain(is_aligned, delay):
        rotated = least_loss(lambda adam: optim.rotate_basis(adam, 10, decay=0.99), is_aligned, delay)
        return least_loss(optax.with_extra_args_support, is_aligned, delay) / rotated

    assert gain(is_aligned=False, delay=10) > 5
    assert 0.5 < gain(is_aligned=True, delay=10) < 2
