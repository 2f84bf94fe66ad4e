"""User towers at query time, run by ONNX Runtime; torch is not needed."""

import os
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import RunError
from retrieval.pairs.neural.inputs import UserInputs
from retrieval.pairs.sequence.tokens import Tokens

# Users encoded together, at histories of usual length: enough to spread what each call costs, few
# enough to stay in the cache.
CHUNK = 1024
TOKENS_CHUNK = 8


class UserVectors(NamedTuple):
    """B encoded users: the rating of a movie is the offset plus the dot product of the vectors."""

    vectors: NDArray[np.float32]  # (B, D)
    offsets: NDArray[np.float32]  # (B,)


class QueryTower:
    """A user tower loaded from an ONNX file.

    Raises:
        RunError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        runtime = onnx_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # several questions are asked at once instead
        options.inter_op_num_threads = 1
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class of its own for each cause
            raise RunError(f"{path} cannot be read by ONNX Runtime: {error}") from error
        self._names = [argument.name for argument in self._session.get_inputs()]
        if not {*self._names} <= {*UserInputs._fields, *Tokens._fields}:
            raise RunError(f"{path} is no user tower: it asks for {', '.join(self._names)}"[:200])

    def encode(self, inputs: UserInputs) -> UserVectors:
        """Return the vectors of B users."""
        starts = range(0, max(1, len(inputs.users)), CHUNK)
        parts = [self.run(inputs.part(slice(start, start + CHUNK))) for start in starts]
        vectors, offsets = (np.concatenate(column) for column in zip(*parts, strict=True))
        return UserVectors(vectors, offsets)

    def encode_tokens(self, inputs: Tokens) -> NDArray[np.float32]:
        """Return the vectors `(B, D)` of B users."""
        starts = range(0, max(1, len(inputs.last)), TOKENS_CHUNK)
        parts = [self.run(inputs.part(slice(start, start + TOKENS_CHUNK))) for start in starts]
        return np.concatenate([vectors for (vectors,) in parts])

    def run(self, inputs: UserInputs | Tokens) -> list[NDArray[np.float32]]:
        """Return what the file computes from columns, in one go."""
        columns = inputs._asdict()
        made: list[NDArray[np.float32]] = self._session.run(
            None, {name: columns[name] for name in self._names}
        )
        return made


@cache
def onnx_runtime() -> ModuleType:
    """Return ONNX Runtime, imported so that it keeps and sends no telemetry.

    Otherwise the import writes an id of the device and a database of events into the home folder. A
    process that has imported it before has chosen for itself.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module("onnxruntime")
