import dataclasses
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from asyncopt import InputError
from asyncopt.traces import Trace, uniform
from asyncopt.traces.trace import COSTS


def test_fields_and_statistics():
    trace = Trace([0, 0, 2, 1], worker=[0, 1, 0, 1], time=[0.5, 0.5, 1.0, 3.0])
    assert trace.num_updates == 4
    assert trace.num_workers == 2
    np.testing.assert_array_equal(trace.delay, [0, 1, 0, 2])
    assert trace.max_delay == 2
    assert trace.mean_delay == 0.75
    assert trace.mean_square_delay == 1.25
    np.testing.assert_array_equal(trace.sample, [0, 1, 2, 3])
    np.testing.assert_array_equal(trace.read_end, trace.read_version)
    # Iterate 0 is alive in updates 0 and 1, 1 from its birth in update 1 to update 3, 2 in update 2.
    np.testing.assert_array_equal(trace.last_reader, [1, 3, 2, -1])
    assert trace.live_versions == 2
    assert trace.updates_per_second == 3 / 2.5
    assert trace.num_blocks == 0


def test_one_update():
    trace = Trace([0], time=[2.0])
    assert (trace.num_updates, trace.max_delay, trace.updates_per_second) == (1, 0, None)


def test_a_racing_read_keeps_every_iterate_it_may_touch():
    trace = Trace([0, 0, 0], read_end=[0, 1, 2])
    np.testing.assert_array_equal(trace.last_reader, [2, 2, 2])
    assert trace.live_versions == 3
    assert not trace.is_consistent


def test_blocks_of_a_racing_read():
    given = Trace([0, 0, 1], block_version=[[0, 0], [1, 0], [1, 2]], time=[1, 2, 3], arrival=[0.5, 2, 1])
    np.testing.assert_array_equal(given.read_end, [0, 1, 2])
    assert Trace([0, 0, 1], read_end=[0, 1, 2], block_version=[[0, 0], [0, 1], [1, 2]], time=[1, 2, 3]) != given
    # Where only the ends are known, the read sweeps evenly: these are the only monotone ways with every iterate once.
    swept = Trace([0, 0, 0, 1], read_end=[0, 0, 2, 3])
    np.testing.assert_array_equal(swept.block_version, [[0, 0, 0], [0, 0, 0], [0, 1, 2], [1, 2, 3]])
    # Of four blocks and two iterates, each has the half that is nearer to its own end.
    two = Trace([0, 0, 0, 0], read_end=[0, 0, 1, 3]).block_version
    np.testing.assert_array_equal(two[2:], [[0, 0, 1, 1], [0, 1, 2, 3]])
    # Of seven blocks, a read of two steps is nearest to its ends in two each, half a share, and to the middle in three.
    wide = Trace(np.zeros(7, int), read_end=[0, 0, 2, 0, 0, 0, 6]).block_version
    np.testing.assert_array_equal(wide[2], [0, 0, 1, 1, 1, 2, 2])
    # Half-way between two, it is the later one.
    np.testing.assert_array_equal(Trace([0, 0, 0], read_end=[0, 1, 2]).block_version[1], [0, 1, 1])
    far = Trace(np.zeros(200, int), read_end=np.arange(200)).block_version
    assert far.shape == (200, 64)
    assert Trace(np.zeros(200, int), read_end=np.arange(200)).num_blocks == 64
    np.testing.assert_array_equal(far[:, -1], np.arange(200))
    assert np.all(np.diff(far, axis=1) >= 0)
    assert Trace([0, 1], block_version=[[0, 0], [1, 1]]).block_version is None


def test_is_immutable():
    versions = np.array([0, 1])
    trace = Trace(versions)
    versions[1] = 0
    assert trace.read_version[1] == 1
    with pytest.raises(ValueError, match="read-only"):
        trace.read_version[1] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        trace.num_workers = 3


def test_digest_tells_traces_apart():
    base = Trace([0, 1, 1])
    assert base == Trace(np.array([0, 1, 1], np.int32))
    assert hash(base) == hash(Trace([0.0, 1.0, 1.0]))
    different = [Trace([0, 1, 2]), Trace([0, 1, 1], time=[0, 1, 2]), Trace([0, 1, 1], sample=[0, 1, 1])]
    assert len({base, *different}) == 4


