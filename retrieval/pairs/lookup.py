"""Embedding tables: what a user tower looks up before its layers compute, mapped from files.

The ONNX file of a tower holds the layers alone, so it stays small whatever the number of users and
movies, and a row of a table is added or removed without rewriting it. All processes share one copy
in memory.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.storage.arrays import mapped_vectors

Vectors = NDArray[np.float32]


class EmbeddingTable(NamedTuple):
    """One vector for each of R numbers, and for A more after them."""

    stored: Vectors  # (R, W)
    further: Vectors  # (A, W)

    def rows(self, numbers: NDArray[np.int64]) -> Vectors:
        """Return the vectors of numbers of any shape, `(..., W)`."""
        if not len(self.further):
            return self.stored[numbers]
        later = numbers - len(self.stored)
        found = self.stored[np.where(later < 0, numbers, 0)]
        found[later >= 0] = self.further[later[later >= 0]]
        return found

    def with_rows(self, vectors: Vectors) -> "EmbeddingTable":
        """Return the table with more vectors `(A, W)` at its end."""
        return self._replace(further=np.concatenate([self.further, vectors]))


def table_of(vectors: Vectors) -> EmbeddingTable:
    """Return a table of vectors `(R, W)`."""
    return EmbeddingTable(vectors, vectors[:0])


def mapped_table(path: Path, rows: int, width: int) -> EmbeddingTable:
    """Return a table mapped from a file; its numbers are not looked through.

    Raises:
        RunError: The file holds no array, or one of another shape or type.
    """
    return table_of(mapped_vectors(path, (rows, width), "rows of a table", finite=False))
