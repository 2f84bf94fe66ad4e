"""Where the events of known users are read from.

A run keeps them in arrays. A service that takes events while it answers has further ones
elsewhere, and gives a store of its own, which joins both.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, spans
from retrieval.run.folder import Run


class KnownHistories(NamedTuple):
    """What Q known users did, oldest first, and whether it is what the run stores."""

    # Of Q users; movies are numbers in the catalogue of the run, or beyond it where the store has
    # learned of more movies since the run was opened.
    histories: Histories
    # (Q,) whether a user has the very events that the run stores, for which it holds what towers
    # make of them. Of other events, a movie may come twice, and may be one that was added after
    # training.
    as_stored: NDArray[np.bool_]
    # Q times the numbers of movies that were seen and not rated, where the run learns from ratings;
    # empty where nobody has seen any.
    watched: Sequence[NDArray[np.int64]] = ()


class HistoryStore(Protocol):
    """Gives the events of known users.

    It gives every event that it has, whatever the time of asking. That time comes with the
    question: what happened later does not count, though its movies have been seen.

    Any number of threads read from one store at once, and it may give more events from one
    question to the next.
    """

    def read(self, users: NDArray[np.int64]) -> KnownHistories:
        """Return the events of users.

        Args:
            users: `(Q,)` numbers in the vocabulary of the run; none of them is unknown.
        """


class StoredHistories:
    """The histories that a run stores, and no other events.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self._histories = run.histories

    def read(self, users: NDArray[np.int64]) -> KnownHistories:
        """Return the events of users `(Q,)`, which are mapped from the run's files."""
        return KnownHistories(histories_of(self._histories, users), np.ones(len(users), bool))


def histories_of(histories: Histories, users: NDArray[np.int64]) -> Histories:
    """Return the histories of some users alone, in their order.

    Args:
        histories: Histories of U users.
        users: `(Q,)` numbers of users, repeated or not.
    """
    if len(users) == 1:  # whose events are one slice, and need no copy
        start, end = histories.offsets[users[0] : users[0] + 2]
        return _taken(histories, np.array([0, end - start]), slice(start, end))
    starts = histories.offsets[users]
    counts = histories.offsets[users + 1] - starts
    return _taken(histories, np.append(0, np.cumsum(counts)), spans(starts, counts))


def _taken(
    histories: Histories, offsets: NDArray[np.int64], rows: NDArray[np.int64] | slice
) -> Histories:
    _, movies, ratings, timestamps = histories
    return Histories(offsets, movies[rows], ratings[rows], timestamps[rows])
