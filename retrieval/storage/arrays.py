"""Named arrays: in one file, and as one hash."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file


def save_arrays(
    path: Path, arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str] | None = None
) -> None:
    """Write arrays, and texts beside them, as safetensors that others may read too."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(whole, path, metadata=None if texts is None else dict(texts))
    path.chmod(0o644)  # safetensors lets only the owner read


def fingerprint(facts: object, arrays: Iterable[NDArray[Any]]) -> str:
    """Return a hash of what `facts` show as, and of the bytes of arrays, in their order."""
    whole = hashlib.sha256(repr(facts).encode())
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()
