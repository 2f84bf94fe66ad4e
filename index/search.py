"""The index: vectors under ids, which many threads may search while others put and remove."""

from collections.abc import Sequence
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import ArrayLike

from index.backend import Backend
from index.emphasis import best_emphasis
from index.faiss_backend import FaissBackend
from index.kinds import Kind, SearchParameters
from index.neighbours import NO_ID, Neighbours
from index.rescoring import LocalVectors
from index.rows import Rows, Selection
from index.snapshot import Snapshot
from index.vectors import Ids, Vectors, checked_ids, checked_vectors


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
        snapshot: State that the index begins with.
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
        parameters: SearchParameters | None = None,
        queries: Vectors | None = None,
    ) -> "Index":
        """Index vectors.

        Args:
            ids: Distinct ids, `(N,)`.
            vectors: Vectors of the ids, `(N, D)`. An approximate kind keeps them where they are
                float32 already: they may not be written to any more.
            kind: How candidates are found.
            parameters: Search parameters of an approximate kind.
            queries: A few vectors like those that will be asked, `(Q, D)`; an approximate kind
                finds more if it knows them.

        Raises:
            ValueError: Ids or vectors are none, or do not belong together.
        """
        checked = checked_vectors(vectors)
        named = checked_ids(ids, len(checked)).copy()
        asked = None if queries is None else checked_vectors(queries, checked.shape[1])
        emphasis = None if asked is None else best_emphasis(kind, checked, asked)
        backend = FaissBackend.build(kind, checked, emphasis)
        held = backend.vectors() if backend.policy.exact else checked
        return cls(
            Snapshot(LocalVectors.of(named, held), backend, parameters or SearchParameters())
        )

    def with_parameters(self, parameters: SearchParameters) -> "Index":
        """Return an index of the same vectors with other search parameters; they share memory."""
        return Index(replace(self._snapshot, parameters=parameters))

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
            all_ids = now.local.rows.all_ids
            kept = np.where(np.isin(all_ids, named), NO_ID, all_ids)
            all_ids = np.concatenate([kept, named])
            held = np.concatenate([now.local.vectors, more])
            if _is_made_anew(now.backend):
                self._snapshot = _exact(all_ids, held, now.parameters)
            else:
                local = LocalVectors.of(all_ids, held)
                self._snapshot = Snapshot(local, now.backend.with_more(more), now.parameters)

    def remove(self, ids: ArrayLike) -> None:
        """Take vectors out.

        Raises:
            KeyError: An id is not in the index.
            ValueError: The ids are not whole numbers of 64 bits.
        """
        with self._writing:
            now = self._snapshot
            left = now.local.rows.all_ids.copy()
            left[now.local.rows.of(ids)] = NO_ID
            if _is_made_anew(now.backend):
                self._snapshot = _exact(left, now.local.vectors, now.parameters)
            else:
                local = replace(now.local, rows=Rows(left))
                self._snapshot = replace(now, local=local)


def _is_made_anew(backend: Backend) -> bool:
    """Return whether a backend is exact and in this process, where a new one takes no time."""
    return backend.policy.exact and not backend.policy.remote


def _exact(ids: Ids, vectors: Vectors, parameters: SearchParameters) -> Snapshot:
    """Return an exact snapshot of the rows that have an id; views of others stay what they are."""
    alive = ids != NO_ID
    held = vectors if alive.all() else vectors[alive]
    backend = FaissBackend.build(Kind.EXACT, held)
    return Snapshot(LocalVectors.of(ids[alive], backend.vectors()), backend, parameters)
