import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncopt import traces
from asyncopt.engine import plan
from asyncopt.engine.plan import done_after_each
from asyncopt.traces import Trace
from tests.strategies import racing_traces
from tests.strategies import traces as any_trace


def replay_slots(trace, slots):
    """Runs the plan on iterate numbers in place of iterates, and checks every read."""
    history = np.full(slots.capacity, -1)
    history[0] = 0
    reads = trace.read_version if trace.block_version is None else trace.block_version
    for k in range(trace.num_updates):
        np.testing.assert_array_equal(history[slots.read_slot[k]], reads[k])
        history[slots.write_slot[k]] = k + 1
    return history


def fewest_slots_by_brute_force(trace):
    """Tries every assignment of iterates to slots, for 1, 2, ... slots, until one serves all reads."""
    last = {int(v): k for k, v in enumerate(trace.read_version)}
    iterates = sorted(last)

    def clash(a, b):
        # b is born while a is still to be read; a slot is free for iterate b once update b - 1 has read.
        return a < b <= last[a]

    for num_slots in itertools.count(1):
        for assignment in itertools.product(range(num_slots), repeat=len(iterates)):
            slot = dict(zip(iterates, assignment, strict=True))
            if not any(slot[a] == slot[b] and clash(a, b) for a in iterates for b in iterates):
                return num_slots
    raise AssertionError


@given(st.integers(1, 6).flatmap(any_trace))
@settings(max_examples=300, deadline=None)
def test_minimal_by_brute_force(trace):
    slots = plan(trace)
    replay_slots(trace, slots)
    assert slots.num_slots == trace.live_versions == fewest_slots_by_brute_force(trace)


@given(st.integers(1, 60).flatmap(any_trace))
@settings(max_examples=200, deadline=None)
def test_every_read_finds_its_iterate_and_no_slot_is_idle(trace):
    slots = plan(trace)
    replay_slots(trace, slots)
    assert slots.num_slots == trace.live_versions
    assert slots.num_slots < slots.capacity
    # An iterate that is read never goes to the scratch slot, one that is not always does.
    read = np.isin(np.arange(1, trace.num_updates + 1), trace.read_version)
    np.testing.assert_array_equal(slots.write_slot != slots.capacity - 1, read)


@pytest.mark.parametrize(
    ("trace", "num_slots"),
    [
        (traces.synchronous(50), 1),
        (traces.constant(50, 7), 8),
        (traces.cyclic(50, 5), 5),
        (Trace([0]), 1),
        (Trace(np.zeros(50)), 1),
        (Trace(np.r_[np.arange(49), 0]), 2),
        (Trace(np.r_[np.arange(48), 0, 1]), 3),
    ],
)
def test_known_counts(trace, num_slots):
    assert plan(trace).num_slots == num_slots


@pytest.mark.parametrize("stashing", [True, False])
def test_each_leaf_of_a_pipeline_finds_its_iterates(stashing):
    """By iterate numbers in place of iterates, in a history for each of five leaves."""
    trace, leaves = traces.pipeline(40, 3, stashing=stashing), (0, 0, 1, 2, 1)
    slots = plan(trace, leaves)
    assert slots.read_slot.shape == slots.write_slot.shape == (40, 5)
    assert (slots.backward_slot is None) == stashing
    for leaf, block in enumerate(leaves):
        history = np.full(slots.capacity[leaf], -1)
        history[0] = 0
        for k in range(40):
            assert history[slots.read_slot[k, leaf]] == trace.block_version[k, block]
            if not stashing:
                assert history[slots.backward_slot[k, leaf]] == k
            history[slots.write_slot[k, leaf]] = k + 1
    # The first stage keeps three iterates, and the last one; scratch is one more, and sizes are 2, 3, 4, 6, ...
    assert slots.num_slots == 3
    assert slots.capacity == (4, 4, 3, 2, 3)


@given(st.integers(1, 30).flatmap(any_trace))
@settings(max_examples=50, deadline=None)
def test_an_iterate_is_done_after_its_last_reader(trace):
    done = done_after_each(trace)
    assert len(done) == trace.num_updates
    for k, versions in enumerate(done):
        assert versions == [v for v in [trace.read_version[k]] if v not in trace.read_version[k + 1 :]]


def test_a_straggler_thousands_of_updates_late_costs_one_slot():
    means = [1.0] * 7 + [1000.0]
    trace = traces.cluster(40_000, 8, compute=traces.durations.exponential(means), server=0.001)
    assert trace.max_delay > 1000
    slots = plan(trace)
    assert slots.num_slots <= 9
    replay_slots(trace, slots)


def test_capacities_come_in_few_sizes():
    capacities = {plan(traces.constant(1000, delay)).capacity for delay in range(300)}
    assert capacities == {2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384}


@given(st.integers(1, 30), st.integers(1, 4), st.data())
@settings(max_examples=200, deadline=None)
def test_every_block_finds_its_iterate(num_updates, num_blocks, data):
    trace = data.draw(racing_traces(num_updates, num_blocks))
    slots = plan(trace)
    replay_slots(trace, slots)
    assert slots.num_slots == trace.live_versions
