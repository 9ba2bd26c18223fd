"""Traces of pipelines: clock, schedules, files, and what is refused. Their versions: tests/engine/test_pipeline.py."""

import numpy as np
import pytest

import asyncopt
from asyncopt.traces import Trace, pipeline
from tests import pipelines


@pytest.mark.parametrize("seed", range(40))
def test_time_is_that_of_passes_one_by_one(seed):
    draw = np.random.default_rng(seed)
    stages, updates = int(draw.integers(1, 9)), int(draw.integers(1, 25))
    forward, backward, network = draw.random(stages), draw.random(stages), draw.random() * draw.integers(2)
    clock = {"forward": forward.tolist(), "backward": backward.tolist(), "network": network}
    trace = pipeline(updates, stages, **clock)
    np.testing.assert_allclose(trace.time, pipelines.seconds(forward, backward, network, updates), rtol=1e-12)
    parts = stages + int(draw.integers(3))
    trace = pipeline(updates, stages, "2bw", microbatches=parts, **clock)
    each = pipelines.seconds(forward / parts, backward / parts, network, updates * parts)
    np.testing.assert_allclose(trace.time, each[parts - 1 :: parts], rtol=1e-12)


@pytest.mark.parametrize(("stages", "parts"), [(1, 1), (4, 4), (4, 1), (3, 12)])
def test_gpipe_waits_while_it_fills_and_empties(stages, parts):
    """Huang et al.: equal stages take m + P - 1 turns for m micro-batches."""
    trace = pipeline(5, stages, "gpipe", microbatches=parts, forward=1.0, backward=2.0)
    turns = (parts + stages - 1) * 3.0 / (stages * parts)
    np.testing.assert_allclose(trace.time, turns * np.arange(1, 6), rtol=1e-12)
    assert trace.max_delay == 0


def test_full_pipelines_do_not_wait():
    """Each of equal stages has an update's passes done in 1/P of their seconds."""
    for schedule in ("1f1b", "2bw"):
        trace = pipeline(400, 4, schedule, forward=1.0, backward=2.0)
        np.testing.assert_allclose(np.diff(trace.time)[100:300], 3.0 / 4, rtol=1e-9)
    assert pipeline(400, 4, "2bw").delay.tolist() == [0] + [1] * 399


def test_the_slowest_stage_sets_the_pace():
    trace = pipeline(300, 3, forward=[1.0, 2.5, 0.1], backward=[1.0, 2.5, 0.1])
    np.testing.assert_allclose(np.diff(trace.time)[100:200], 5.0, rtol=1e-9)


def test_delays_fall_from_stage_to_stage():
    trace = pipeline(10, 4)
    delays = np.arange(10)[:, None] - trace.block_version
    assert delays[-1].tolist() == [3, 2, 1, 0]
    assert trace.delay.tolist() == [0, 1, 2, *[3] * 7]
    assert trace.blocks == "layers"
    assert trace.backward_version is None
    assert (pipeline(10, 4, stashing=False).backward_version == np.arange(10)[:, None]).all()
    assert trace.live_versions == 4


def test_one_stage_has_no_blocks():
    for stashing in (True, False):
        trace = pipeline(10, 1, stashing=stashing)
        assert trace.num_blocks == 0
        assert trace.blocks == "coordinates"
        np.testing.assert_array_equal(trace.delay, 0)


@pytest.mark.parametrize("stashing", [True, False])
def test_a_file_holds_all_of_it(tmp_path, stashing):
    trace = pipeline(20, 3, stashing=stashing)
    trace.save(tmp_path / "trace.npz")
    again = asyncopt.traces.load(tmp_path / "trace.npz")
    assert again == trace
    assert again.blocks == "layers"
    assert again != pipeline(20, 3, stashing=not stashing)
    fields = {"block_version": trace.block_version, "time": trace.time}
    assert Trace(trace.read_version, **fields) != Trace(trace.read_version, **fields, blocks="layers")


