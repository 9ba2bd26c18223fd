"""Every transform of ours, through everything that Optax asks of a transform."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt


def told(wrap):
    """A wrapper around APAM; a test that does not say how stale gradients are has them one update old."""

    def make(learning_rate):
        transform = wrap(asyncopt.apam(learning_rate))

        def update(updates, state, params=None, **extra_args):
            return transform.update(updates, state, params, **{"delay": 1, "stale_params": params} | extra_args)

        return transform._replace(update=update)

    return functools.partial(make, 0.1)


TRANSFORMS = {
    "scale_by_apam": functools.partial(asyncopt.scale_by_apam, b1=0.8),
    "apam": functools.partial(asyncopt.apam, 0.1),
    "apam corrected": functools.partial(asyncopt.apam, 0.1, bias_correction=True),
    "apam eps 0": functools.partial(asyncopt.apam, 0.1, eps=0.0),
    "apam schedule": functools.partial(asyncopt.apam, lambda count: 0.01 * jnp.asarray(count, float)),
    "apam box": functools.partial(asyncopt.apam, 0.1, constraint=asyncopt.Box(-0.5, 1.5)),
    "apam ball": functools.partial(asyncopt.apam, 0.1, constraint=asyncopt.L2Ball(4.0)),
    "lookahead_nesterov": functools.partial(asyncopt.optim.lookahead_nesterov, 0.1, 0.9),
    "nadamw": functools.partial(asyncopt.optim.nadamw, 0.1, momentum_decay=0.1),
    "delay_gradients 0": functools.partial(asyncopt.delay_gradients, 0),
    "delay_gradients 3": functools.partial(asyncopt.delay_gradients, 3),
    "scale_steps_by_delay": told(lambda inner: asyncopt.optim.scale_steps_by_delay(inner, "power", 0.5)),
    "scale_steps_by_stage": told(lambda inner: asyncopt.optim.scale_steps_by_stage(inner, 4.0)),
    "drop_stale": told(lambda inner: asyncopt.optim.drop_stale(inner, 2)),
    "compensate_delay": told(lambda inner: asyncopt.optim.compensate_delay(inner, 0.1)),
    "compensate_delay adaptive": told(lambda inner: asyncopt.optim.compensate_delay(inner, 0.1, 0.9)),
    "buffer_updates": told(lambda inner: asyncopt.optim.buffer_updates(inner, 3)),
    "rotate_basis": told(lambda inner: asyncopt.optim.rotate_basis(inner, 2)),
    "rotate_basis of another": functools.partial(
        lambda rate: asyncopt.optim.rotate_basis(asyncopt.optim.lookahead_nesterov(rate, 0.9), 2), 0.1
    ),
    "restart": told(lambda inner: asyncopt.optim.restart(inner, 4)),
}
every = pytest.mark.parametrize("make", TRANSFORMS.values(), ids=TRANSFORMS)


def params_like(dtype=jnp.float64):
    return {"w": jnp.ones((2, 3), dtype), "b": [jnp.zeros((), dtype), None]}


def steps(transform, params, count=6, update=None, tell=False):
    """Runs with gradients that change from step to step; tells the transform what the engine tells, and more."""
    state, update = transform.init(params), update or transform.update
    for k in range(count):
        gradients = jax.tree.map(lambda p, k=k: jnp.cos(p + k).astype(p.dtype), params)
        extra_args = {"delay": 1, "stale_params": params, "unknown": "x"} if tell else {}
        updates, state = update(gradients, state, params, **extra_args)
        params = optax.apply_updates(params, updates)
    return params, state


def assert_close(left, right, rtol=1e-12):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-12), left, right)


@every
def test_is_an_extra_args_transform_that_ignores_what_it_does_not_know(make):
    assert isinstance(make(), optax.GradientTransformationExtraArgs)
    assert_close(steps(make(), params_like()), steps(make(), params_like(), tell=True))


@every
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_keeps_dtypes_and_none(make, dtype):
    params = params_like(dtype)
    transform = make()
    before = transform.init(params)
    updates, after = transform.update(params, before, params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert jax.tree.map(lambda x: x.dtype, updates) == jax.tree.map(lambda x: x.dtype, params)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), before) == jax.tree.map(lambda x: (x.shape, x.dtype), after)


@every
def test_mixed_dtypes_stay_mixed_under_inject_hyperparams(make):
    params = {"half": jnp.ones(2, jnp.bfloat16), "single": jnp.ones(2, jnp.float32)}
    transform = inject(make)
    state = transform.init(params)
    updates, after = transform.update(params, state, params)
    assert {k: u.dtype for k, u in updates.items()} == {"half": jnp.bfloat16, "single": jnp.float32}
    assert jax.tree.map(lambda x: x.dtype, state) == jax.tree.map(lambda x: x.dtype, after)


@every
def test_a_leaf_without_gradient_gets_no_update(make):
    transform, params = make(), {"w": jnp.ones(2), "frozen": jnp.ones(3)}
    state = transform.init(params)
    for _ in range(5):
        updates, state = transform.update({"w": jnp.ones(2), "frozen": None}, state, params)
        assert updates["frozen"] is None
        params = eqx.apply_updates(params, updates)
    np.testing.assert_array_equal(params["frozen"], jnp.ones(3))


@every
def test_compiles_once(make):
    traced = 0
    transform = make()

    @jax.jit
    def update(gradients, state, params):
        nonlocal traced
        traced += 1
        return transform.update(gradients, state, params)

    steps(transform, params_like(jnp.float32), update=update)
    assert traced == 1
    assert_close(steps(transform, params_like(), update=update), steps(transform, params_like()), rtol=1e-9)


@every
def test_in_a_scan(make):
    transform, params = make(), params_like(jnp.float32)

    def body(carry, k):
        params, state = carry
        gradients = jax.tree.map(lambda p: jnp.cos(p + k.astype(p.dtype)), params)
        updates, state = transform.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(body, (params, transform.init(params)), jnp.arange(6))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(params))


@every
def test_init_on_shapes(make):
    params = params_like()
    shapes = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype), params)
    assert_close(make().init(shapes), make().init(params))
    abstract = jax.eval_shape(make().init, params)
    assert jax.tree.map(lambda x: x.shape, abstract) == jax.tree.map(lambda x: x.shape, make().init(params))


@every
def test_under_vmap(make):
    params = jax.tree.map(lambda p: jnp.stack([p, p + 0.25]), params_like())
    together = jax.vmap(lambda p: steps(make(), p)[0])(params)
    for i in range(2):
        alone = steps(make(), jax.tree.map(lambda p, i=i: p[i], params))[0]
        assert_close(jax.tree.map(lambda p, i=i: p[i], together), alone)


@every
def test_under_chain(make):
    chained = optax.chain(optax.scale(2.0), make(), optax.identity())
    params, _ = steps(chained, params_like(), tell=True)
    assert jax.tree.structure(params) == jax.tree.structure(params_like())


def inject(make):
    static = {"delay"} if make.func is asyncopt.delay_gradients else set()
    return optax.inject_hyperparams(make.func, static_args=static)(*make.args, **make.keywords)


@every
def test_under_inject_hyperparams(make):
    assert_close(steps(inject(make), params_like())[0], steps(make(), params_like())[0])
    jitted = steps(inject(make), params_like(), update=jax.jit(inject(make).update))[0]
    assert_close(jitted, steps(make(), params_like())[0], rtol=1e-9)


def test_injected_step_size_can_be_changed():
    transform = optax.inject_hyperparams(asyncopt.apam)(0.1, constraint=asyncopt.Box(-9.0, 9.0))
    params = jnp.zeros(2)
    state = transform.init(params)
    state.hyperparams["learning_rate"] = jnp.asarray(0.2)
    updates, _ = transform.update(jnp.ones(2), state, params)
    expected, _ = asyncopt.apam(0.2).update(jnp.ones(2), asyncopt.apam(0.2).init(params), params)
    np.testing.assert_allclose(updates, expected)


@every
def test_under_multi_steps(make):
    accumulating = optax.MultiSteps(make(), every_k_schedule=2)
    params, state = params_like(), accumulating.init(params_like())
    expected, inner_state = params_like(), make().init(params_like())
    for _ in range(3):
        for half in (0.5, 1.5):
            gradients = jax.tree.map(lambda p, half=half: jnp.full_like(p, half), params)
            updates, state = accumulating.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
        ones = jax.tree.map(jnp.ones_like, expected)
        updates, inner_state = make().update(ones, inner_state, expected)
        expected = optax.apply_updates(expected, updates)
    assert_close(params, expected)


@every
def test_under_masked_and_partition(make):
    params = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}
    expected = steps(make(), {"w": params["w"]})[0]["w"]
    masked = optax.chain(
        optax.masked(make(), {"w": True, "b": False}),
        optax.masked(optax.set_to_zero(), {"w": False, "b": True}),
    )
    parted = optax.partition({"ours": make(), "none": optax.set_to_zero()}, {"w": "ours", "b": "none"})
    for transform in (masked, parted):
        result = steps(transform, params)[0]
        np.testing.assert_allclose(result["w"], expected, rtol=1e-12)
        np.testing.assert_array_equal(result["b"], params["b"])


def test_masked_with_bounds_for_every_leaf():
    params = {"w": jnp.ones(2), "b": jnp.zeros(3)}
    box = asyncopt.Box({"w": 0.95, "b": -1.0}, {"w": jnp.array([1.05, 1.2]), "b": 1.0})
    transform = optax.masked(asyncopt.apam(0.1, constraint=box), {"w": True, "b": False})
    updates, _ = transform.update(jax.tree.map(jnp.ones_like, params), transform.init(params), params)
    np.testing.assert_allclose(updates["w"], [-0.05, -0.05])
    np.testing.assert_array_equal(updates["b"], jnp.ones(3))


@every
def test_tree_map_params_sees_what_is_shaped_as_the_parameters(make):
    """Optax asks for the state of a tree without leaves, and looks where it comes back."""
    transform, params = make(), {"w": jnp.ones(3), "b": jnp.zeros((2, 2))}
    state = transform.init(params)
    marked = optax.tree.map_params(transform, lambda leaf: jnp.full_like(leaf, 7.0), state)
    kept = optax.tree.map_params(
        transform, lambda leaf: None, state, transform_non_params=lambda leaf: leaf, is_leaf=None
    )
    assert jax.tree.structure(marked) == jax.tree.structure(state)
    changed = [np.shape(b) for a, b in zip(*map(jax.tree.leaves, (state, marked)), strict=True) if np.all(b == 7.0)]
    of_params = {(3,), (2, 2)}
    assert {shape[-len(want) :] for shape in changed for want in of_params if shape[-len(want) :] == want} in (
        of_params,
        set(),  # a state that has nothing of the parameters' shape
    )
    assert all(leaf.ndim < 2 for leaf in jax.tree.leaves(kept) if hasattr(leaf, "ndim"))


def test_tree_map_params_with_bounds_for_every_leaf():
    params = {"w": jnp.ones(2), "b": jnp.zeros(3)}
    for constraint in (
        asyncopt.Box({"w": 0.5, "b": -1.0}, {"w": jnp.array([1.05, 1.2]), "b": 1.0}),
        asyncopt.L2Ball(3.0, {"w": jnp.ones(2), "b": 0.0}),
    ):
        transform = asyncopt.apam(0.1, constraint=constraint)
        moved = optax.tree.map_params(transform, lambda leaf: leaf + 1, transform.init(params))
        np.testing.assert_array_equal(moved.amsgrad.mu["b"], jnp.ones(3))


@every
@pytest.mark.parametrize("params", [{}, {"w": jnp.zeros((0, 3))}, {"w": jnp.ones(2), "b": jnp.zeros(0)}])
def test_empty_trees_and_leaves(make, params):
    transform = make()
    updates, _ = transform.update(params, transform.init(params), params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert [leaf.shape for leaf in jax.tree.leaves(updates)] == [leaf.shape for leaf in jax.tree.leaves(params)]


SETTINGS = {
    "strength": lambda value: asyncopt.optim.compensate_delay(optax.sgd(0.1), value),
    "decay": lambda value: asyncopt.optim.compensate_delay(optax.sgd(0.1), 0.04, value),
    "parameter": lambda value: asyncopt.optim.scale_steps_by_delay(optax.sgd(0.1), "power", value),
    "annealing_updates": lambda value: asyncopt.optim.scale_steps_by_stage(optax.sgd(0.1), value),
    "decay of rotate_basis": lambda value: asyncopt.optim.rotate_basis(optax.adam(0.1), 2, value),
    "exponent": lambda value: asyncopt.optim.buffer_updates(optax.sgd(0.1), 2, value),
}


@pytest.mark.parametrize("make", SETTINGS.values(), ids=SETTINGS)
def test_a_setting_of_a_wrapper_may_be_traced(make):
    """As under `optax.inject_hyperparams` and `parametric`: the same steps as with the number itself."""
    params = {"w": jnp.ones((2, 3)), "b": jnp.zeros(2)}

    def last(value):
        return steps(make(value), params, tell=True)[0]

    assert_close(jax.jit(last)(jnp.float64(0.5)), last(0.5))
    injected = optax.inject_hyperparams(lambda setting: make(setting))(setting=0.5)
    assert_close(steps(injected, params, tell=True)[0], last(0.5))
    assert_close(
        steps(asyncopt.optim.parametric(lambda setting: make(setting), setting=0.5), params, tell=True)[0], last(0.5)
    )
    for bad in (-1.0, jnp.float64(-1.0), jnp.float32(jnp.nan), jnp.ones(3)):
        with pytest.raises(asyncopt.InputError, match="expected a finite number"):
            make(bad)


@pytest.mark.parametrize(
    "dtypes", [(jnp.float32, jnp.float64), (jnp.float64, jnp.float32), (jnp.bfloat16, jnp.float64)]
)
def test_a_ball_around_leaves_of_several_dtypes(dtypes):
    point = [jnp.full(2, 3.0, dtype) for dtype in dtypes]
    scale = [jnp.ones(2, jnp.promote_types(dtype, jnp.float32)) for dtype in dtypes]
    projected = asyncopt.L2Ball(2.0).project(point, scale)
    assert [leaf.dtype for leaf in projected] == list(dtypes)
    np.testing.assert_allclose(np.concatenate([leaf.astype(float) for leaf in projected]), np.ones(4), rtol=1e-6)


@pytest.mark.parametrize("constraint", [asyncopt.Box(-1.0, 1.0), asyncopt.L2Ball(1.0)])
def test_complex_parameters_are_refused_where_there_is_a_constraint(constraint):
    with pytest.raises(asyncopt.InputError, match="a leaf of dtype complex128, expected real numbers"):
        asyncopt.apam(0.1, constraint=constraint).init({"w": jnp.ones(2, complex)})


@every
def test_on_an_explicit_mesh_as_on_one_device(make):
    """The mesh has `AxisType.Explicit`: every array's type says how it is split.

    All steps are one program: two devices that share a core, and hundreds of programs that wait for both, may end in
    XLA's abort of a wait that takes too long.
    """
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Explicit,))
    params = {"w": jnp.arange(1.0, 5.0).reshape(4, 1) / 4, "b": jnp.ones(2) / 2}
    expected = steps(make(), params)[0]
    with jax.set_mesh(mesh):
        split = {
            name: jax.device_put(leaf, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x")))
            for name, leaf in params.items()
        }
        result, state = jax.jit(functools.partial(steps, make()))(split)
        for name, leaf in result.items():
            assert jax.typeof(leaf).sharding.spec[0] == "x"
            np.testing.assert_allclose(leaf, expected[name], rtol=1e-12)
    for leaf in jax.tree.leaves(state):
        if np.shape(leaf)[-2:] == (4, 1):
            assert "x" in jax.typeof(leaf).sharding.spec


# Optax's own tests of its optimizers: from a start far away to the minimum of two functions of two parameters.
FUNCTIONS = {
    "parabola": (
        jnp.array([-1.0, 10.0, 1.0]),
        jnp.array([1.0, -1.0, 1.0]),
        lambda x: jnp.sum((x - jnp.array([1.0, -1.0, 1.0])) ** 2),
    ),
    "rosenbrock": (
        jnp.array([0.0, 0.0]),
        jnp.array([1.0, 1.0]),
        lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2,
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    "make",
    [
        lambda rate: asyncopt.apam(rate),
        lambda rate: asyncopt.apam(rate, bias_correction=True),
        lambda rate: asyncopt.apam(rate, constraint=asyncopt.Box(-20.0, 20.0)),
        lambda rate: asyncopt.apam(rate, constraint=asyncopt.L2Ball(20.0)),
        lambda rate: optax.chain(asyncopt.delay_gradients(2), asyncopt.apam(rate)),
        lambda rate: asyncopt.optim.restart(asyncopt.apam(rate), 3000),
        lambda rate: asyncopt.optim.nadamw(rate, 0.9, weight_decay=0.0),
    ],
)
def test_finds_a_minimum(make, function):
    start, minimum, objective = FUNCTIONS[function]
    transform = make(0.05)

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            updates, state = transform.update(jax.grad(objective)(params), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, transform.init(params)), length=20_000)[0][0]

    np.testing.assert_allclose(run(start), minimum, rtol=0.03)
