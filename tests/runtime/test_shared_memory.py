"""Reads without a lock: each block is whole, and carries the number of its iterate, however the writer races."""

import threading

import numpy as np
import pytest

from asyncopt.runtime import shared_memory
from asyncopt.runtime.shared_memory import SharedParams
from tests.runtime.test_server import interrupted


def params_of(version):
    """Every coordinate is the number of its iterate."""
    return {"a": np.full((300, 10), float(version)), "b": np.full(5000, float(version))}


@pytest.mark.parametrize("num_blocks", [1, 4, 7])
def test_blocks_are_whole_while_a_writer_races(num_blocks):
    shared = SharedParams(params_of(0), num_blocks, pause=0.0)
    stop = threading.Event()
    written = [0]

    def write():
        while not stop.is_set():
            written[0] += 1
            shared.write(written[0], params_of(written[0]))

    writer = threading.Thread(target=write)
    writer.start()
    mixed = 0
    try:
        for _ in range(300):
            before = written[0] - 1
            params, versions = shared.read()
            flat = np.concatenate([params["a"].ravel(), params["b"]])
            for block, version in enumerate(versions):
                part = flat[block * 8000 // num_blocks : (block + 1) * 8000 // num_blocks]
                assert np.all(part == version)
            assert before <= min(versions) <= max(versions) <= written[0]
            mixed += len(set(versions)) > 1
    finally:
        stop.set()
        writer.join()
    assert written[0] > 1
    assert (mixed > 0) == (num_blocks > 1)  # the race was real


def test_at_rest_it_is_the_iterate():
    shared = SharedParams(params_of(0), 3, pause=0.0)
    shared.write(4, params_of(4))
    params, versions = shared.read()
    np.testing.assert_array_equal(versions, [4, 4, 4])
    np.testing.assert_array_equal(params["a"], params_of(4)["a"])
    assert params["b"].shape == (5000,)


def test_ctrl_c_at_any_line_of_a_write_lets_readers_end():
    """A block keeps the mark that it is being written: a reader would look at it for ever."""

    def read():
        while True:
            shared.read()

    def read_to_the_end():
        with pytest.raises(RuntimeError, match="the shared memory is closed"):
            read()

    number, is_interrupted = 0, True
    while is_interrupted:
        shared = SharedParams({"a": np.zeros(2), "b": np.zeros(1)}, 2, 0.0)
        iterate = {"a": np.ones(2), "b": np.ones(1)}
        is_interrupted = interrupted(shared.write, 1, iterate, at=number, event="line", files=[shared_memory.__file__])
        reader = threading.Thread(target=read_to_the_end, daemon=True)
        reader.start()
        shared.close()
        reader.join(10)
        assert not reader.is_alive(), f"line {number}"
        number += 1
    assert number > 10
