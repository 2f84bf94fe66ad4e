"""How good predictions are, live: every rating that comes in is first predicted.

The root mean squared error of the predictions, how many ratings lie within one and two of the
standard deviations that were told, and how many plays are of a movie that was among the first 20 of
the list just before: over the last hour and the last day.
"""

import math
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np

from retrieval.errors import RequestError
from retrieval.service.log import Kind, NewEvent
from retrieval.service.view import View

HOUR, DAY = 3600, 86_400

# Seconds that are summed up together, which is what bounds the memory.
STEP = 60

# Length of the list in which a play is looked for.
TOP = 20

# Events of one request that are predicted.
MOST_FORESEEN = 20


class Foreseen(NamedTuple):
    """An event and what was predicted of it before it came."""

    rating: float | None = None
    predicted: float | None = None
    deviation: float | None = None
    hit: bool | None = None  # of a play: whether its movie was in the list


def foresee(view: View, events: Sequence[NewEvent], now: int) -> list[Foreseen]:
    """Predict events before they count.

    Events that happened long ago are not foreseen, nor are those after the first few of one
    request: they are a history that is brought over. Neither are events of movies that were not
    there before.

    Args:
        view: What answers, before the events are kept.
        events: The events.
        now: Time in seconds.
    """
    return [
        foreseen
        for event in events[:MOST_FORESEEN]
        if abs(now - event.timestamp) <= DAY and (foreseen := _foreseen(view, event)) is not None
    ]


def _foreseen(view: View, event: NewEvent) -> Foreseen | None:
    try:
        match event.kind:
            case Kind.RATING if view.snapshot.encoder.rates:
                made = view.rate(event.user_id, event.movie_id)
                return Foreseen(
                    rating=event.rating, predicted=made.rating, deviation=made.deviation
                )
            case Kind.PLAY:
                rows = view.recommend(event.user_id, min(TOP, len(view.catalogue))).rows
                return Foreseen(hit=event.movie_id in {str(row.movie.id) for row in rows})
            case _:
                return None
    except RequestError:  # which keeping the event says too
        return None


class Sums(NamedTuple):
    """What is known of the events of some time."""

    ratings: float = 0
    squared_error: float = 0
    with_deviation: float = 0
    within_one: float = 0
    within_two: float = 0
    plays: float = 0
    hits: float = 0

    def grades(self) -> dict[str, float | None]:
        """Return the measures; those of nothing are None."""
        rmse = math.sqrt(self.squared_error / self.ratings) if self.ratings else None
        return {
            "ratings": int(self.ratings),
            "rmse": rmse,
            "within_one_deviation": _share(self.within_one, self.with_deviation),
            "within_two_deviations": _share(self.within_two, self.with_deviation),
            "plays": int(self.plays),
            f"hit_at_{TOP}": _share(self.hits, self.plays),
        }


class Grading:
    """The measures of the last day, minute by minute.

    Args:
        clock: Function that gives the time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sums = np.zeros((DAY // STEP, len(Sums._fields)))
        self._minute = int(clock()) // STEP
        self._lock = Lock()

    def add(self, foreseen: Foreseen) -> None:
        """Count one event."""
        sums = Sums()
        if foreseen.rating is not None and foreseen.predicted is not None:
            error = abs(foreseen.rating - foreseen.predicted)
            sums = sums._replace(ratings=1, squared_error=error**2)
            if foreseen.deviation is not None:
                sums = sums._replace(
                    with_deviation=1,
                    within_one=float(error <= foreseen.deviation),
                    within_two=float(error <= 2 * foreseen.deviation),
                )
        if foreseen.hit is not None:
            sums = sums._replace(plays=1, hits=float(foreseen.hit))
        with self._lock:
            self._move_on()
            self._sums[self._minute % len(self._sums)] += sums

    def over(self, seconds: int) -> Sums:
        """Return the sums of the last seconds, at most a day."""
        with self._lock:
            self._move_on()
            minutes = np.arange(self._minute - seconds // STEP + 1, self._minute + 1)
            return Sums(*self._sums[minutes % len(self._sums)].sum(axis=0).tolist())

    def _move_on(self) -> None:
        """Empty the minutes that have come since the last look; a clock that goes back waits."""
        minute = int(self._clock()) // STEP
        gone = min(max(0, minute - self._minute), len(self._sums))
        passed = np.arange(minute - gone + 1, minute + 1)
        self._sums[passed % len(self._sums)] = 0
        self._minute = max(self._minute, minute)


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
