"""Candidates from a vector store, and from this process while the store is away."""

import logging
import time
from dataclasses import dataclass, field, replace

import numpy as np

from index import policies
from index.backend import Backend, Proposal
from index.kinds import Kind, SearchParameters
from index.policies import Policy
from index.rows import NO_ROW, ChosenRows
from index.stores.address import StoreAddress
from index.stores.errors import StoreError
from index.stores.loading import connect, find
from index.stores.store import Store
from index.vectors import Vectors

_log = logging.getLogger(__name__)

# Seconds for which nobody asks a store that did not answer.
AWAY = 5.0

# A store is asked for more where something is left out, never to leave it out itself: the filter of
# a graph loses results. What is few enough is scanned here, sooner than by FAISS, as each candidate
# has to come from elsewhere.
POLICIES = {
    Kind.EXACT: replace(
        policies.POLICIES[Kind.EXACT],
        remote=True,
        scanned_share=0.25,
        scans_per_candidate=50,
        selected_share=0.0,
    ),
    Kind.HNSW: replace(policies.POLICIES[Kind.HNSW], remote=True, scans_per_candidate=50),
}


@dataclass
class Connection:
    """A collection of a store, which is found when it is first asked, and again after a failure.

    Args:
        address: Address of the store.
        alias: Name by which the collection is known.
        fingerprint: Digest of what it holds.
        kind: How candidates are found.
    """

    address: StoreAddress
    alias: str
    fingerprint: str
    kind: Kind
    _found: tuple[Store, str] | None = field(default=None, init=False)
    _away_until: float = field(default=0.0, init=False)

    @property
    def away(self) -> bool:
        """Whether the store did not answer when it was last asked."""
        return self._away_until > 0

    def open(self) -> tuple[Store, str]:
        """Return the store, and the name of the collection in it.

        Raises:
            StoreError: It cannot be reached, or holds another index.
        """
        found = self._found
        if found is None:
            store = connect(self.address)
            found = store, find(store, self.alias, self.fingerprint)
            self._found = found
        return found

    def went_away(self, error: StoreError) -> None:
        """Ask nothing for a while, as the store could not be asked."""
        if not self.away:
            _log.warning("%s; the vectors of this process answer instead", error)
        self._away_until = time.monotonic() + AWAY
        self._found = None

    def ask(self, queries: Vectors, count: int, ef: int) -> Proposal | None:
        """Return candidates; None while the store is away."""
        if time.monotonic() < self._away_until:
            return None
        try:
            store, name = self.open()
            if count > store.most:
                return None
            proposal = store.nearest(name, queries, count, self.kind, ef)
        except StoreError as error:
            self.went_away(error)
            return None
        if self.away:
            _log.warning("%s answers again", store.place)
        self._away_until = 0.0
        return proposal


@dataclass(frozen=True)
class StoreBackend:
    """A collection of a store, and the rows that were put since it was loaded.

    Those are few, and scored here. While the store is away, so are all others.

    Args:
        connection: The collection.
        local: Exact backend over the same rows, which answers while the store is away.
        count: Number of rows of the collection.
        more: Vectors of the rows after these, `(A, D)`.
    """

    connection: Connection
    local: Backend
    count: int
    more: Vectors

    fixed = False

    @property
    def policy(self) -> Policy:
        """How searches use it."""
        return POLICIES[self.connection.kind]

    def with_more(self, vectors: Vectors) -> "StoreBackend":
        """Return one that holds vectors `(A, D)` as its next rows."""
        return replace(self, more=np.concatenate([self.more, vectors]))

    def propose(
        self, queries: Vectors, count: int, parameters: SearchParameters, allowed: ChosenRows | None
    ) -> Proposal:
        """Return candidates, as `Backend.propose` says.

        Raises:
            ValueError: Rows are restricted, which no policy of a store asks for.
        """
        if allowed is not None:
            raise ValueError("a store is not asked to leave rows out")
        own = min(count, self.count)
        proposal = self.connection.ask(queries, own, parameters.ef) if own else None
        if proposal is None:
            proposal = self.local.propose(queries, own, parameters, None)
        if not len(self.more):
            return proposal
        scores = np.concatenate([proposal.scores, queries @ self.more.T], axis=1)
        rows = np.full(scores.shape, NO_ROW)
        rows[:, :own] = proposal.rows
        rows[:, own:] = self.count + np.arange(len(self.more))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return Proposal(
            np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
        )
