"""What a vector store has to do, whatever its engine."""

from collections.abc import Callable
from typing import Protocol

from index.backend import Proposal
from index.kinds import Kind
from index.vectors import Vectors

# Called with the number of vectors that are loaded so far.
Report = Callable[[int], None]

# The kinds of index that every engine has.
KINDS = (Kind.EXACT, Kind.HNSW)

# Nodes that each node of a graph is linked to, and those in sight when it is built.
LINKS, EF_CONSTRUCTION = 16, 64


class Store(Protocol):
    """An engine that holds collections of vectors, each by its row, and never changes one.

    Any number of threads may ask it. Everything raises a `StoreError`.
    """

    @property
    def place(self) -> str:
        """Name of the store, for messages; it shows no password."""
        ...

    @property
    def most(self) -> int:
        """The most candidates that one question may ask for."""
        ...

    def names(self, prefix: str) -> list[str]:
        """Return the collections whose names begin so."""
        ...

    def create(self, name: str, vectors: Vectors, kind: Kind, report: Report) -> None:
        """Load vectors `(R, D)` into a collection that is not there yet, and index it."""
        ...

    def drop(self, name: str) -> None:
        """Remove a collection, if it is there."""
        ...

    def target(self, alias: str) -> str | None:
        """Return the collection that an alias stands for; None where there is no such alias."""
        ...

    def point(self, alias: str, name: str) -> None:
        """Let an alias stand for a collection, at once for everybody."""
        ...

    def unpoint(self, alias: str) -> None:
        """Remove an alias, if it is there."""
        ...

    def prepare(self, name: str) -> None:
        """Make a collection ready to be searched."""
        ...

    def nearest(self, name: str, queries: Vectors, count: int, kind: Kind, ef: int) -> Proposal:
        """Return candidates from a collection.

        Args:
            name: Name of the collection.
            queries: Query vectors, `(Q, D)`.
            count: Number of candidates for each query.
            kind: Kind that the collection was created with.
            ef: Number of nodes that an hnsw keeps in sight.
        """
        ...

    def nearest_but(
        self, name: str, query: Vectors, count: int, kind: Kind, ef: int, rows: list[int]
    ) -> list[int]:
        """Return the rows that the engine's own filter finds when some rows are left out.

        This is here to be measured: on a graph it finds less than searching for more does.
        """
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...
