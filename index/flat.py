"""Exact search with FAISS."""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import ArrayLike

from index.exact import Row, best, inner_products, padded
from index.neighbours import Neighbours
from index.vectors import Ids, Vectors, checked_ids, checked_vectors

# Results fetched beyond what is asked, so that a second, deeper search is seldom needed.
SPARE = 8

# Queries searched together: enough to use matrix products, few enough to share one depth.
CHUNK = 256


class FlatIndex:
    """A FAISS inner-product index over all vectors, with ids."""

    def __init__(self, index: faiss.IndexIDMap2, flat: faiss.IndexFlatIP) -> None:
        self._index = index
        self.ids: Ids = faiss.vector_to_array(index.id_map)
        # A view of what FAISS holds, not a copy: (N, D).
        self.vectors: Vectors = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(
            flat.ntotal, flat.d
        )
        self._order = np.argsort(self.ids)
        self._longest = float(np.linalg.norm(self.vectors, axis=1).max(initial=0.0))

    @classmethod
    def build(cls, ids: ArrayLike, vectors: ArrayLike) -> "FlatIndex":
        """Index vectors `(N, D)` under distinct ids `(N,)`."""
        checked = checked_vectors(vectors)
        flat = faiss.IndexFlatIP(checked.shape[1])
        index = faiss.IndexIDMap2(flat)
        index.add_with_ids(checked, checked_ids(ids, len(checked)))
        return cls(index, flat)

    @classmethod
    def read(cls, path: Path) -> "FlatIndex":
        """Read what `write` wrote.

        Raises:
            ValueError: The file does not hold a flat inner-product index with ids.
        """
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path} cannot be read by FAISS") from error
        if isinstance(index, faiss.IndexIDMap2):
            flat = faiss.downcast_index(index.index)
            if isinstance(flat, faiss.IndexFlatIP):
                return cls(index, flat)
        raise ValueError(f"{path} is not a flat inner-product index with ids")

    def write(self, path: Path) -> None:
        """Write one file, readable by FAISS alone."""
        faiss.write_index(self._index, str(path))

    @property
    def dimension(self) -> int:
        """D."""
        return int(self._index.d)

    def __len__(self) -> int:
        """Return the number of vectors."""
        return int(self._index.ntotal)

    def vectors_of(self, ids: Ids) -> Vectors:
        """Read vectors back: `ids` of any shape S gives `(*S, D)`.

        Raises:
            KeyError: An id is not in the index.
        """
        positions = np.searchsorted(self.ids, ids, sorter=self._order)
        rows = self._order[np.minimum(positions, len(self) - 1)]
        if (self.ids[rows] != ids).any():
            raise KeyError(
                f"not in the index: {np.asarray(ids)[self.ids[rows] != ids][:5].tolist()}"
            )
        return self.vectors[rows]

    def search(
        self, queries: ArrayLike, k: int, excluded: Sequence[Ids] | None = None
    ) -> Neighbours:
        """Return min(k, what is left) results for each query.

        Excluded ids never cost a result: the search goes as much deeper as there are exclusions.

        Args:
            queries: `(Q, D)`.
            k: Results wanted for each query, at least 1.
            excluded: For each query, ids that must not be returned.
        """
        checked = checked_vectors(queries, self.dimension)
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        without = [np.empty(0, np.int64)] * len(checked) if excluded is None else list(excluded)
        depths = np.array([k + len(ids) + SPARE for ids in without], dtype=np.int64)
        rows: list[Row] = [(np.empty(0, np.int64), np.empty(0))] * len(checked)
        waiting = np.argsort(depths, kind="stable")
        while len(waiting):
            chunk, waiting = waiting[:CHUNK], waiting[CHUNK:]
            depth = min(int(depths[chunk].max()), len(self))
            rough, found = self._index.search(checked[chunk], depth)  # (C, depth) twice
            unsettled = []
            for row, worst, candidates in zip(chunk, rough[:, -1], found, strict=True):
                ids = candidates[~np.isin(candidates, without[row])]
                scores = inner_products(checked[row][None, :], self.vectors_of(ids))
                rows[row] = best(ids, scores, k)
                if depth < len(self) and not self._settled(checked[row], rows[row], k, worst):
                    unsettled.append(row)
            depths[unsettled] = 4 * depth
            waiting = np.concatenate([waiting, np.array(unsettled, dtype=np.int64)])
        return padded(rows, k)

    def _settled(self, query: Vectors, row: Row, k: int, worst: float) -> bool:
        """Whether nothing that FAISS left out, none better than `worst`, belongs to the best k.

        FAISS ranks by float32 sums: equal or nearly equal scores may be cut off in any order.
        """
        scores = row[1]
        rounding = self.dimension * np.finfo(np.float32).eps * np.linalg.norm(query) * self._longest
        return len(scores) == k and bool(scores[-1] > worst + rounding)
