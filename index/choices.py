"""Indexes of chosen rows alone, for choices that are asked about again and again.

Among all rows, an approximate index visits most of its lists to meet enough that are allowed. Among
the chosen alone it visits as few as ever. The index is made by a thread after some queries, so that
none of them waits for it.
"""

import logging
from threading import Lock, Thread
from typing import TypeGuard
from weakref import WeakKeyDictionary

from index.backend import Backend
from index.faiss_backend import FaissBackend
from index.rescoring import LocalVectors
from index.rows import ChosenRows
from index.scanning import MOST_KEPT, is_copied

# Bytes of an index, at most.
INDEXED = 2**25

# Queries after which it is made.
SEVERAL = 10

_log = logging.getLogger(__name__)


class _OwnIndex:
    """The index of one choice, if there is one by now."""

    def __init__(self) -> None:
        self.backend: FaissBackend | None = None
        self._queries = 0
        self._making = Lock()

    def ask(self, whole: FaissBackend, local: LocalVectors, chosen: ChosenRows, more: int) -> None:
        """Count queries, and have the index made when there were several."""
        before, self._queries = self._queries, self._queries + more
        if before < SEVERAL <= self._queries:
            Thread(target=self.make, args=(whole, local, chosen), name="indexing a choice").start()

    def make(self, whole: FaissBackend, local: LocalVectors, chosen: ChosenRows) -> None:
        """Make the index, unless it is there."""
        with self._making:
            if self.backend is None:
                try:
                    self.backend = whole.of_few(local.vectors[chosen.rows])
                except MemoryError:
                    _log.warning("no memory for an index of %d vectors", len(chosen.rows))


_indexes: WeakKeyDictionary[ChosenRows, _OwnIndex] = WeakKeyDictionary()


def own_index(
    whole: Backend, local: LocalVectors, chosen: ChosenRows, queries: int
) -> FaissBackend | None:
    """Return what finds places among chosen rows; None where there is nothing, or not yet.

    Args:
        whole: What finds rows among all.
        local: Vectors of all rows.
        chosen: Rows that are asked about.
        queries: Number of queries that ask.
    """
    if not _is_indexed(whole, chosen):
        return None
    own = _indexes.setdefault(chosen, _OwnIndex())
    if own.backend is None:
        own.ask(whole, local, chosen, queries)
    return own.backend


def make_own_index(whole: Backend, local: LocalVectors, chosen: ChosenRows) -> None:
    """Make now what `own_index` would return later, unless the choice is small enough to copy."""
    if _is_indexed(whole, chosen) and not is_copied(local, chosen):
        _indexes.setdefault(chosen, _OwnIndex()).make(whole, local, chosen)


def _is_indexed(whole: Backend, chosen: ChosenRows) -> TypeGuard[FaissBackend]:
    """Return whether chosen rows may have an index of their own."""
    return (
        isinstance(whole, FaissBackend)
        and whole.policy.keeps_choices
        and len(chosen.rows) <= MOST_KEPT * len(chosen.mask)
        and len(chosen.rows) * whole.bytes_of_a_row <= INDEXED
    )
