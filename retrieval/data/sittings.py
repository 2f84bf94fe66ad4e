"""Sittings: a user's events in a row, no longer than a pause between one and the next."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, spans
from retrieval.data.times import COUNTERS

# Seconds between two events that end a sitting, if nobody says otherwise.
PAUSE = 3600

# Where no later sitting follows.
NO_SITTING = -1


class SittingsOf(NamedTuple):
    """The sittings that events are of, as positions in the order of histories."""

    starts: NDArray[np.int64]  # (...) of the event that opens the event's sitting
    ends: NDArray[np.int64]  # (...) after its last event
    following: NDArray[np.int64]  # (...) of what opens the user's next sitting, or NO_SITTING
    later: NDArray[np.bool_]  # (...) whether the event's sitting is not the user's first one


class Sittings(NamedTuple):
    """The S sittings of N events in the order of histories."""

    bounds: NDArray[np.int64]  # (S + 1,) positions of the events that open them, and N
    later: NDArray[np.bool_]  # (S,) whether a sitting is not its user's first one

    @property
    def openings(self) -> NDArray[np.int64]:
        """Positions `(O,)` of the events with which users come back."""
        return self.bounds[:-1][self.later]

    def first_events(self, count: int) -> NDArray[np.int64]:
        """Return the positions of the first few events of all sittings but users' first ones."""
        sizes = np.minimum(np.diff(self.bounds)[self.later], count)
        return spans(self.openings, sizes)

    def of(self, positions: NDArray[np.int64]) -> SittingsOf:
        """Return the sittings of events at positions, of any shape."""
        sitting = np.searchsorted(self.bounds, positions, side="right") - 1
        ends = self.bounds[sitting + 1]
        follows = np.append(self.later, False)[sitting + 1]  # the next one is of the same user
        following = np.where(follows, ends, NO_SITTING)
        return SittingsOf(self.bounds[sitting], ends, following, self.later[sitting])


def sittings(histories: Histories, pause: int = PAUSE) -> Sittings:
    """Return the sittings of users; where timestamps count events, each user has a single one.

    Args:
        histories: Events of users.
        pause: Seconds without an event after which a sitting is over.
    """
    count = len(histories.movies)
    first = np.zeros(count, dtype=bool)  # of a user
    first[histories.offsets[:-1][np.diff(histories.offsets) > 0]] = True
    opens = first.copy()
    if histories.timestamps.max(initial=0) >= COUNTERS:
        opens[1:] |= np.diff(histories.timestamps) > pause
    begins = np.flatnonzero(opens)
    return Sittings(np.append(begins, count), ~first[begins])
