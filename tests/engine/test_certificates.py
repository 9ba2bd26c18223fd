"""What the certificates record, against plain NumPy loops over the same gradients, and what breaks them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import Box, InputError, L2Ball, problems, traces
from asyncopt.engine import ApamProbe, measure
from asyncopt.engine.chain_probes import DescentChainProbe
from asyncopt.engine.regret_probe import RegretProbe

NUM_UPDATES, B1, EPS = 80, 0.8, 1e-3
TRACE = traces.uniform(NUM_UPDATES, 6)


def history(problem, optimizer, *, num_updates=NUM_UPDATES, trace=TRACE, seed=0):
    """A plain loop: iterates x_0..x_K, gradients, moments m_k and norms V_k; V[0] is before the first update."""
    key = jax.random.key(seed)
    x, state = [problem.init(asyncopt.engine.init_key(key))], None
    state = optimizer.init(x[0])
    g, m, v = [], [], [np.sqrt(np.asarray(state.amsgrad.nu_max)) + EPS]

    @jax.jit
    def gradient(stale, k):
        return jax.grad(problem.loss)(stale, problem.sample(asyncopt.engine.batch_key(key, k)))

    update = jax.jit(optimizer.update)
    for k in range(num_updates):
        g.append(np.asarray(gradient(x[trace.read_version[k]], k)))
        updates, state = update(jnp.asarray(g[-1]), state, x[-1])
        m.append(np.asarray(state.amsgrad.mu))
        v.append(np.sqrt(np.asarray(state.amsgrad.nu_max)) + EPS)
        x.append(optax.apply_updates(x[-1], updates))
    return np.array(x), np.array(g), np.array(m), np.array(v)


def regret_and_bound(x, g, m, v, steps, minimiser, k):
    """Both sides of (1a) after k updates, as docs/theory.md writes them: sums over updates, nothing telescoped."""
    carried, d = B1 / (1 - B1), x - minimiser
    regret = sum(g[j] @ d[j] for j in range(k))
    ratio = [v[1] / steps[0], *(v[j + 1] / steps[j] - v[j] / steps[j - 1] for j in range(1, k))]
    bound = sum(np.sum(ratio[j] * d[j] ** 2) / 2 for j in range(k)) - np.sum(v[k] * d[k] ** 2) / (2 * steps[k - 1])
    bound += sum(steps[j] / 2 * np.sum(m[j] ** 2 / v[j + 1]) for j in range(k))
    bound += carried * (m[k - 1] @ d[k - 1] + sum(m[j] @ (x[j] - x[j + 1]) for j in range(k - 1)))
    return regret, bound


@pytest.mark.parametrize("constraint", [None, Box(-0.4, 0.5), L2Ball(0.6)], ids=["free", "box", "ball"])
def test_regret_and_its_bound_are_the_sums_of_the_proof(constraint):
    problem = problems.quadratic(dimension=5, noise=0.5, constraint=constraint)
    optimizer = asyncopt.apam(lambda k: 0.3 / jnp.sqrt(k + 1.0), b1=B1, b2=0.9, eps=EPS, constraint=constraint)
    x, g, m, v = history(problem, optimizer)
    steps = 0.3 / np.sqrt(np.arange(NUM_UPDATES) + 1)
    terms = asyncopt.replay(problem, optimizer, TRACE, eval_every=20, record_bounds=True).bound_terms
    for index, k in ((1, 20), (4, NUM_UPDATES)):
        regret, bound = regret_and_bound(x, g, m, v, steps, np.zeros(5), k)
        assert terms["regret"][index] == pytest.approx(regret, rel=1e-9)
        assert terms["regret_bound"][index] == pytest.approx(bound, rel=1e-9)
        last = np.sum(v[k] * x[k] ** 2) / (2 * steps[k - 1])
        assert terms["regret_last_distance"][index] == pytest.approx(last, rel=1e-9)
        assert regret <= bound + 1e-9
        if constraint is None:  # then the inequality is an identity, which a wrong term would break
            assert regret == pytest.approx(bound, rel=1e-9)
    assert (terms["regret_broken_at"] == -1).all()
    assert (terms["regret_rounding"] < 1e-9 * np.abs(terms["regret_bound"]).max()).all()


def weaker(inner, factor):
    """APAM with other steps than its state says."""

    def update(gradients, state, params=None, **extra):
        updates, state = inner.update(gradients, state, params, **extra)
        return jax.tree.map(lambda u: factor * u, updates), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


@pytest.mark.parametrize("factor", [0.5, 0.99, -1.0])
def test_a_run_that_is_not_apam_breaks_the_certificate_at_the_update_that_a_plain_loop_names(factor):
    problem = problems.quadratic(dimension=5, noise=0.5)
    optimizer = weaker(asyncopt.apam(0.05, b1=B1, b2=0.9, eps=EPS), factor)
    x, g, m, v = history(problem, optimizer)
    sides = [regret_and_bound(x, g, m, v, np.full(NUM_UPDATES, 0.05), 0.0, k) for k in range(1, NUM_UPDATES + 1)]
    first = next(k for k, (regret, bound) in enumerate(sides) if regret > bound + 1e-9)
    terms = asyncopt.replay(problem, optimizer, TRACE, probes=[RegretProbe()]).bound_terms
    assert terms["regret_broken_at"][-1] == first


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_rounding_does_not_break_the_certificate(precision):
    problem = problems.quadratic(dimension=5, noise=0.5)
    optimizer = asyncopt.apam(0.05, b1=B1, eps=EPS)
    terms = asyncopt.replay(
        problem, optimizer, traces.uniform(2000, 6), param_dtype=precision, record_bounds=True
    ).bound_terms
    assert terms["regret_broken_at"][-1] == -1


def nonconvex():
    return problems.nonconvex_logistic(problems.data.breast_cancer(), batch_size=4)


def test_the_sums_of_the_descent_against_their_definitions():
    """All of (4b) and (4c): recomputed from iterates, full gradients and norms, with z_k written out."""
    problem, optimizer = nonconvex(), asyncopt.apam(0.05, b1=B1, b2=0.9, eps=EPS)
    x, g, _, v = history(problem, optimizer)
    full, value = (jax.jit(jax.vmap(f)) for f in (jax.grad(problem.objective), problem.objective))
    carried, num_updates = B1 / (1 - B1), NUM_UPDATES
    z = x + carried * (x - np.concatenate([x[:1], x[:-1]]))
    y = x[TRACE.read_version]
    s, u, w, values = np.asarray(full(z)), np.asarray(full(x[:-1])), np.asarray(full(y)), np.asarray(value(z))
    big, small = v.max(axis=1), v.min(axis=1)
    expected = dict.fromkeys(("moved", "errors", "read", "lag"), 0.0)
    chain = dict.fromkeys(
        ("gradients", "weighted", "inner", "near", "noise", "noise_square", "errors", "potential"), 0.0
    )
    for k in range(num_updates):
        e = (z[k + 1] - z[k]) + 0.05 * g[k] / v[k]
        expected["moved"] += big[k] * np.sum((z[k + 1] - z[k]) ** 2)
        expected["errors"] += big[k] * np.sum(v[k] * e**2)
        expected["read"] += big[k] / small[k] * np.sum((x[k] - y[k]) ** 2)
        expected["lag"] += big[k] / small[k] * np.sum((z[k] - x[k]) ** 2)
        noise = big[k] * s[k] @ ((w[k] - g[k]) / v[k])
        chain["gradients"] += u[k] @ u[k]
        chain["weighted"] += big[k] * u[k] @ (u[k] / v[k])
        chain["inner"] += big[k] * s[k] @ (w[k] / v[k])
        chain["near"] += big[k] * np.sum(((s[k] - u[k]) ** 2 + (w[k] - u[k]) ** 2) / v[k])
        chain["noise"] += noise
        chain["noise_square"] += noise**2
        chain["errors"] += big[k] * s[k] @ e
        chain["potential"] += big[k] * (values[k] - values[k + 1])
    terms = asyncopt.replay(problem, optimizer, TRACE, record_bounds="full", eval_every=40).bound_terms
    for prefix, sums in (("descent", expected), ("chain", chain)):
        for name, total in sums.items():
            assert terms[f"{prefix}_{name}"][-1] == pytest.approx(total, rel=1e-8), name
    assert terms["scale_max"][-1] == pytest.approx(big[-1])
    assert terms["lag_last"][-1] == pytest.approx(np.linalg.norm(z[-1] - x[-1]))
    assert terms["descent_broken_at"][-1] == -1


def test_the_convex_chain_against_its_definition():
    problem = problems.quadratic(dimension=5, noise=0.5, init_scale=2.0)
    optimizer = asyncopt.apam(0.05, b1=B1, eps=EPS)
    x, g, _, _ = history(problem, optimizer)
    h, y, x = np.asarray(problem.eigenvalues), x[TRACE.read_version], x[:-1]
    linear, used = np.sum(h * y * x, axis=1), np.sum(g * x, axis=1)
    terms = asyncopt.replay(problem, optimizer, TRACE, record_bounds="full").bound_terms
    assert terms["gap_sum"][-1] == pytest.approx(np.sum(h * x**2) / 2, rel=1e-9)
    assert terms["stale_regret"][-1] == pytest.approx(linear.sum(), rel=1e-9)
    assert terms["curvature_sum"][-1] == pytest.approx(np.sum(h * (x - y) ** 2) / 2, rel=1e-9)
    assert terms["regret_noise_square"][-1] == pytest.approx(np.sum((linear - used) ** 2), rel=1e-9)
    assert terms["stale_broken_at"][-1] == -1


@pytest.mark.parametrize("kind", ["convex", "nonconvex"])
def test_a_smoothness_that_is_too_small_breaks_its_certificate(kind):
    """The inequality of smoothness is checked in every update, with the problem's own L."""
    problem = problems.quadratic(dimension=5, noise=0.5, init_scale=2.0) if kind == "convex" else nonconvex()
    wrong = np.float64(problem.constants.smoothness / 300)
    problem = eqx.tree_at(lambda p: p.constants.smoothness, problem, wrong)
    optimizer = asyncopt.apam(0.05, b1=B1, eps=EPS)
    terms = asyncopt.replay(problem, optimizer, TRACE, record_bounds="full").bound_terms
    assert terms["stale_broken_at" if kind == "convex" else "descent_broken_at"][-1] >= 0


