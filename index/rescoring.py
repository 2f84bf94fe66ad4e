"""Exact scores of candidates, from the vectors that an index holds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.exact import inner_products
from index.neighbours import NO_ID, Neighbours
from index.rows import NO_ROW, Rows
from index.vectors import Ids, Vectors, squared_norms

# Of so few vectors, all scores at once and a partition take less time than FAISS, which keeps the
# best as it goes, unless a filter leaves only a small share of them.
FEW = 20_000

# Candidates scored exactly together: bounds the memory for them in double precision.
SCORED = 16_384

# The relative error of a sum in float32, for each of its terms.
ROUNDING = float(np.finfo(np.float32).eps)

# The error of a product that is too small for float32.
TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class LocalVectors:
    """The vectors of an index in memory or mapped from a file, from which exact scores are made.

    Args:
        rows: Ids of the R rows.
        vectors: Vectors of the rows, `(R, D)`, the removed ones too.
        largest_norm: Largest norm of the vectors.
    """

    rows: Rows
    vectors: Vectors
    largest_norm: float

    @classmethod
    def of(cls, ids: Ids, vectors: Vectors) -> "LocalVectors":
        """Return vectors under ids.

        Args:
            ids: Ids of the rows, `(R,)`; `NO_ID` where the vector was removed.
            vectors: Vectors of the rows, `(R, D)`; they are kept and may not be written to any
                more.
        """
        # A file may be mapped at any address, and sums over odd ones take ten times as long.
        held = vectors if len(vectors) > FEW else np.require(vectors, requirements="A")
        return cls(Rows(ids), held, float(np.sqrt(squared_norms(held).max(initial=0.0))))

    def __len__(self) -> int:
        """Return R."""
        return len(self.rows)

    def rescore(
        self,
        found: Neighbours,
        which: NDArray[np.int64] | slice,
        rows: NDArray[np.int64],
        queries: Vectors,
    ) -> None:
        """Put the best of some candidates, by their exact scores, where results belong.

        Args:
            found: Results of all queries.
            which: C queries of them that the candidates are for.
            rows: Rows of the candidates, `(C, L)`; `NO_ROW` where there are no more.
            queries: Query vectors, `(C, D)`.
        """
        there = rows != NO_ROW
        scores = np.empty(rows.shape)
        step = max(1, SCORED // max(1, rows.shape[1]))
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            scores[part] = inner_products(queries[part, None], self.vectors[rows[part]])
        scores[~there] = -np.inf
        ids = np.where(there, self.rows.all_ids[rows], NO_ID)
        order = np.lexsort((ids, -scores))[:, : found.ids.shape[1]]
        each = np.arange(len(rows))[:, None]  # `np.take_along_axis` takes five times as long
        found.ids[which, : order.shape[1]] = ids[each, order]
        found.scores[which, : order.shape[1]] = scores[each, order]

    def surely_above(
        self, exact: NDArray[np.float64], rounded: NDArray[np.float32], queries: Vectors
    ) -> NDArray[np.bool_]:
        """Return whether exact scores are above rounded ones, `(C,)`, however far these err.

        Args:
            exact: Scores in double precision, `(C,)`.
            rounded: Scores summed in single precision, `(C,)`.
            queries: Query vectors of both, `(C, D)`.
        """
        norms = np.sqrt(squared_norms(queries)) * self.largest_norm
        error = queries.shape[1] * (ROUNDING * norms + TINY)
        return np.asarray(exact > rounded + error)
