"""How vectors and queries are changed for FAISS, so that inner products order them as before.

Lists of vectors that point the same way hold few of those with the largest inner products where
norms differ. So an ivf and an ivfpq hold vectors that one more component brings to the same norm;
it is 0 in queries. An hnsw finds more without it: its paths to the best lead over vectors of large
norm. Where queries emphasise some directions, nearness should emphasise them too: vectors are
multiplied by a matrix, queries by its inverse. The codes of an ivfpq are of two components each; it
holds vectors rotated so that these codes lose least.

Source: Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation
for inner-product spaces", RecSys 2014; Morozov and Babenko, "Non-metric similarity graphs for
maximum inner product search", NeurIPS 2018; Ge et al., "Optimized product quantization", PAMI 2014.
"""

from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
from numpy.typing import NDArray

from index.kinds import CODE_BITS, CODED, Kind
from index.vectors import LARGEST, Vectors, squared_norms

Matrix = NDArray[np.float32]

# Vectors that the rotation of an ivfpq is learned from, passes over them, and how many it takes.
ROTATED, ROTATIONS = 40_000, 15
FEWEST_ROTATED = 1000

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
        matrix: What vectors are multiplied by, and queries by its inverse, `(D, D)`.
        coded: Components that one code of an ivfpq stands for.
    """

    kind: Kind
    matrix: Matrix
    coded: int = CODED

    @classmethod
    def fitted(cls, kind: Kind, vectors: Vectors, emphasis: Matrix | None) -> "Transform":
        """Return the transform of an index that is to hold vectors.

        Args:
            kind: Kind of index.
            vectors: Vectors of the index, `(R, D)`.
            emphasis: Emphasis of the queries, `(D, D)`; None is the same for all directions.
        """
        matrix = np.eye(vectors.shape[1], dtype=np.float32) if emphasis is None else emphasis
        if kind is Kind.IVFPQ:
            sample = vectors[:: -(-len(vectors) // ROTATED) or 1]
            matrix = matrix @ _rotation(sample @ matrix)
        if _has_equal_norms(kind):  # so the largest is 1
            largest = np.sqrt(squared_norms(vectors @ matrix).max(initial=0.0))
            matrix = matrix / np.float32(max(largest, SMALLEST_NORM))
        return cls(kind, matrix)

    @property
    def dimension(self) -> int:
        """D."""
        return len(self.matrix)

    @property
    def width(self) -> int:
        """The number of components that the index holds, W: D and some more."""
        return self.dimension + self._added

    def of_vectors(self, vectors: Vectors) -> Vectors:
        """Return what the index holds, `(A, W)`, of vectors `(A, D)`."""
        if self.kind is Kind.EXACT:
            return vectors
        held = _widened(vectors @ self.matrix, self._added)
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
        return queries @ self._of_queries

    @cached_property
    def _of_queries(self) -> Matrix:
        """What queries are multiplied by, `(D, W)`: the transposed inverse, and 0 for the rest."""
        inverse = np.linalg.inv(self.matrix.astype(np.float64)).T.astype(np.float32)
        return _widened(inverse, self._added)

    @property
    def _added(self) -> int:
        """The number of components added, to make norms equal or codes full."""
        match self.kind:
            case Kind.IVF:
                return 1 + -(self.dimension + 1) % LANES
            case Kind.IVFPQ:  # the norm shares its code with none: queries do not ask for it
                return self.coded + -self.dimension % self.coded
            case Kind.SQ8:
                return -self.dimension % LANES
            case Kind.EXACT | Kind.HNSW:
                return 0


def _has_equal_norms(kind: Kind) -> bool:
    """Return whether an index holds vectors that are brought to the same norm."""
    return kind in {Kind.IVF, Kind.IVFPQ}


def _rotation(vectors: Vectors) -> Matrix:
    """Return the rotation, `(D, D)`, after which codes of `CODED` components lose least."""
    dimension = vectors.shape[1]
    even = dimension - dimension % CODED  # a component that is left over has a code of its own
    sample = np.ascontiguousarray(vectors[:, :even])
    rotation = np.eye(dimension, dtype=np.float32)
    if len(sample) < max(FEWEST_ROTATED, 2 * even) or not even:  # FAISS needs some of each
        return rotation
    learned = faiss.OPQMatrix(even, even // CODED)
    learned.niter = ROTATIONS
    codes = faiss.ProductQuantizer(even, even // CODED, CODE_BITS)
    learned.pq = codes
    learned.train(sample)
    rotation[:even, :even] = faiss.vector_to_array(learned.A).reshape(even, even).T
    return rotation


def _widened(vectors: Vectors, added: int) -> Vectors:
    """Return vectors `(R, D)` with some components added, which are 0: `np.pad` takes longer."""
    if not added:
        return vectors
    wide = np.zeros((len(vectors), vectors.shape[1] + added), np.float32)
    wide[:, : vectors.shape[1]] = vectors
    return wide