@pytest.mark.optimised
@pytest.mark.parametrize("kind", ["convex", "nonconvex"])
@pytest.mark.parametrize("record_bounds", [True, "full"])
def test_recording_changes_nothing(kind, record_bounds):
    problem = problems.quadratic(dimension=70) if kind == "convex" else nonconvex()
    optimizer = asyncopt.apam(0.05)
    plain, recorded = (
        asyncopt.replay(problem, optimizer, traces.uniform(300, 6), seeds=[0, 1], record_bounds=which, eval_every=3)
        for which in (False, record_bounds)
    )
    # The evaluations are given, since a run with probes has more of them by default (docs/performance.md says why).
    for name in ("params", "objective", "average", "drift", "average_objective"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(recorded, name))


def test_only_what_a_theorem_is_about_is_recorded():
    def names(problem):
        run = asyncopt.replay(problem, asyncopt.apam(0.1), traces.synchronous(2), record_bounds=True)
        return {name.split("_")[0] for name in run.bound_terms}

    assert "regret" in names(problems.quadratic(dimension=3))
    assert "descent" in names(nonconvex())
    unsmooth = eqx.tree_at(lambda p: p.constants.smoothness, nonconvex(), None)
    assert not {"regret", "descent"} & names(unsmooth)


def test_full_gradients_are_refused_where_no_proof_is_recorded():
    problem = problems.quadratic(dimension=3)
    for optimizer in (optax.sgd(0.1), weaker(asyncopt.apam(0.1), 0.5)):
        with pytest.raises(InputError, match="record_bounds is full, expected true: full needs apam, not wrapped"):
            asyncopt.replay(problem, optimizer, traces.synchronous(2), record_bounds="full")
    with pytest.raises(InputError, match="record_bounds is 'all', expected true, false or full"):
        asyncopt.replay(problem, asyncopt.apam(0.1), traces.synchronous(2), record_bounds="all")


