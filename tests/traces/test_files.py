import pickle

import numpy as np
import pytest

from asyncopt import InputError
from asyncopt.traces import Trace, cluster, load, uniform


@pytest.mark.parametrize(
    "trace",
    [
        uniform(50, 7, seed=3),
        cluster(50, 4, server=0.1),
        Trace([0, 0, 1], read_end=[0, 1, 2], worker=[2, 0, 2], sample=[5, 5, 9], num_workers=7),
    ],
)
def test_what_is_saved_is_what_is_loaded(trace, tmp_path):
    path = tmp_path / "trace.npz"
    trace.save(path)
    first = path.read_bytes()
    assert load(path) == trace
    trace.save(path)
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["trace.npz"]


def test_csv_of_one_column(tmp_path):
    path = tmp_path / "delays.csv"
    path.write_text("0.000000000000000000e+00\n1.000000000000000000e+00\n\n2\n0")
    np.testing.assert_array_equal(load(path).delay, [0, 1, 2, 0])


def test_csv_of_several_columns(tmp_path):
    path = tmp_path / "delays.csv"
    path.write_text("first, second\n0, 0\n0, 1\n2, 1\n")
    np.testing.assert_array_equal(load(path).delay, [0, 1, 2])
    np.testing.assert_array_equal(load(path, column="first").delay, [0, 0, 2])
    np.testing.assert_array_equal(load(path, column=1).delay, [0, 1, 1])


@pytest.mark.parametrize("header", ["worker,delay,time", "Worker,Delay,Time"])
def test_csv_with_a_column_of_delays(header, tmp_path):
    path = tmp_path / "delays.csv"
    path.write_text(f"{header}\n0,0,1\n1,1,2\n2,0,3\n")
    np.testing.assert_array_equal(load(path).delay, [0, 1, 0])
    np.testing.assert_array_equal(load(path, column=0).delay, [0, 1, 2])


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", None, "empty, expected one delay in each row"),
        ("\n \n", None, "empty, expected one delay in each row"),
        ("delay\n", None, "a header and no rows"),
        ("worker,staleness\n0,0\n", None, r"column 'worker' holds no delays, expected column=\.\.\. with one of"),
        ("0\n1\n1_0\n", None, "row 3: '1_0' is not a number"),
        ("0\n1\nabc\n", None, "row 3: 'abc' is not a number"),
        ("0\n1.0000000e+\n", None, "row 2: '1.0000000e[+]' is not a number"),
        ("0,0\n1,0\n1\n", None, "row 3: 1 columns, expected 2"),
        ("0,0\n1,\n", None, "row 2: '' is not a number"),
        ("0\n-1\n", None, "row 2: delay -1 of update 1, expected a whole number from 0 to 1"),
        ("0\n0.5\n", None, "row 2: delay 0.5 of update 1, expected a whole number from 0 to 1"),
        ("0\nnan\n", None, "row 2: delay nan of update 1"),
        ("0\ninf\n", None, "row 2: delay inf of update 1"),
        ("3\n1\n", None, "row 1: delay 3 of update 0, expected a whole number from 0 to 0"),
        ("a,b\n0,0\n", "c", r"no column 'c', expected \['a', 'b'\] or a number from 0 to 1"),
        ("0,0\n", 2, "no column 2, expected a number from 0 to 1"),
    ],
)
def test_bad_csv(text, column, message, tmp_path):
    path = tmp_path / "delays.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        load(path, column=column)
    assert str(path) in str(raised.value)


def test_binary_file_under_a_csv_name(tmp_path):
    path = tmp_path / "delays.csv"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="not a CSV text file"):
        load(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such trace file"):
        load(tmp_path / "none.npz")


def test_npz_cut_short_anywhere(tmp_path):
    path = tmp_path / "trace.npz"
    uniform(50, 7).save(path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="not a readable") as raised:
            load(path)
        assert str(path) in str(raised.value)


def test_npz_with_any_byte_changed_is_refused_or_whole(tmp_path):
    path = tmp_path / "trace.npz"
    trace = uniform(20, 3)
    trace.save(path)
    whole = path.read_bytes()
    for position in range(0, len(whole), 41):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            assert load(path) == trace
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right


def test_npz_of_another_kind(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, weights=np.zeros(3))
    with pytest.raises(InputError, match=r"not of kind 'asyncopt.trace/1', found the fields \['weights'\]"):
        load(path)


def test_bare_npy_under_an_npz_name(tmp_path):
    with (tmp_path / "bare.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="not a readable"):
        load(tmp_path / "bare.npz")


def test_npz_with_pickled_objects_is_not_unpickled(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, kind="asyncopt.trace/1", read_version=np.array([_Bomb()], dtype=object))
    with pytest.raises(InputError, match="without pickled objects"):
        load(path)
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(InputError, match="without pickled objects"):
        load(path)


class _Bomb:
    def __reduce__(self):
        return (_explode, ())


def _explode():
    raise AssertionError("a file was unpickled")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"read_version": [0]}, "expected .*num_workers"),
        ({"num_workers": 1.5}, "num_workers is array"),
        ({"read_version": [0, 5]}, "read_version of update 1 is 5, expected 0 to 1"),
        ({"time": [2.0, 1.0]}, "time runs backwards at update 1"),
        ({"surprise": [1]}, "'surprise'"),
    ],
)
def test_npz_with_bad_fields(fields, message, tmp_path):
    path = tmp_path / "trace.npz"
    good = {"read_version": [0, 1], "read_end": [0, 1], "worker": [0, 0], "sample": [0, 1], "num_workers": 1}
    kept = fields if fields == {"read_version": [0]} else good | fields
    np.savez(path, kind="asyncopt.trace/1", **kept)
    with pytest.raises(InputError, match=message) as raised:
        load(path)
    assert str(path) in str(raised.value)


def test_column_is_for_csv(tmp_path):
    uniform(5, 2).save(tmp_path / "trace.npz")
    with pytest.raises(InputError, match="column='a' is for CSV"):
        load(tmp_path / "trace.npz", column="a")


def test_saving_under_another_suffix(tmp_path):
    with pytest.raises(InputError, match="expected a file name that ends in"):
        uniform(5, 2).save(tmp_path / "trace.csv")