def test_a_file_with_a_false_kind(tmp_path):
    with np.load(_saved(tmp_path)) as archive:
        fields = dict(archive)
    np.savez(tmp_path / "trace.npz", **(fields | {"blocks": "stages"}))
    with pytest.raises(asyncopt.InputError, match=r"trace.npz: blocks is 'stages', expected one of"):
        asyncopt.traces.load(tmp_path / "trace.npz")
    np.savez(tmp_path / "trace.npz", **(fields | {"blocks": np.arange(2)}))
    with pytest.raises(asyncopt.InputError, match=r"trace.npz: blocks is array\(\[0, 1\]\), expected one text"):
        asyncopt.traces.load(tmp_path / "trace.npz")


def _saved(folder):
    pipeline(20, 3).save(folder / "trace.npz")
    return folder / "trace.npz"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_stages": 0}, "num_stages is 0, expected an integer of at least 1"),
        ({"schedule": "zb"}, r"schedule is 'zb', expected one of \['1f1b', '2bw', 'gpipe'\]"),
        ({"stashing": 1}, "stashing is 1"),
        ({"schedule": "2bw", "stashing": False}, "stashing is False, expected True: with schedule '2bw'"),
        ({"microbatches": 4}, "microbatches is 4, expected none with schedule '1f1b'"),
        ({"schedule": "2bw", "microbatches": 3}, "microbatches is 3, expected an integer of at least 4"),
        ({"schedule": "gpipe", "microbatches": 0}, "microbatches is 0, expected an integer of at least 1"),
        ({"forward": [1.0, 2.0]}, "forward has 2 numbers, expected one, or one for each of 4 stages"),
        ({"backward": [1.0, 2.0, -1.0, 2.0]}, "backward of stage 2 is -1.0"),
        ({"network": float("nan")}, "network is nan"),
        ({"forward": "fast"}, "forward is 'fast', expected"),
        ({"forward": b"fast"}, "forward is b'fast', expected"),
        ({"forward": np.array(-1.0)}, "forward is -1.0, expected"),
        ({"schedule": np.array(["1f1b", "2bw"])}, r"schedule is array\(.*, expected one of"),
        (
            {"num_updates": 2**31},
            "num_updates is 2147483648 of 1 micro-batches each, expected at most",
        ),
        ({"schedule": "2bw", "microbatches": 10**9}, "num_updates is 9 of 1000000000 micro-batches each, expected"),
        ({"backward": None}, "backward is None"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(asyncopt.InputError, match=message):
        pipeline(**({"num_updates": 9, "num_stages": 4} | arguments))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"backward_version": [[0, 0], [1, 1]]}, "backward_version is given, blocks is 'coordinates'"),
        ({"backward_version": [[0, 0], [0, 0]], "blocks": "layers"}, "block 1, of update 1 is 0, expected 1 to 1"),
        ({"backward_version": [[0, 0], [2, 1]], "blocks": "layers"}, "block 0, of update 1 is 2, expected 0 to 1"),
        ({"backward_version": [[0], [1]], "blocks": "layers"}, r"backward_version has shape \(2, 1\), expected"),
        ({"blocks": "leaves"}, r"blocks is 'leaves', expected one of \['coordinates', 'layers'\]"),
        ({"blocks": np.array(["layers", "layers"])}, r"blocks is array\(.*, expected one of"),
        ({"backward_version": [[0], [0, 1]], "blocks": "layers"}, "backward_version is not an array of integers: "),
    ],
)
def test_bad_fields(fields, message):
    with pytest.raises(asyncopt.InputError, match=message):
        Trace([0, 0], block_version=[[0, 0], [0, 1]], **fields)


def test_ragged_versions_are_refused():
    with pytest.raises(asyncopt.InputError, match="block_version is not an array of integers: "):
        Trace([0, 0], block_version=[[0], [0, 1]])


def test_layers_need_their_versions():
    with pytest.raises(asyncopt.InputError, match="blocks is 'layers', and block_version is not given"):
        Trace([0, 0], read_end=[0, 1], blocks="layers")
