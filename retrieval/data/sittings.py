"""Sittings: a user's events in a row, no longer than an hour between one and the next."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories
from retrieval.data.times import COUNTERS

# Seconds between two events that end a sitting.
PAUSE = 3600

# Where no later sitting follows.
NO_SITTING = -1


class Sittings(NamedTuple):
    """The sittings of N events in the order of histories, as positions there."""

    starts: NDArray[np.int64]  # (N,) of the event that opens the event's sitting
    ends: NDArray[np.int64]  # (N,) after its last event
    following: NDArray[np.int64]  # (N,) of what opens the user's next sitting, or NO_SITTING
    later: NDArray[np.bool_]  # (N,) whether the event's sitting is not the user's first one

    @property
    def openings(self) -> NDArray[np.int64]:
        """Positions `(O,)` of the events with which users come back."""
        return np.flatnonzero(self.later & (self.starts == np.arange(len(self.starts))))


def sittings(histories: Histories) -> Sittings:
    """Return the sittings of users; where timestamps count events, each user has a single one."""
    count = len(histories.movies)
    places = np.arange(count)
    first = np.zeros(count, dtype=bool)  # of a user
    first[histories.offsets[:-1][np.diff(histories.offsets) > 0]] = True
    opens = first.copy()
    if histories.timestamps.max(initial=0) >= COUNTERS:
        opens |= np.diff(histories.timestamps, prepend=0) > PAUSE
    bounds = np.append(np.flatnonzero(opens), count)
    sitting = np.searchsorted(bounds, places, side="right")
    starts, ends = bounds[sitting - 1], bounds[sitting]
    follows = np.append(~first, False)[ends]  # the next sitting is one of the same user
    return Sittings(starts, ends, np.where(follows, ends, NO_SITTING), ~first[starts])
