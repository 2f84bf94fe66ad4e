"""Named arrays in one file."""

from collections.abc import Mapping
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
