"""Arrays on disk: what is damaged is refused with one line, and takes no memory that the file does not have."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from asyncopt import InputError
from asyncopt.files import npz

FIELDS = {"a": np.arange(5), "b": np.array([[1.5, np.nan]]), "c": np.zeros((0, 3)), "d": np.array(3, np.uint8)}


def same(found):
    return found.keys() == FIELDS.keys() and all(
        found[name].dtype == value.dtype and np.array_equal(found[name], value, equal_nan=value.dtype.kind == "f")
        for name, value in FIELDS.items()
    )


@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_written_is_read(compressed, tmp_path):
    fields = FIELDS | {"by columns": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    npz.write(tmp_path / "x.npz", "kind", fields, compressed=compressed)
    found = npz.read(tmp_path / "x.npz", "kind")
    by_columns = found.pop("by columns")
    np.testing.assert_array_equal(by_columns, fields["by columns"])
    assert by_columns.flags.f_contiguous
    assert same(found)
    assert all(value.flags.writeable for value in found.values())


@pytest.mark.parametrize("compressed", [True, False])
def test_every_byte_changed_and_every_cut(compressed, tmp_path):
    path = tmp_path / "x.npz"
    npz.write(path, "kind", FIELDS, compressed=compressed)
    whole = path.read_bytes()
    flipped = [whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :] for at in range(len(whole))]
    refused = 0
    for damaged in flipped + [whole[:length] for length in range(len(whole))]:
        path.write_bytes(damaged)
        try:
            assert same(npz.read(path, "kind"))  # a date in the zip file, say
        except InputError as error:
            refused += 1
            said = str(error)
        else:
            continue
        assert said.startswith(str(path))
        assert "\n" not in said
        assert len(said) < 1100
    assert refused > 1.6 * len(whole)


def written(path, header, content=b""):
    """Writes a field whose header promises something else than the content is."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("kind.npy", file.getvalue() + content)


@pytest.mark.parametrize("shape", [(10**12,), (2**31, 2**31), (10**6,)])
@pytest.mark.parametrize("descr", ["<f8", "|V0", "<U0"])
def test_a_header_that_promises_much_takes_no_memory(shape, descr, tmp_path):
    written(tmp_path / "x.npz", {"descr": descr, "fortran_order": False, "shape": shape}, b"12345678")
    tracemalloc.start()
    with pytest.raises(InputError, match=r"x\.npz: not a readable \.npz"):
        npz.read_any(tmp_path / "x.npz")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1e6


def test_objects_are_not_unpickled(tmp_path):
    written(tmp_path / "x.npz", {"descr": "|O", "fortran_order": False, "shape": (1,)}, b"cos\nsystem\n.")
    with pytest.raises(InputError, match="pickled objects"):
        npz.read_any(tmp_path / "x.npz")
