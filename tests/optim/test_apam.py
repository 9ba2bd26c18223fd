import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from tests.reference import NaiveApam, project_ball, project_box


def run(optimizer, start, gradients):
    params, state = jnp.asarray(start), optimizer.init(jnp.asarray(start))
    for gradient in gradients:
        updates, state = jax.jit(optimizer.update)(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
    return np.asarray(params), state


@pytest.fixture
def gradients():
    return np.random.default_rng(0).normal(size=(40, 6)) * np.array([1e-6, 1e-2, 1, 1, 1e2, 1e5])


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.0, 0.0), (0.5, 0.1), (0.99, 0.9)])
@pytest.mark.parametrize("eps", [0.0, 1e-8, 1.0])
@pytest.mark.parametrize(
    ("constraint", "project"),
    [
        (None, None),
        (asyncopt.Box(-0.1, 0.2), project_box(-0.1, 0.2)),
        (asyncopt.L2Ball(0.3), project_ball(0.3)),
    ],
    ids=["free", "box", "ball"],
)
def test_equals_the_papers_algorithm(b1, b2, eps, constraint, project, gradients):
    start = np.full(6, 0.05)
    expected, naive = start, NaiveApam(6, lambda k: 0.1 / np.sqrt(k + 1), b1, b2, eps, project)
    for gradient in gradients:
        expected = naive.step(expected, gradient)
    optimizer = asyncopt.apam(lambda k: 0.1 / jnp.sqrt(k + 1.0), b1, b2, eps, constraint=constraint)
    params, state = run(optimizer, start, gradients)
    np.testing.assert_allclose(params, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(state.amsgrad.nu_max, naive.v_max, rtol=1e-13)
    assert float(state.step_size) == pytest.approx(0.1 / np.sqrt(40))


@pytest.mark.optimised
def test_without_epsilon_or_correction_it_is_optax_amsgrad(gradients):
    ours, _ = run(asyncopt.apam(0.1), np.zeros(6), gradients)
    optaxs, _ = run(optax.amsgrad(0.1, bias_correction_mu=False, bias_correction_nu=False), np.zeros(6), gradients)
    np.testing.assert_array_equal(ours, optaxs)
    corrected, _ = run(optax.amsgrad(0.1), np.zeros(6), gradients)
    assert not np.allclose(ours, corrected, rtol=1e-3)


def test_deep_learning_variant_by_hand():
    # step α √(1 - β2^k) / (1 - β1^k) times m / (√v̂ + ε)
    b1, b2, eps, alpha = 0.9, 0.99, 1e-3, 0.1
    m = v = v_max = x = 0.0
    gradients = [2.0, 0.1, -0.5, 0.0, 3.0]
    for k, g in enumerate(gradients, start=1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        v_max = max(v_max, v)
        x -= alpha * np.sqrt(1 - b2**k) / (1 - b1**k) * m / (np.sqrt(v_max) + eps)
    params, _ = run(asyncopt.apam(alpha, b1, b2, eps, bias_correction=True), np.zeros(()), gradients)
    assert float(params) == pytest.approx(x, rel=1e-13)
    plain, _ = run(asyncopt.apam(alpha, b1, b2, eps), np.zeros(()), gradients)
    assert abs(float(plain) - x) > 1e-2


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("bias_correction", [False, True])
def test_zero_epsilon_leaves_coordinates_without_gradient_alone(dtype, bias_correction):
    params = jnp.array([1.0, 2.0, 3.0], dtype)
    optimizer = asyncopt.apam(0.1, eps=0.0, bias_correction=bias_correction, constraint=asyncopt.Box(-5.0, 5.0))
    state = optimizer.init(params)
    # The last gradient's square underflows in float32: no second moment, so no step.
    tiny = 1e-30 if dtype != jnp.float64 else 1e-200
    for _ in range(3):
        updates, state = optimizer.update(jnp.array([1.0, 0.0, tiny], dtype), state, params)
        params = optax.apply_updates(params, updates)
    assert params.dtype == dtype
    assert float(params[0]) < 1.0
    np.testing.assert_array_equal(np.asarray(params[1:], float), [2.0, 3.0])


def test_matches_plain_optax_inside_a_convex_problem():
    target = jnp.array([0.3, -0.7])
    optimizer = asyncopt.apam(lambda k: 0.5 / jnp.sqrt(k + 1.0))
    params, state = jnp.zeros(2), optimizer.init(jnp.zeros(2))

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(params - target, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(3000):
        params, state = step(params, state)
    np.testing.assert_allclose(params, target, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: asyncopt.apam(0.0), "learning_rate is 0.0, expected a finite number > 0"),
        (lambda: asyncopt.apam(-1.0), "learning_rate is -1.0"),
        (lambda: asyncopt.apam(float("nan")), "learning_rate is nan"),
        (lambda: asyncopt.apam("fast"), "learning_rate is 'fast'"),
        (lambda: asyncopt.apam(0.1, b1=1.0), "b1 is 1.0, expected a finite number >= 0 and < 1"),
        (lambda: asyncopt.apam(0.1, b1=-0.1), "b1 is -0.1"),
        (lambda: asyncopt.apam(0.1, b2=1.5), "b2 is 1.5, expected a finite number >= 0 and < 1"),
        (lambda: asyncopt.apam(0.1, eps=-1e-8), "eps is -1e-08, expected a finite number >= 0"),
        (lambda: asyncopt.scale_by_apam(b1=1.0), "b1 is 1.0"),
        (lambda: asyncopt.optim.step_size("linear", 0.1, 10), "schedule is 'linear', expected one of"),
        (lambda: asyncopt.optim.step_size("constant", 0.0, 10), "learning_rate is 0.0"),
        (
            lambda: asyncopt.apam(0.1, constraint=asyncopt.Box(0.0, 1.0)).init(jnp.array([0.5, -0.5])),
            "the start is outside the constraint Box",
        ),
        (
            lambda: asyncopt.apam(0.1, constraint=asyncopt.L2Ball(1.0)).init(jnp.ones(2)),
            "the start is outside the constraint L2Ball",
        ),
    ],
)
def test_refuses(make, message):
    with pytest.raises(asyncopt.InputError, match=message):
        make()


def test_a_constraint_needs_the_parameters():
    optimizer = asyncopt.apam(0.1, constraint=asyncopt.Box(0.0, 1.0))
    with pytest.raises(ValueError, match="needs params"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.zeros(2)))


