"""Probes record what a theorem needs, and nothing where the steps may be other than the theorem's."""

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, traces
from asyncopt.engine import ApamProbe
from asyncopt.engine.apam_probe import ApamColumns
from asyncopt.engine.columns import check_columns


def test_bound_terms_against_their_definitions(digits):
    """Recomputed from a plain loop with the optimizer's own states."""
    num_updates, b1 = 60, 0.8
    optimizer = asyncopt.apam(lambda k: 0.3 / jnp.sqrt(k + 1.0), b1=b1, eps=1e-3)
    trace = traces.uniform(num_updates, 6)
    result = asyncopt.replay(digits, optimizer, trace, eval_every=20, record_bounds=True)
    key = jax.random.key(0)
    iterates = [digits.init(asyncopt.engine.init_key(key))]
    state = optimizer.init(iterates[0])
    momentum_sum = gradient_sum = momentum_max = gradient_max = 0.0

    @jax.jit
    def gradient(stale, k):
        return jax.grad(digits.loss)(stale, digits.sample(asyncopt.engine.batch_key(key, k)))

    update = jax.jit(optimizer.update)
    for k in range(num_updates):
        g = gradient(iterates[trace.read_version[k]], k)
        old_scale = np.sqrt(state.amsgrad.nu_max) + 1e-3
        updates, state = update(g, state, iterates[-1])
        scale, m = np.sqrt(state.amsgrad.nu_max) + 1e-3, np.asarray(state.amsgrad.mu)
        momentum_sum += 0.3 / np.sqrt(k + 1) * np.sum(m**2 / scale)
        gradient_sum += np.sum((np.asarray(g) / old_scale) ** 2)
        momentum_max = max(momentum_max, np.linalg.norm(m / scale))
        gradient_max = max(gradient_max, np.abs(g).max())
        iterates.append(optax.apply_updates(iterates[-1], updates))
    last = {name: result.bound_terms[name][-1] for name in ApamColumns._fields}
    assert last == pytest.approx(
        {
            "scaled_momentum_sum": momentum_sum,
            "scaled_gradient_sum": gradient_sum,
            "scaled_momentum_max": momentum_max,
            "gradient_max": gradient_max,
            "scale_l1": np.sum(scale),
            "momentum_l1": np.sum(np.abs(m)),
            "step_size": 0.3 / np.sqrt(num_updates),
        },
        rel=1e-9,
    )
    assert (np.diff(result.bound_terms["scaled_momentum_sum"]) > 0).all()


def halved(inner):
    """A wrapper as in the documentation: its state is that of the optimizer inside, its steps are not."""

    def update(gradients, state, params=None, **extra):
        updates, state = inner.update(gradients, state, params, **extra)
        return jax.tree.map(lambda u: u / 2, updates), state

    return optax.GradientTransformationExtraArgs(inner.init, update)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.sgd(0.1),
        optax.adam(0.1),
        asyncopt.scale_by_apam(),
        optax.chain(asyncopt.apam(0.1), optax.scale(0.1)),
        halved(asyncopt.apam(0.1)),
        asyncopt.optim.drop_stale(asyncopt.apam(0.1), 3),
        asyncopt.apam(0.1)._replace(update=halved(asyncopt.apam(0.1)).update),
    ],
    ids=["sgd", "adam", "scale_by_apam", "chain", "halved", "drop_stale", "replaced"],
)
def test_no_bound_terms_where_the_steps_may_not_be_those_of_apam(digits, optimizer):
    assert asyncopt.replay(digits, optimizer, traces.synchronous(2), record_bounds=True).bound_terms is None


def test_a_probe_is_told_where_the_state_of_apam_is(digits):
    """A chain that does not change the steps; whoever builds it knows."""
    chain = optax.chain(optax.identity(), asyncopt.apam(0.1))
    probe = ApamProbe(lambda state: state[1])
    terms = asyncopt.replay(digits, chain, traces.uniform(50, 3), probes=[probe]).bound_terms
    expected = asyncopt.replay(digits, asyncopt.apam(0.1), traces.uniform(50, 3), record_bounds=True).bound_terms
    assert list(terms) == list(ApamColumns._fields)
    for name, values in terms.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-12)
    with pytest.raises(InputError, match="need an ApamState, found the state tuple"):
        asyncopt.replay(digits, chain, traces.synchronous(2), probes=[ApamProbe()])


class DriftColumns(NamedTuple):
    largest_drift: jax.Array
    updates: jax.Array


@dataclasses.dataclass(frozen=True)
class LargestDrift:
    """A probe of one's own: the largest distance of a read from the newest iterate, and the number of updates."""

    def init(self, params, optimizer_state):
        del params, optimizer_state
        return DriftColumns(jnp.zeros(()), jnp.zeros(()))

    def observe(self, terms, k, before, stale, gradient):
        del gradient
        distance = optax.tree.norm(jax.tree.map(lambda x, y: x - y, before.params, stale))
        return DriftColumns(jnp.maximum(terms.largest_drift, distance), terms.updates + (k >= 0))

    def evaluate(self, terms, state):
        del state
        return terms


