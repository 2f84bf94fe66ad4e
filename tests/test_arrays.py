import os
import pickle
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.arrays import load_array

WHOLE = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6.0).reshape(3, 2)),
    np.zeros((0, 0), np.float32),
    np.zeros((0, 5), bool),
    np.array([True, False]),
    np.array(3),
    np.arange(3, dtype=">i4"),
    np.ones((2, 1, 2), np.float16),
    np.array([255], np.uint8),
    np.array(["tt0111161", "", "caf\xe9 \U0001f600"]),
    np.zeros((2, 0), "U5"),
]

MAPPED = pytest.mark.parametrize("mapped", [False, True])


def refused(path: Path, *, mapped: bool = False) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        load_array(path, mapped=mapped)
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < len(str(path)) + 200
    return said


@MAPPED
@pytest.mark.parametrize("array", WHOLE)
def test_arrays_come_back_as_they_were(
    array: np.ndarray[Any, Any], tmp_path: Path, *, mapped: bool
) -> None:
    np.save(tmp_path / "x.npy", array)
    back = load_array(tmp_path / "x.npy", mapped=mapped)
    assert type(back) is np.ndarray
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert back.flags.c_contiguous == array.flags.c_contiguous
    np.testing.assert_array_equal(back, array)


def test_a_mapped_array_is_not_loaded_and_not_written_to(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(1000))
    array = load_array(tmp_path / "x.npy", mapped=True)
    assert not array.flags.owndata
    assert not array.flags.writeable


def header(text: str, rest: bytes = bytes(24), version: int = 1) -> bytes:
    """Return a .npy file with any header."""
    wide = text.encode()
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + len(wide).to_bytes(2 if version == 1 else 4, "little")
        + wide
        + rest
    )


BAD = {
    "empty": b"",
    "magic alone": b"\x93NUMPY",
    "no header": b"\x93NUMPY\x01\x00",
    "another format": b"PK\x03\x04" + bytes(100),
    "a later version": header(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }\n", version=9
    ),
    "more than there is": header("{'descr': '<i8', 'fortran_order': False, 'shape': (10,), }\n"),
    "less than there is": header("{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }\n"),
    "far more": header(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000, 64), }\n"
    ),
    "more than can be counted": header(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (9999999999999999999, 99), }\n", b""
    ),
    "nothing of a large shape": header(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (0, 9999999999999999999), }\n", b""
    ),
    "sizes of thousands of digits": header(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }\n"
    ),
    "many dimensions": header(
        "{'descr': '<i8', 'fortran_order': False, 'shape': (" + "1, " * 70 + "3), }\n"
    ),
    "negative": header("{'descr': '<i8', 'fortran_order': False, 'shape': (-3,), }\n"),
    "a type there is not": header("{'descr': '<i3', 'fortran_order': False, 'shape': (8,), }\n"),
    "objects": header("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n"),
    "no letter": header("{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }\n", b"\xd9" * 8),
    "times": header("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (3,), }\n"),
    "complex": header("{'descr': '<c8', 'fortran_order': False, 'shape': (3,), }\n"),
    "fields": header("{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (3,), }\n"),
    "an expression": header("{'descr': '<i8', 'fortran_order': False, 'shape': (1+2,), }\n"),
    "a token": header("{'descr': '<i8', 'fortran_order': False, 'shape': (3\n"),
    "deep": header("(" * 9000 + "\n"),
    "no text": header("\n").replace(b"\n", b"\xff"),
    "old integers": header("{'descr': '<i8', 'fortran_order': False, 'shape': (3L,), }\n"),
    "truth of 7": header(
        "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }\n", b"\x00\x01\x07"
    ),
    "a pickle": pickle.dumps([1, 2, 3]),
}


@MAPPED
@pytest.mark.parametrize("name", BAD)
def test_what_is_no_array_of_numbers_is_refused_in_one_line(
    name: str, tmp_path: Path, *, mapped: bool
) -> None:
    (tmp_path / "x.npy").write_bytes(BAD[name])
    assert "is not a .npy file of numbers" in refused(tmp_path / "x.npy", mapped=mapped)


def test_objects_that_were_pickled_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}, []], object), allow_pickle=True)
    refused(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.zeros(3, [("a", "<i8"), ("b", "<f4")]))
    refused(tmp_path / "x.npy")


def test_what_is_no_plain_file_is_refused_without_waiting(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing.npy")
    assert "directory" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "plain file" in refused(tmp_path / "pipe")
    assert "plain file" in refused(Path("/dev/zero"))
    refused(tmp_path / ("x" * 300))


def test_nothing_is_allocated_for_what_is_only_claimed(tmp_path: Path) -> None:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 64), }\n"
    (tmp_path / "x.npy").write_bytes(header(text))
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(2**40)  # holds no more bytes than it says, none of them written
    assert "25600000000000 bytes should follow" in refused(tmp_path / "x.npy")


@MAPPED
def test_any_damage_gives_the_same_numbers_or_one_line(tmp_path: Path, *, mapped: bool) -> None:
    path, draw = tmp_path / "x.npy", random.Random(0)  # noqa: S311 (damage, not secrets)
    for array in WHOLE:
        np.save(path, array)
        whole = path.read_bytes()
        for _ in range(150):
            damaged = bytearray(whole)
            if draw.random() < 0.2:
                del damaged[draw.randrange(len(whole)) :]
            else:
                for _ in range(draw.choice([1, 1, 2, 20])):
                    damaged[draw.randrange(min(len(whole), 100))] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            try:
                back = load_array(path, mapped=mapped)
            except ValueError as error:
                assert "\n" not in str(error)  # noqa: PT017 (either is right)
            else:
                assert back.nbytes <= len(damaged)