# Two updates of two layers, in two steps, with every field.
WHOLE = {
    "block_version": [[0, 0], [0, 1]],
    "backward_version": [[0, 0], [1, 1]],
    "blocks": "layers",
    "worker": [0, 1],
    "time": [1.0, 2.0],
    "arrival": [0.5, 1.5],
    "sample": [0, 1],
    "step": [0, 1],
    "weight": [1.0, 0.5],
    "computed": [1, 3],
    "arrivals": 3,
    "cancelled": 1,
    "wasted_seconds": 0.25,
    "num_workers": 2,
}
OTHER = {
    "block_version": [[0, 0], [1, 0]],
    "backward_version": None,
    "worker": [1, 1],
    "time": [1.0, 2.5],
    "arrival": [0.5, 1.75],
    "sample": [0, 2],
    "step": [0, 0],
    "weight": [1.0, 0.75],
    "computed": [2, 3],
    "arrivals": 4,
    "cancelled": 2,
    "wasted_seconds": 0.5,
    "num_workers": 3,
}


def test_every_field_is_part_of_a_trace():
    """Changed, or left out where that is possible, it makes another trace, in its digest as in its file."""
    assert {"read_version", "read_end", *WHOLE} == {field.name for field in dataclasses.fields(Trace)}
    whole = Trace([0, 0], **WHOLE)
    others = {name: Trace([0, 0], **(WHOLE | {name: value})) for name, value in OTHER.items()}
    for name in ("time", "arrival", "step", "weight", "computed", *COSTS):
        without = {"time", "arrival"} if name == "time" else {name}
        others[f"no {name}"] = Trace([0, 0], **{key: WHOLE[key] for key in WHOLE.keys() - without})
    ends = [Trace([0, 0, 0], read_end=[0, 0, end]) for end in range(3)]
    digests = [trace.digest for trace in (whole, *others.values(), *ends)]
    assert len(set(digests)) == len(digests)
    assert Trace([0, 0], **WHOLE) == whole
    assert whole != "a trace"


def test_layers_without_a_reader_are_never_kept():
    """Against a look at each read: nobody reads the first layer of iterate 1."""
    versions, backward = [[0, 0], [0, 1], [0, 2], [2, 2]], [[0, 0], [0, 1], [2, 2], [3, 2]]
    trace = Trace([0, 0, 0, 2], block_version=versions, backward_version=backward, blocks="layers")
    expected = [
        [
            max((k for k in range(4) if iterate in (versions[k][block], backward[k][block])), default=-1)
            for block in range(2)
        ]
        for iterate in range(4)
    ]
    assert expected[1][0] == -1
    np.testing.assert_array_equal(trace.block_last_reader, expected)
    np.testing.assert_array_equal(trace.last_reader, np.max(expected, axis=1))
    assert trace.block_live_versions == (2, 1)


