"""Which rows the lists of an ivf or ivfpq hold."""

from functools import cached_property
from weakref import WeakKeyDictionary

import faiss
import numpy as np
from numpy.typing import NDArray

from index.rows import ChosenRows
from index.vectors import Vectors

# The list of a row that no list holds.
NO_LIST = -1

# Power of the share of allowed rows by which fewer of them are visited than of all.
VISITED = 0.2


class InvertedLists:
    """The lists of a FAISS index, which does not change.

    What is worked out when it is first needed comes out the same in every thread.

    Args:
        index: FAISS index with lists.
    """

    def __init__(self, index: faiss.IndexIVF) -> None:
        self._index = index
        self._count = int(index.nlist)
        self._allowed_sizes: WeakKeyDictionary[ChosenRows, NDArray[np.int64]] = WeakKeyDictionary()

    def __len__(self) -> int:
        """Return the number of lists."""
        return self._count

    def are_whole(self) -> bool:
        """Return whether each row is in one list, and each list has a centre."""
        index = self._index
        sizes = [index.invlists.list_size(number) for number in range(index.nlist)]
        centres = index.quantizer
        if not index.is_trained or sum(sizes) != index.ntotal or centres.ntotal != index.nlist:
            return False
        try:
            return centres.d == index.d and bool((self._list_of_row != NO_LIST).all())
        except IndexError:
            return False

    def to_visit(self, asked: Vectors, nprobe: int, allowed: ChosenRows) -> int:
        """Return the number of lists to visit so that enough of the allowed rows are visited.

        That is a part of as many as `nprobe` lists hold if all rows were allowed: the best of fewer
        rows lie further from each other. Allowed rows may lie anywhere but near a query.

        Args:
            asked: Query vectors as the index is asked for them, `(Q, W)`.
            nprobe: Number of lists to visit if all rows were allowed.
            allowed: Rows that alone may be candidates.
        """
        if (sizes := self._allowed_sizes.get(allowed)) is None:
            sizes = self._sizes_of(self._list_of_row[allowed.rows])
            self._allowed_sizes[allowed] = sizes
        nearest = np.argsort(-(asked @ self._centres.T), axis=1)  # (Q, lists)
        usual = self._sizes[nearest[:, :nprobe]].sum(axis=1)
        part = (len(allowed.rows) / len(allowed.mask)) ** VISITED
        short = np.cumsum(sizes[nearest], axis=1) < part * usual[:, None]
        return min(len(self), max(nprobe, 1 + int(short.sum(axis=1).max(initial=0))))

    @cached_property
    def _centres(self) -> Vectors:
        """The centres of the lists, `(lists, W)`."""
        centres: Vectors = self._index.quantizer.reconstruct_n(0, len(self))
        return centres

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        """The number of rows in each list."""
        return self._sizes_of(self._list_of_row)

    @cached_property
    def _list_of_row(self) -> NDArray[np.int64]:
        """The list of each row, `(R,)`; `NO_LIST` where it is in none."""
        lists = np.full(self._index.ntotal, NO_LIST)
        for number in range(len(self)):
            size = self._index.invlists.list_size(number)
            if size:
                rows = faiss.rev_swig_ptr(self._index.invlists.get_ids(number), size)
                lists[rows] = number
        return lists

    def _sizes_of(self, lists: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how often each list comes among the lists of some rows."""
        return np.bincount(lists, minlength=len(self))
