"""Arrays read from .npy files that may be damaged, or made to do harm."""

import math
import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Order = Literal["C", "F"]

# What a .npy file of numbers or texts begins with, as NumPy writes it. Nothing else is understood:
# NumPy's own reader evaluates the header and unpickles objects.
MAGIC = b"\x93NUMPY"
HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>[<>|](?:b1|[iu][1248]|f[248]|U\d{1,4}))', "
    rb"'fortran_order': (?P<by_column>False|True), "
    rb"'shape': \((?P<shape>(?:\d{1,19}(?:, \d{1,19})*,?)?)\), *\} *\n"
)

# More bytes than a header of numbers takes.
LONGEST_HEADER = 4096

# NumPy 1 makes no array of more.
MOST_DIMENSIONS = 32


def load_array(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """Read an array of numbers, truth values or texts, and nothing else, from a .npy file.

    Args:
        path: The file.
        mapped: Whether to map the file instead of loading it; the array cannot be written to.

    Raises:
        ValueError: The file is missing or cannot be read, or does not hold exactly one such array.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            return _read(file, mapped=mapped)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise ValueError(f"{path} holds more than there is memory for") from error
    except ValueError as error:
        raise ValueError(f"{path} is not a .npy file of numbers: {error}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe too, which nobody may ever write into."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(file: BufferedReader, *, mapped: bool) -> NDArray[Any]:
    facts = os.fstat(file.fileno())
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("it is no plain file")
    dtype, shape, order = _header(file)
    offset, count = file.tell(), math.prod(shape)
    claimed, held = count * dtype.itemsize, facts.st_size - offset
    if claimed != held:
        raise ValueError(f"{claimed} bytes should follow its header, {held} do")
    if mapped and count:
        # As a plain array, which is twice as fast to index.
        array = np.asarray(np.memmap(file, dtype, "r", offset, shape, order))
    else:
        array = np.fromfile(file, dtype, count).reshape(shape, order=order)
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise ValueError("its truth values are neither 0 nor 1")
    if dtype.kind == "U" and not _are_letters(array.view(f"{dtype.byteorder}u4")):
        raise ValueError("its texts are of what is no letter")
    return array


def _are_letters(codes: NDArray[np.uint32]) -> bool:
    """Return whether codes, of any shape, are all of letters: Unicode without surrogates."""
    surrogates = (codes >= 0xD800) & (codes < 0xE000)
    return codes.max(initial=0) < 0x110000 and not surrogates.any()


def _header(file: BufferedReader) -> tuple[np.dtype[Any], tuple[int, ...], Order]:
    """Read what an array is: its type, its shape and its order; the file is left where it begins.

    Raises:
        ValueError: The file begins otherwise.
    """
    start = file.read(len(MAGIC) + 2)
    versions = {MAGIC + b"\x01\x00": 2, MAGIC + b"\x02\x00": 4}  # bytes of the header's length
    if start not in versions:
        raise ValueError("it does not begin as one")
    length = int.from_bytes(file.read(versions[start]), "little")
    found = HEADER.fullmatch(file.read(min(length, LONGEST_HEADER)))
    if found is None or length > LONGEST_HEADER:
        raise ValueError("its header is damaged or describes something else")
    shape = tuple(int(size) for size in re.findall(rb"\d+", found["shape"]))
    dtype = np.dtype(found["dtype"].decode())
    # NumPy counts the bytes of an empty array as if its other dimensions mattered.
    if len(shape) > MOST_DIMENSIONS or math.prod(filter(None, shape)) * dtype.itemsize >= 2**63:
        raise ValueError("its header claims an impossible shape")
    return dtype, shape, "F" if found["by_column"] == b"True" else "C"