def test_the_probes_refuse_other_states():
    problem = problems.quadratic(dimension=3)
    for probe in (ApamProbe(), RegretProbe(), DescentChainProbe()):
        with pytest.raises(InputError, match="the bounds of APAM need an ApamState"):
            asyncopt.replay(problem, optax.adam(0.1), traces.synchronous(2), probes=[probe])


def test_momentum_near_one_in_single_precision():
    """c = β1/(1 - β1) loses its digits if β1 is first rounded: the certificate was broken at update 0."""
    with jax.enable_x64(False):
        problem = asyncopt.problems.quadratic(3, noise=0.1)
        run = asyncopt.replay(problem, asyncopt.apam(1e-3, b1=0.9999), traces.uniform(500, 5), record_bounds=True)
    assert run.bound_terms["regret_broken_at"][-1] == -1


def test_bias_correction_has_other_steps_and_no_certificate():
    problem = asyncopt.problems.quadratic(3, noise=0.1)
    run = asyncopt.replay(problem, asyncopt.apam(1e-2, bias_correction=True), traces.uniform(50, 5), record_bounds=True)
    assert not run.bound_terms


def test_empty_leaves_add_nothing():
    tree = {"empty": jnp.zeros(0), "scalar": jnp.ones(()), "vector": jnp.arange(3.0)}
    by = (measure.SUM, measure.LARGEST, measure.SMALLEST)
    total, most, least = measure.over_coordinates(lambda x: (x, x, x), tree, by=by)
    assert (float(total), float(most), float(least)) == (4, 2, 0)