@pytest.mark.parametrize("how", ["one", "seeds", "exact"])
def test_a_probe_of_ones_own_records_beside_that_of_apam(digits, how):
    trace = traces.uniform(60, 6)
    arguments = {"one": {}, "seeds": {"seeds": [0, 1]}, "exact": {"exact": True}}[how]
    result = asyncopt.replay(
        digits, asyncopt.apam(0.1), trace, probes=[LargestDrift()], eval_every=1, record_bounds=True, **arguments
    )
    drift, largest = result.drift, result.bound_terms["largest_drift"]
    np.testing.assert_allclose(largest, np.sqrt(np.maximum.accumulate(drift, axis=-1)), rtol=1e-12)
    np.testing.assert_array_equal(result.bound_terms["updates"][..., -1], 60)
    assert "scale_l1" in result.bound_terms


def test_two_probes_cannot_record_one_column(digits):
    with pytest.raises(InputError, match="LargestDrift has a column largest_drift, as the probe LargestDrift has; exp"):
        asyncopt.replay(digits, optax.sgd(0.1), traces.synchronous(2), probes=[LargestDrift(), LargestDrift()])


@dataclasses.dataclass(frozen=True)
class Evaluates(LargestDrift):
    """A probe that evaluates to what it is told to."""

    to: Any

    def evaluate(self, terms, state):
        return self.to(terms.largest_drift)


def named(name, value=lambda drift: drift):
    """Returns a function of the drift, which returns a NamedTuple with one column."""
    columns = NamedTuple("Columns", [(name, Any)])
    return lambda drift: columns(value(drift))


APAM, MINE = dataclasses.make_dataclass("Apam", []), dataclasses.make_dataclass("Mine", [])
OWN = ["seed", "step", "time", "objective", "gap", "grad_norm_sq", "average_objective", "average_gap", "drift"]
REFUSED = [
    *((named(name), f"the probe Mine has a column {name}, as the run has; expected each name once") for name in OWN),
    (named("accuracy"), "the probe Mine has a column accuracy, as the problem has; expected each name once"),
    (named("scale_l1"), "the probe Mine has a column scale_l1, as the probe Apam has; expected each name once"),
    (lambda drift: {"mine": drift}, "the probe Mine evaluates to a dict, expected a NamedTuple"),
    (lambda drift: (drift, drift), "the probe Mine evaluates to a tuple, expected a NamedTuple"),
    (lambda drift: None, "the probe Mine evaluates to a NoneType, expected a NamedTuple"),
    (named("mine", lambda drift: jnp.stack([drift, drift])), "evaluates to mine = .*, expected a scalar"),
    (named("mine", lambda drift: "large"), "the probe Mine evaluates to mine = 'large', expected a scalar"),
    (named("mine", lambda drift: 1j * drift), "evaluates to mine = .*, expected a scalar"),
]


@pytest.mark.parametrize(("to", "message"), REFUSED)
def test_refuses_columns_that_a_table_of_results_cannot_hold(to, message):
    drift = jnp.ones(())
    with pytest.raises(InputError, match=message):
        check_columns([APAM(), MINE()], [named("scale_l1")(drift), to(drift)], ["accuracy"])


@pytest.mark.parametrize("arguments", [{}, {"seeds": [0, 1]}, {"exact": True}], ids=["one", "seeds", "exact"])
@pytest.mark.parametrize("to", [named("drift"), named("train_accuracy"), named("scale_l1"), lambda drift: [drift]])
def test_refuses_them_before_the_first_update(digits, to, arguments):
    with pytest.raises(InputError, match=r"the probe Evaluates .* expected"):
        asyncopt.replay(
            digits,
            asyncopt.apam(0.1),
            traces.synchronous(2),
            probes=[Evaluates(to)],
            record_bounds=True,
            **arguments,
        )


@pytest.mark.parametrize(
    ("minimiser", "message"),
    [
        (np.zeros(3), r"the shapes \(3,\), expected those of its start, \(1,\)"),
        ({"x": np.zeros(1)}, "expected those of its start"),
        (np.array([np.nan]), "expected finite numbers, or None if it is unknown"),
        (np.array([2.0]), "minimiser is outside its constraint Box"),
    ],
)
def test_refuses_a_minimiser_that_cannot_be_one(minimiser, message):
    problem = asyncopt.problems.hard_instance(10)
    wrong = eqx.tree_at(lambda p: p.minimiser, problem, minimiser)
    with pytest.raises(InputError, match=message):
        asyncopt.replay(wrong, asyncopt.apam(0.1), traces.constant(10, 0))
