"""What user towers have read of histories, kept so that an event more is read alone.

A token looks at no later one, so what it has become stays as it is while a history grows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, Windows

Vectors = NDArray[np.float32]

# The first events of a history, by which it is found; one that is shorter is soon read anew.
FIRST = 8


class ReadHistory(NamedTuple):
    """E events in the order of time, and what was made of the first E tokens, the start included.

    The last token is read anew each time: what it is may depend on when the next question comes.
    """

    movies: NDArray[np.int32]  # (E,) numbers
    ratings: NDArray[np.float32]  # (E,)
    timestamps: NDArray[np.int64]  # (E,)
    states: Vectors  # (E, S)

    def after(self, states: Vectors) -> "ReadHistory":
        """Return the events with the states of all tokens, of which that of the last is not kept.

        The histories that these events are a part of are not held.
        """
        kept = states[: len(self.movies)]
        return ReadHistory(self.movies.copy(), self.ratings.copy(), self.timestamps.copy(), kept)

    def of_movies_below(self, count: int) -> bool:
        """Return whether all events are of the first movies of the catalogue, so many."""
        return bool((self.movies < count).all())

    def tokens_for(self, other: "ReadHistory") -> int:
        """Return how many of the first tokens of another history are as they are in this one."""
        count = min(len(self.movies), len(other.movies))
        same = (
            (self.movies[:count] == other.movies[:count])
            & (self.ratings[:count] == other.ratings[:count])
            & (self.timestamps[:count] == other.timestamps[:count])
        )
        return count if same.all() else int(same.argmin())


def unread(histories: Histories, start: int, end: int) -> ReadHistory:
    """Return the events of a window, of which nothing was made yet."""
    part = slice(start, end)
    return ReadHistory(
        histories.movies[part],
        histories.ratings[part],
        histories.timestamps[part],
        np.zeros((0, 0), np.float32),
    )


def key_of(events: ReadHistory, codes: NDArray[np.int64], *, timed: bool) -> bytes | None:
    """Return what a history is found by; None where it is too short to be kept.

    Args:
        events: The events of the history.
        codes: `(C,)` of the attributes of its user.
        timed: Whether the time of asking counts.
    """
    if len(events.movies) < FIRST:
        return None
    movies, times = events.movies[:FIRST], events.timestamps[:FIRST]
    return b"".join((bytes([timed]), codes.tobytes(), movies.tobytes(), times.tobytes()))


def recent_windows(windows: Windows, length: int) -> Windows:
    """Return windows without the events that are too old to be read.

    The longest history has at most `length` events. It begins later in steps of an eighth of that,
    so that from one event to the next it mostly begins where it did.
    """
    step = max(1, length // 8)
    over = np.maximum(windows.counts - length, 0)
    return windows._replace(starts=windows.starts + -(-over // step) * step)