def test_the_class_marks_apam_alone():
    apam = asyncopt.apam(0.1)
    traced = eqx.filter_jit(lambda optimizer: (optimizer, optimizer.init(jnp.ones(2))))(apam)[0]
    parametric = asyncopt.optim.parametric(asyncopt.apam, learning_rate=0.1)
    for same in (apam, jax.tree.map(lambda leaf: leaf, apam), optax.with_extra_args_support(apam), traced, parametric):
        assert isinstance(same, asyncopt.optim.ApamTransformation)
        steps, _ = same.update(jnp.ones(2), same.init(jnp.ones(2)), unknown="x")
        np.testing.assert_allclose(steps, apam.update(jnp.ones(2), apam.init(jnp.ones(2)))[0], rtol=1e-15)
    within = optax.chain(apam), asyncopt.optim.drop_stale(apam, 1), optax.inject_hyperparams(asyncopt.apam)(0.1)
    others = optax.adam(0.1), asyncopt.scale_by_apam(), asyncopt.optim.parametric(optax.sgd, learning_rate=0.1)
    others += apam._replace(update=optax.sgd(0.1).update), apam.__replace__(init=optax.sgd(0.1).init)
    assert not any(isinstance(other, asyncopt.optim.ApamTransformation) for other in (*within, *others))


def test_schedules():
    assert asyncopt.optim.step_size("constant", 0.3, 100) == 0.3
    assert asyncopt.optim.step_size("inverse_sqrt_horizon", 0.3, 100) == pytest.approx(0.03)
    schedule = asyncopt.optim.step_size("inverse_sqrt", 0.3, 100)
    assert float(schedule(jnp.asarray(8))) == pytest.approx(0.1)
