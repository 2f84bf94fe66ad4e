"""Questions after a cut in time: who is asked, with what history, and what is right."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories, first_times, spans
from retrieval.data.sittings import PAUSE, sittings
from retrieval.data.times import DAY
from retrieval.options import Target

# Seconds that a user must have been away for a visit.
AWAY = DAY


class LaterQuestions(NamedTuple):
    """Q questions; what is right are the events `ends:stops` of the user's history."""

    users: NDArray[np.int64]  # (Q,) numbers
    starts: NDArray[np.int64]  # (Q,) of the user's events
    ends: NDArray[np.int64]  # (Q,) of those that had happened when asked
    stops: NDArray[np.int64]  # (Q,) of what came then


class LaterProtocol(NamedTuple):
    """What is asked after a cut in time."""

    cut: int  # seconds; an event of this very second is before it
    target: Target  # events that are asked about
    # Seconds without an event after which a sitting is over. None is an hour, as in training; with
    # a gap, `Target.SUCCESSIVE` asks about what opens a sitting alone, else about every event.
    gap: int | None = None


def questions_after(histories: Histories, protocol: LaterProtocol) -> LaterQuestions:
    """Return what is asked about the events after a cut.

    Users who appear after it are asked from their second event on, with the events before that;
    about a visit, or all that comes, users known before the cut are asked alone. Nothing is asked
    where users only watch again what they have seen.

    Args:
        histories: All events, before and after.
        protocol: What is asked.
    """
    cut, target, gap = protocol
    starts, ends = histories.offsets[:-1], histories.offsets[1:]
    late = np.append(0, np.cumsum(histories.timestamps > cut))
    first = ends - (late[ends] - late[starts])  # (U,) position of each user's first late event
    known, comes = first > starts, first < ends
    match target:
        case Target.FIRST:
            asked = np.maximum(first, starts + 1)
            users = np.flatnonzero(asked < ends)
            asked = asked[users]
            stops = asked + 1
        case Target.LAST:
            users = np.flatnonzero(comes & (ends - starts > 1))
            asked, stops = ends[users] - 1, ends[users]
        case Target.SUCCESSIVE:
            begins = np.maximum(first, starts + 1)
            counts = np.where(comes, ends - begins, 0)
            users = np.repeat(np.arange(len(starts)), counts)
            asked = spans(begins, counts)
            if gap is not None:
                opens = sittings(histories, gap).of(asked).starts == asked
                users, asked = users[opens], asked[opens]
            stops = asked + 1
        case Target.VISIT:
            there = np.flatnonzero(known & comes)
            away = histories.timestamps[first[there]] - histories.timestamps[first[there] - 1]
            users = there[(away >= AWAY) & (away > (gap or 0))]
            asked = first[users]
            stops = sittings(histories, PAUSE if gap is None else gap).of(asked).ends
        case Target.WINDOW:
            users = np.flatnonzero(known & comes)
            asked, stops = first[users], ends[users]
    fresh = np.append(0, np.cumsum(first_times(histories)))
    answered = fresh[stops] > fresh[asked]
    users, asked, stops = users[answered], asked[answered], stops[answered]
    return LaterQuestions(users, starts[users], asked, stops)
