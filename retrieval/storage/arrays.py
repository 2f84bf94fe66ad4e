"""Arrays in files: named ones in one file, mapped ones, and many as one hash."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from index.arrays import load_array
from retrieval.errors import RunError
from retrieval.storage.damage import readable
from retrieval.storage.files import new_file


def save_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str] | None = None
) -> None:
    """Write arrays, and texts beside them, as safetensors that others may read too."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(whole, path, metadata=None if texts is None else dict(texts))
    path.chmod(0o644)  # safetensors lets only the owner read


def replace_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array in place of a file that other versions may share."""
    with new_file(path) as partial, partial.open("wb") as file:
        np.save(file, array)


def without_rows(path: Path, rows: int | slice) -> None:
    """Write an array anew without some rows; other versions may share its file."""
    replace_array(path, np.delete(load_array(path), rows, axis=0))


def append_rows(path: Path, rows: NDArray[Any]) -> None:
    """Write an array anew with more rows at its end; other versions may share its file."""
    replace_array(path, np.concatenate([load_array(path), rows]))


def mapped_array(path: Path) -> NDArray[Any]:
    """Return an array mapped from a file; as a plain one, it is twice as fast to index.

    Raises:
        RunError: The file holds no array.
    """
    with readable(path):
        return load_array(path, mapped=True)


def mapped_vectors(
    path: Path, shape: tuple[int, ...], what: str, *, finite: bool = True
) -> NDArray[np.float32]:
    """Return vectors mapped from a file.

    Args:
        path: The file.
        shape: Shape that the vectors must have.
        what: Words for them.
        finite: Whether to look through all of them for numbers that are not finite.

    Raises:
        RunError: The file holds no array, one of another shape or type, or numbers that are not
            finite.
    """
    with readable(path):
        vectors: NDArray[np.float32] = load_array(path, mapped=True)
        check_vectors(vectors, shape, what, finite=finite)
    return vectors


def check_vectors(
    vectors: NDArray[Any], shape: tuple[int, ...], what: str, *, finite: bool = True
) -> None:
    """Raise a `RunError` if vectors, named by `what`, have another shape or are not finite."""
    sound = vectors.dtype == np.float32 and vectors.shape == shape
    if not sound or (finite and not np.isfinite(vectors).all()):
        raise RunError(f"the {what} are not of it, or not finite")


def fingerprint(facts: object, arrays: Iterable[NDArray[Any]]) -> str:
    """Return a hash of what `facts` show as, and of the bytes of arrays, in their order."""
    whole = hashlib.sha256(repr(facts).encode())
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()
