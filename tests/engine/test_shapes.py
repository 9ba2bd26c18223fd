"""What is found once for arguments of the same shapes is found again for others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asyncopt.engine import loop
from asyncopt.engine.blocks import block_of
from asyncopt.engine.shapes import by_shapes


@pytest.fixture
def asked():
    """A function of shapes, and what it was called with."""
    calls = []

    @by_shapes
    def function(tree, name="a"):
        calls.append((tree, name))
        return len(calls)

    return function, calls


def test_numbers_make_no_difference(asked):
    function, calls = asked
    assert function({"x": jnp.zeros(3)}) == function({"x": jnp.ones(3)}) == 1
    (shape,) = jax.tree.leaves(calls[0][0])
    assert (shape.shape, shape.dtype) == ((3,), jnp.zeros(()).dtype)


def test_whatever_a_program_depends_on_does(asked):
    function, calls = asked
    first = jnp.zeros(3)
    others = [jnp.zeros(4), jnp.zeros(3, jnp.float32), (first,), jnp.asarray(2.0)]
    assert [function(first), *map(function, others)] == [1, 2, 3, 4, 5]
    assert function(jnp.zeros(())) == 6  # a Python number would not widen what it is added to
    assert function(first, name="b") == 7
    try:
        jax.config.update("jax_enable_x64", False)
        assert function(first) == 8
    finally:
        jax.config.update("jax_enable_x64", True)
    assert function(first) == 1
    assert len(calls) == 8


@pytest.mark.parametrize("num_blocks", [1, 3, 63, 64, 65, 200])
def test_blocks_are_read_from_their_slots(num_blocks):
    """Few are copied one after another, many are gathered."""
    rng = np.random.default_rng(0)
    like = {"a": jnp.zeros((10, 7)), "b": jnp.zeros(130, jnp.float32)}
    history = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=(5, *x.shape)), jnp.bfloat16), like)
    slots = rng.integers(0, 5, num_blocks)
    found = jax.jit(loop.read)(history, jnp.asarray(slots), like)
    blocks = block_of([70, 130], num_blocks)
    for name, places in zip(("a", "b"), blocks, strict=True):
        rows = np.asarray(history[name]).reshape(5, -1)
        expected = rows[slots[places], np.arange(len(places))].reshape(like[name].shape)
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == like[name].dtype
