"""An index as it is at one moment: ids, vectors, and a backend that proposes candidates."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from index.backend import Backend
from index.choices import make_own_index
from index.kinds import Kind, SearchParameters
from index.neighbours import Neighbours
from index.rescoring import LocalVectors
from index.rounds import Search
from index.rows import Selection
from index.vectors import Ids, Vectors, checked_vectors, whole_numbers

# More results than this are wanted only where there are as many vectors: lists are made whole.
MOST_RESULTS = 100_000


@dataclass(frozen=True)
class Snapshot:
    """An index at one moment. It never changes, so that any number of threads may search it.

    What is worked out when it is first asked for comes out the same in every thread.

    Args:
        local: Vectors under their ids.
        backend: Backend that proposes candidates of them.
        parameters: Search parameters.
    """

    local: LocalVectors
    backend: Backend
    parameters: SearchParameters

    @property
    def kind(self) -> Kind:
        """How candidates are found."""
        return self.backend.policy.kind

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.local.vectors.shape[1])

    @property
    def ids(self) -> Ids:
        """The ids of the N vectors, `(N,)`, in the order of their rows."""
        return self.local.rows.ids

    @cached_property
    def vectors(self) -> Vectors:
        """The N vectors, `(N, D)`, in the order of `ids`; copied once where some were removed."""
        alive = self.local.rows.alive
        return self.local.vectors if alive is None else self.local.vectors[alive.rows]

    def __len__(self) -> int:
        """Return N."""
        return self.local.rows.count

    def vectors_of(self, ids: ArrayLike) -> Vectors:
        """Read vectors back: `ids` of any shape S gives `(*S, D)`.

        Raises:
            KeyError: An id is not in the index.
            ValueError: The ids are not whole numbers of 64 bits.
        """
        return self.local.vectors[self.local.rows.of(ids)]

    def select(self, ids: ArrayLike) -> Selection:
        """Return what restricts searches to some ids, `(S,)`.

        Raises:
            KeyError: An id is not in the index.
            ValueError: The ids are not whole numbers of 64 bits.
        """
        named, rows = whole_numbers(ids).copy(), self.local.rows
        return Selection(named, rows, rows.choose(rows.of(named)))

    def prepare(self, allowed: Selection) -> None:
        """Make now what is made of a selection after some searches of it, by a thread."""
        make_own_index(self.backend, self.local, allowed.within(self.local.rows))

    def search(
        self,
        queries: ArrayLike,
        k: int,
        excluded: Sequence[Ids] | None = None,
        allowed: Selection | None = None,
    ) -> Neighbours:
        """Return min(k, what is left) results for each query.

        Args:
            queries: Query vectors, `(Q, D)`.
            k: Number of results for each query, at least 1.
            excluded: Ids that must not be returned, one array for each query; ids that the index
                does not have do not matter.
            allowed: Selection, made by `select`, that results must come from; ids that were removed
                since then are not found.

        Raises:
            ValueError: The queries are no matrix of D columns, k is impossible, or what is excluded
                are not whole numbers for each query.
        """
        checked = checked_vectors(queries, self.dimension)
        rows = self.local.rows
        chosen = rows.alive if allowed is None else allowed.within(rows)
        wanted = _checked_k(k, len(rows))
        hidden = _checked_lists(excluded, len(checked))
        search = Search(self.local, self.backend, self.parameters, wanted, chosen)
        return search.results(checked, hidden)


def _checked_k(k: int, count: int) -> int:
    """Return how many results are wanted of `count` rows.

    Raises:
        ValueError: It is no whole number, or more than a list could be made of.
    """
    try:
        wanted = operator.index(k)
    except TypeError as error:
        raise ValueError(f"k must be a whole number, got {k!r:.80}") from error
    most = max(MOST_RESULTS, count)
    if not 1 <= wanted <= most:
        raise ValueError(f"k must be at least 1 and at most {most}, got {wanted!s:.80}")
    return wanted


def _checked_lists(excluded: Sequence[Ids] | None, queries: int) -> list[Ids]:
    """Return the ids that each query must not find.

    Raises:
        ValueError: There is not one list of whole numbers for each query.
    """
    if excluded is None:
        return [np.empty(0, np.int64)] * queries
    if len(excluded) != queries:
        raise ValueError(f"expected what {queries} queries exclude, got {len(excluded)} lists")
    lists = [whole_numbers(ids) for ids in excluded]
    for ids in lists:
        if ids.ndim != 1:
            raise ValueError(f"what a query excludes must be a list of ids, not {ids.shape}")
    return lists