def test_the_largest_numbers_that_are_valid():
    assert Trace([0, 0], sample=[0, 2**31 - 1]).sample[1] == 2**31 - 1
    assert Trace([0, 0], sample=np.array([0, 2**31 - 1], np.uint64)).sample[1] == 2**31 - 1
    free = Trace([0, 0], cancelled=0, wasted_seconds=0, arrivals=2, computed=[1, 2], time=[1, 1], arrival=[1, 1])
    assert (free.cancelled, free.wasted_seconds, free.arrivals) == (0, 0.0, 2)
    assert free.updates_per_second is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"read_version": [0, 0], "block_version": [[0, 0], [0, 2]]},
            "read_end of update 1 is 2, expected 0 to 1",
        ),
        (
            {"read_version": [0, 1], "read_end": [0, 1], "block_version": [[0, 0], [0, 1]]},
            "block_version, block 0, of update 1 is 0, expected 1 to 1: of what the update reads",
        ),
        (
            {"read_version": [0, 0, 0], "block_version": [[0, 0], [0, 1], [1, 2]]},
            "read_version of update 2 is 0, expected 1, the oldest block_version of its update",
        ),
        (
            {"read_version": [0, 0], "read_end": [0, 1], "block_version": [[0, 0], [0, 0]]},
            "read_end of update 1 is 1, expected 0, the newest block_version of its update",
        ),
        (
            {"read_version": [0, 1], "block_version": [0, 1]},
            r"block_version has shape \(2,\) and dtype int64, expected",
        ),
        (
            {"read_version": [0, 1], "block_version": [[0.0, 0.0], [1.0, 1.0]]},
            r"block_version has shape \(2, 2\) and dtype float64, expected integers",
        ),
        ({"read_version": [0, 1], "block_version": np.zeros((2, 0), int)}, r"block_version has shape \(2, 0\)"),
        ({"read_version": [0, 1], "block_version": [[0], [0], [1]]}, r"block_version has shape \(3, 1\)"),
        ({"read_version": [0, 1], "arrival": [0, 1]}, "arrival is given and time is not, expected both"),
        (
            {"read_version": [0, 1], "time": [1, 2], "arrival": [0, 3]},
            "arrival of update 1 is 3.0 s, expected at most its time, 2 s",
        ),
        ({"read_version": [0, 2]}, "read_version of update 1 is 2, expected 0 to 1: .* from the future"),
        ({"read_version": [0, -1]}, "read_version of update 1 is -1, expected 0 to 1"),
        ({"read_version": [0, 0.5]}, "read_version of update 1 is 0.5, expected a whole number"),
        ({"read_version": [0, np.nan]}, "read_version of update 1 is nan, expected a whole number"),
        ({"read_version": [0, np.inf]}, "read_version of update 1 is inf, expected a whole number"),
        (
            {"read_version": [0, 1], "sample": [0, 2.0**53 + 2]},
            "sample of update 1 is 9007199254740994.0",
        ),
        (
            {"read_version": [0, 1], "sample": [0, 2.0**53]},
            "sample of update 1 is 9007199254740992, expected 0 to 2147",
        ),
        (
            {"read_version": [0, 1], "sample": np.array([0, 2**31], np.uint64)},
            "update 1 is 2147483648, expected at most",
        ),
        ({"read_version": []}, "read_version has 0 updates"),
        ({"read_version": [[0, 1]]}, r"read_version has shape \(1, 2\), expected one dimension"),
        ({"read_version": ["a", "b"]}, "read_version has dtype <U1, expected integers"),
        ({"read_version": [[0], [0, 1]]}, "read_version is not an array of integers"),
        (
            {"read_version": np.array([0, 2**63 + 1], np.uint64)},
            "read_version of update 1 is 9223372036854775809",
        ),
        ({"read_version": [0, 1], "time": [1.0, 0.5]}, "time runs backwards at update 1: 0.5 s after 1.0 s"),
        ({"read_version": [0, 1], "time": [1.0, np.nan]}, "time of update 1 is nan, expected a finite"),
        (
            {"read_version": [0, 1], "time": [1.0]},
            r"time has shape \(1,\), expected one second for each of the 2",
        ),
        (
            {"read_version": [0, 1], "worker": [0, 3], "num_workers": 3},
            "worker of update 1 is 3, expected 0 to 2",
        ),
        (
            {"read_version": [0, 1], "worker": [0]},
            "worker has 1 entries, expected one for each of the 2 updates",
        ),
        ({"read_version": [0, 1], "num_workers": 0}, "num_workers is 0, expected an integer of at least 1"),
        ({"read_version": [0, 1], "sample": [0, -1]}, "sample of update 1 is -1"),
        ({"read_version": [0, 1], "sample": [0, 2**31]}, "sample of update 1 is 2147483648"),
        ({"read_version": [0, 1], "read_end": [0, 0]}, "read_end of update 1 is 0, expected 1 to 1"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        Trace(**arguments)


@pytest.mark.parametrize(
    ("delays", "message"),
    [
        ([0, -1], "delay of update 1 is -1, expected 0 to 1"),
        ([0, 2], "delay of update 1 is 2, expected 0 to 1: the gradient would be older than the start"),
        ([0, 0.25], "delay of update 1 is 0.25, expected a whole number"),
        ([0, np.nan], "delay of update 1 is nan, expected a whole number"),
        ([], "read_version has 0 updates"),
    ],
)
def test_refuses_delays(delays, message):
    with pytest.raises(InputError, match=message):
        Trace.from_delays(delays)


def test_reading_a_trace_needs_no_jax():
    code = "import sys, asyncopt.traces; sys.exit('jax' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("field", ["read_version", "read_end", "time", "worker"])
def test_masked_entries_are_not_taken_from_below_the_mask(field):
    values = np.ma.array([0, 0, 1], mask=[False, False, True])
    with pytest.raises(InputError, match=f"{field} has masked entries"):
        Trace(**{"read_version": [0, 0, 0], field: values})


def test_the_last_reader_of_each_iterate():
    generator = np.random.default_rng(0)
    for num_updates in generator.integers(1, 40, 200):
        updates = np.arange(num_updates)
        oldest = generator.integers(0, updates + 1)
        trace = Trace(oldest, read_end=generator.integers(oldest, updates + 1))
        is_read = (trace.read_version[:, None] <= updates) & (updates <= trace.read_end[:, None])
        expected = np.where(is_read, updates[:, None], -1).max(axis=0)
        np.testing.assert_array_equal(trace.last_reader, expected)


def test_wide_reads_take_little_memory():
    num_updates = 20_000
    trace = Trace(np.zeros(num_updates, int), read_end=np.arange(num_updates))
    tracemalloc.start()
    assert trace.live_versions == num_updates
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * num_updates


def test_numbers_that_no_array_can_have():
    with pytest.raises(InputError, match=r"num_updates is 10{30}, expected an integer of at most 9223372036854775807"):
        uniform(10**30, 1)
    with pytest.raises(InputError, match=r"max_delay is 10{30}, expected"):
        uniform(5, 10**30)
    assert uniform(5, 1, seed=2**100).num_updates == 5  # which NumPy's generators take
