"""The index: vectors under ids, which many threads may search while others put and remove."""

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import ArrayLike

from index.candidates import Candidates, best_scale
from index.kinds import Effort, Kind
from index.neighbours import NO_ID, Neighbours
from index.rows import Rows, Selection
from index.snapshot import Snapshot
from index.vectors import Ids, Vectors, checked_ids, checked_vectors

__all__ = ["Index", "Selection"]


class Index:
    """An inner-product index over vectors with ids.

    Whatever its kind, scores are exact and a search returns as many results as are left: an
    approximate kind may miss a better one, no more.

    Threads need no lock. Each call answers from one snapshot, that before or that after what
    another thread puts or removes; who needs several answers from the same one asks `snapshot` for
    them. Writers wait for each other, nobody waits for them. What is put costs a copy of the whole
    index, in time and, until the last search of the old one has ended, in memory: put many at once.

    Removed vectors stay in an approximate index as rows that are never found, until it is built
    anew; in an exact one nothing of them is left.

    Args:
        snapshot: What it begins with.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._writing = Lock()

    @classmethod
    def build(
        cls,
        ids: ArrayLike,
        vectors: ArrayLike,
        kind: Kind = Kind.EXACT,
        effort: Effort | None = None,
        queries: Vectors | None = None,
    ) -> "Index":
        """Index vectors.

        Args:
            ids: `(N,)` distinct ones.
            vectors: `(N, D)`. An approximate kind keeps them where they are float32 already: they
                may not be written to any more.
            kind: How candidates are found.
            effort: How hard to look.
            queries: `(Q, D)` a few of those that will be asked; an approximate kind finds more if
                it knows them.

        Raises:
            ValueError: Ids or vectors are none, or do not belong together.
        """
        checked = checked_vectors(vectors)
        named = checked_ids(ids, len(checked)).copy()
        asked = None if queries is None else checked_vectors(queries, checked.shape[1])
        scale = None if asked is None else best_scale(kind, checked, asked)
        candidates = Candidates.build(kind, checked, scale)
        held = candidates.vectors() if kind is Kind.EXACT else checked
        return cls(Snapshot.of(named, held, candidates, effort or Effort()))

    def with_effort(self, effort: Effort) -> "Index":
        """Return an index of the same vectors that looks as hard as that; they share memory."""
        return Index(replace(self._snapshot, effort=effort))

    @property
    def snapshot(self) -> Snapshot:
        """The index as it is, and stays for who holds this."""
        return self._snapshot

    @property
    def kind(self) -> Kind:
        """How candidates are found."""
        return self._snapshot.kind

    @property
    def dimension(self) -> int:
        """D."""
        return self._snapshot.dimension

    @property
    def effort(self) -> Effort:
        """How hard it looks."""
        return self._snapshot.effort

    @property
    def candidates(self) -> Candidates:
        """What finds candidates."""
        return self._snapshot.candidates

    @property
    def ids(self) -> Ids:
        """The ids of the N vectors, `(N,)`, in the order of their rows."""
        return self._snapshot.ids

    @property
    def vectors(self) -> Vectors:
        """The N vectors, `(N, D)`, in the order of `ids`; copied once where some were removed."""
        return self._snapshot.vectors

    def __len__(self) -> int:
        """Return N."""
        return len(self._snapshot)

    def vectors_of(self, ids: ArrayLike) -> Vectors:
        """Read vectors back, as `Snapshot.vectors_of` does."""
        return self._snapshot.vectors_of(ids)

    def select(self, ids: ArrayLike) -> Selection:
        """Return what restricts searches to some ids, as `Snapshot.select` does."""
        return self._snapshot.select(ids)

    def search(
        self,
        queries: ArrayLike,
        k: int,
        excluded: Sequence[Ids] | None = None,
        allowed: Selection | None = None,
    ) -> Neighbours:
        """Return min(k, what is left) results for each query, as `Snapshot.search` does."""
        return self._snapshot.search(queries, k, excluded, allowed)

    def put(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors `(A, D)` under ids `(A,)`; those that are there are replaced.

        Raises:
            ValueError: Ids or vectors are none, or do not belong together, or the index is
                approximate and mapped from a file.
        """
        more = checked_vectors(vectors, self.dimension)
        named = checked_ids(ids, len(more))
        with self._writing:
            now = self._snapshot
            kept = np.where(np.isin(now.rows.all_ids, named), NO_ID, now.rows.all_ids)
            all_ids, held = np.concatenate([kept, named]), np.concatenate([now.all_vectors, more])
            if now.kind is Kind.EXACT:
                self._snapshot = _exact(all_ids, held, now.effort)
            elif not len(now.candidates):  # which have learned nothing from no vectors
                self._snapshot = Snapshot.of(
                    all_ids, held, Candidates.build(now.kind, held), now.effort
                )
            else:
                candidates = now.candidates.with_more(more)
                self._snapshot = Snapshot.of(all_ids, held, candidates, now.effort)

    def remove(self, ids: ArrayLike) -> None:
        """Take vectors out.

        Raises:
            KeyError: An id is not in the index.
            ValueError: The ids are not whole numbers of 64 bits.
        """
        with self._writing:
            now = self._snapshot
            left = now.rows.all_ids.copy()
            left[now.rows.of(ids)] = NO_ID
            if now.kind is Kind.EXACT:
                self._snapshot = _exact(left, now.all_vectors, now.effort)
            else:
                self._snapshot = replace(now, rows=Rows(left))


def _exact(ids: Ids, vectors: Vectors, effort: Effort) -> Snapshot:
    """Return an exact snapshot of the rows that have an id; views of others stay what they are."""
    alive = ids != NO_ID
    held = vectors if alive.all() else vectors[alive]
    candidates = Candidates.build(Kind.EXACT, held)
    return Snapshot.of(ids[alive], candidates.vectors(), candidates, effort)
