"""How vectors and queries are changed for FAISS, so that inner products order them as before.

Lists of vectors that point the same way hold few of those with the largest inner products where
norms differ. So an ivf and an ivfpq hold vectors that one more component brings to the same norm;
it is 0 in queries. An hnsw finds more without it: its paths to the best lead over vectors of large
norm. Where queries emphasise some components, nearness should emphasise them too: components of
vectors are multiplied by a scale, those of queries are divided by it.

Source: Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation
for inner-product spaces", RecSys 2014; Morozov and Babenko, "Non-metric similarity graphs for
maximum inner product search", NeurIPS 2018.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.kinds import Kind
from index.vectors import LARGEST, Vectors, squared_norms

Scale = NDArray[np.float32]

# Components of a code that are decoded together; where some are left over, all are slow.
LANES = 16

# Vectors of smaller norms are held as if this were the largest norm: times its inverse, any vector
# that is added later is finite.
SMALLEST_NORM = 1 / LARGEST

# The largest number of half precision, in which an ivf holds components: to read its lists from
# memory is what takes its time. Half precision tells numbers apart that differ by a thousandth; so
# where one component is much larger than the others in all vectors, an ivf misses a few results.
LARGEST_HALF = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Transform:
    """What an index of a kind holds of vectors, and is asked for queries.

    Args:
        kind: Kind of index.
        scale: Factors of the components of vectors, and divisors of those of queries, `(D,)`.
    """

    kind: Kind
    scale: Scale

    @classmethod
    def fitted(cls, kind: Kind, vectors: Vectors, scale: Scale | None) -> "Transform":
        """Return the transform of an index that is to hold vectors.

        Args:
            kind: Kind of index.
            vectors: Vectors of the index, `(R, D)`.
            scale: Emphasis of the queries, `(D,)`; None is the same for all components.
        """
        scale = np.ones(vectors.shape[1], np.float32) if scale is None else scale
        if _has_equal_norms(kind):  # so the largest is 1
            largest = np.sqrt(squared_norms(vectors * scale).max(initial=0.0))
            scale = scale / np.float32(max(largest, SMALLEST_NORM))
        return cls(kind, scale)

    @property
    def dimension(self) -> int:
        """D."""
        return len(self.scale)

    @property
    def width(self) -> int:
        """The number of components that the index holds, W: D and some more."""
        return self.dimension + self._added

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Return what the index holds, `(A, W)`, of vectors `(A, D)`."""
        if self.kind is Kind.EXACT:
            return vectors
        held = _widened(vectors * self.scale, self._added)
        if _has_equal_norms(self.kind):
            held[:, -1] = np.sqrt(np.maximum(1.0 - squared_norms(held), 0.0))
        if self.kind is Kind.IVF:  # a vector that is added may be longer than all that were there
            largest = np.maximum(held.max(axis=1), -held.min(axis=1))  # without a copy of all
            held /= np.maximum(largest / LARGEST_HALF, 1.0)[:, None]
        return held

    def of_queries(self, queries: Vectors) -> Vectors:
        """Return what the index is asked, `(Q, W)`, for queries `(Q, D)`."""
        if self.kind is Kind.EXACT:
            return queries
        return _widened(queries / self.scale, self._added)

    @property
    def _added(self) -> int:
        """The number of components added, to make norms equal or codes full."""
        match self.kind:
            case Kind.IVF:
                return 1 + -(self.dimension + 1) % LANES
            case Kind.IVFPQ:
                return 1
            case Kind.SQ8:
                return -self.dimension % LANES
            case Kind.EXACT | Kind.HNSW:
                return 0


def _has_equal_norms(kind: Kind) -> bool:
    """Return whether an index holds vectors that are brought to the same norm."""
    return kind in {Kind.IVF, Kind.IVFPQ}


def _widened(vectors: Vectors, added: int) -> Vectors:
    """Return vectors `(R, D)` with some components added, which are 0: `np.pad` takes longer."""
    if not added:
        return vectors
    wide = np.zeros((len(vectors), vectors.shape[1] + added), np.float32)
    wide[:, : vectors.shape[1]] = vectors
    return wide
