"""What a search asks of whatever finds candidates: FAISS here, or a store elsewhere."""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from index.kinds import SearchParameters
from index.policies import Policy
from index.rows import ChosenRows
from index.vectors import Vectors


class Proposal(NamedTuple):
    """C candidates for each of Q queries, best first as far as the backend can tell."""

    scores: NDArray[np.float32]  # (Q, C) inner products as far as the backend can tell
    rows: NDArray[np.int64]  # (Q, C), -1 where there are no more


class Backend(Protocol):
    """A search structure over R vectors, which are known by their rows.

    A backend only proposes candidates: results and scores come from vectors that the index itself
    holds. It never changes, so that any number of threads may search it.
    """

    @property
    def policy(self) -> Policy:
        """How searches use it."""
        ...

    @property
    def fixed(self) -> bool:
        """Whether no vectors can be added to it."""
        ...

    def with_more(self, vectors: Vectors) -> "Backend":
        """Return one that holds vectors `(A, D)` as its next rows.

        Raises:
            ValueError: It is fixed.
        """
        ...

    def propose(
        self, queries: Vectors, count: int, parameters: SearchParameters, allowed: ChosenRows | None
    ) -> Proposal:
        """Return candidates.

        Args:
            queries: Query vectors, `(Q, D)`.
            count: Number of candidates for each query, at most R.
            parameters: Search parameters; where rows are restricted, as many vectors are visited as
                these would visit if all rows were allowed.
            allowed: Rows that alone may be candidates, never more than the policy's share of them;
                None is all.
        """
        ...
