"""User towers at query time, run by ONNX Runtime; torch is not needed."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import RunError

# What a user tower is given: arrays by their names, one row a question.
Columns = Mapping[str, NDArray[Any]]


class OnnxTower:
    """A user tower loaded from an ONNX file.

    Args:
        path: File of the tower.
        columns: Names of the columns that it may ask for.

    Raises:
        RunError: The file cannot be read, or is another tower.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        runtime = onnx_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # several questions are asked at once instead
        options.inter_op_num_threads = 1
        # Its own arena doubles when it grows, and keeps what one long history needed for good.
        options.enable_cpu_mem_arena = False
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class of its own for each cause
            raise RunError(f"{path} cannot be read by ONNX Runtime: {error}") from error
        self._shapes = {each.name: each.shape for each in self._session.get_inputs()}
        self._names = list(self._shapes)
        if not {*self._names} <= {*columns}:
            raise RunError(f"{path} is no user tower: it asks for {', '.join(self._names)}"[:200])

    def width(self, name: str) -> int:
        """Return the components of the vectors of a column; 0 where it is not asked for."""
        *_, width = self._shapes.get(name) or [0]
        return width if isinstance(width, int) else 0

    def run(self, columns: Columns) -> list[NDArray[np.float32]]:
        """Return what the file computes from columns, in one go."""
        made: list[NDArray[np.float32]] = self._session.run(
            None, {name: columns[name] for name in self._names}
        )
        return made

    def run_in_chunks(
        self, columns: Callable[[slice], Columns], rows: int, size: int
    ) -> list[NDArray[np.float32]]:
        """Return what the file computes from so many rows, in chunks of a size.

        Args:
            columns: Gives the columns of some of the rows.
            rows: Number of all rows.
            size: Number of rows in a chunk.
        """
        if rows <= size:
            return self.run(columns(slice(rows)))
        starts = range(0, rows, size)
        parts = [self.run(columns(slice(start, start + size))) for start in starts]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


@cache
def onnx_runtime() -> ModuleType:
    """Return ONNX Runtime, imported so that it keeps and sends no telemetry.

    Otherwise the import writes an id of the device and a database of events into the home folder. A
    process that has imported it before has chosen for itself.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return import_module("onnxruntime")
