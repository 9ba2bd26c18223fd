"""A replay made one update at a time is the compiled loop's, to rounding, and leaves nothing out."""

import jax
import numpy as np
import optax
import pytest

import asyncopt
from asyncopt import InputError, traces
from asyncopt.engine.blocks import block_of, slices
from asyncopt.engine.stepwise import digest, mixture

QUADRATIC = asyncopt.problems.quadratic(dimension=7)
TRACES = {
    "consistent": traces.uniform(60, 9, seed=2),
    "inconsistent": traces.shared_memory(60, 4, num_blocks=3, read=1.0),
    "sampled": traces.Trace(np.arange(60) // 2, sample=np.arange(60)[::-1].copy()),
}


@pytest.mark.parametrize("name", TRACES)
@pytest.mark.parametrize(
    "optimizer",
    [asyncopt.apam(0.05), asyncopt.optim.compensate_delay(optax.sgd(0.01), strength=0.1)],
    ids=["apam", "compensated"],
)
def test_it_is_the_loop_to_rounding(name, optimizer):
    loop = asyncopt.replay(QUADRATIC, optimizer, TRACES[name], seed=3, eval_every=7)
    steps = asyncopt.replay(QUADRATIC, optimizer, TRACES[name], seed=3, eval_every=7, exact=True)
    for field in ("params", "average", "objective", "grad_norm_sq", "average_objective", "drift", "gap", "diverged_at"):
        np.testing.assert_allclose(getattr(steps, field), getattr(loop, field), rtol=1e-11, atol=1e-13, err_msg=field)
    np.testing.assert_array_equal(steps.step, loop.step)
    assert (steps.bound_terms is None) == (loop.bound_terms is None)
    for term in loop.bound_terms or {}:
        np.testing.assert_allclose(steps.bound_terms[term], loop.bound_terms[term], rtol=1e-11)
    for a, b in zip(jax.tree.leaves(steps.optimizer_state), jax.tree.leaves(loop.optimizer_state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_the_same_trace_gives_the_same_bits_and_another_does_not():
    optimizer = asyncopt.apam(0.05)
    first, second = (asyncopt.replay(QUADRATIC, optimizer, TRACES["inconsistent"], exact=True) for _ in range(2))
    assert digest(first.params) == digest(second.params)
    # The read of one block one iterate later: too small a difference for a tolerance, and not for a digest.
    blocks = TRACES["inconsistent"].block_version.copy()
    late = int(np.flatnonzero(TRACES["inconsistent"].read_end > blocks[:, 0])[-1])
    blocks[late, 0] += 1
    trace = traces.Trace(blocks.min(axis=1), block_version=blocks)
    assert digest(asyncopt.replay(QUADRATIC, optimizer, trace, exact=True).params) != digest(first.params)


def test_divergence_is_noted():
    run = asyncopt.replay(QUADRATIC, optax.sgd(1e3), traces.constant(500, 3), exact=True)
    loop = asyncopt.replay(QUADRATIC, optax.sgd(1e3), traces.constant(500, 3))
    assert run.diverged_at == loop.diverged_at > 0


@pytest.mark.parametrize("arguments", [{"seeds": range(2)}, {"history_dtype": "float32"}])
def test_refuses_what_an_exact_replay_cannot_do(arguments):
    with pytest.raises(
        InputError, match=r"exact is for one seed, without history_dtype, checkpoint, on_evaluation and work"
    ):
        asyncopt.replay(QUADRATIC, asyncopt.apam(0.1), traces.synchronous(5), exact=True, **arguments)


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 7, 11])
def test_blocks_divide_the_coordinates_of_all_leaves(num_blocks):
    sizes = (4, 1, 5)
    together = np.concatenate(block_of(sizes, num_blocks))
    expected = [b for b in range(num_blocks) for _ in range(b * 10 // num_blocks, (b + 1) * 10 // num_blocks)]
    np.testing.assert_array_equal(together, expected)
    leaves = [np.full(size, -1) for size in sizes]
    for block, places in enumerate(slices(sizes, num_blocks)):
        for leaf, where in places:
            leaves[leaf][where] = block
    np.testing.assert_array_equal(np.concatenate(leaves), expected)


def test_a_mixture_takes_each_block_from_its_iterate():
    iterates = {v: {"a": np.full((2, 2), float(v)), "b": np.full(4, float(v))} for v in (3, 5, 8)}
    mixed = mixture(iterates, [5, 8, 3, 3])
    np.testing.assert_array_equal(mixed["a"], [[5, 5], [8, 8]])
    np.testing.assert_array_equal(mixed["b"], [3, 3, 3, 3])
