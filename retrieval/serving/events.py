"""Events that a run does not store: checked, and put together with those that it stores."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories
from retrieval.data.times import NO_TIME
from retrieval.data.vocabulary import UNKNOWN, Id, Ids
from retrieval.errors import RequestError, RunError, shown
from retrieval.run.folder import Run
from retrieval.serving.arguments import checked_ids, checked_numbers, checked_times


class Event(NamedTuple):
    """One event in a history. Without a timestamp it happened just before the question.

    Attributes:
        movie_id: Id of a movie of the run.
        rating: Rating on the run's scale; None where the run knows no ratings.
        timestamp: Time of the event, in seconds since 1970.
    """

    movie_id: Id
    rating: float | None = None
    timestamp: int | None = None


# Events by user id. A mapping of either kind of id is none of both.
GivenHistories = Mapping[int, Sequence[Event]] | Mapping[str, Sequence[Event]]


class UserEvents(NamedTuple):
    """The events of one user."""

    movies: NDArray[np.int32]  # (E,) numbers
    ratings: NDArray[np.float32]  # (E,)
    timestamps: NDArray[np.int64]  # (E,) seconds, or `NO_TIME`


NO_EVENTS = UserEvents(np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int64))
NO_MOVIES = np.zeros(0, np.int64)


class OtherEvents(NamedTuple):
    """Events of one user that the run does not store, checked."""

    events: UserEvents
    repeated: NDArray[np.int64]  # numbers of movies that come more than once

    @property
    def depends(self) -> bool:
        """Whether the time of asking decides when events happened, or which of them count."""
        return bool(len(self.repeated) or (self.events.timestamps == NO_TIME).any())


NOTHING = OtherEvents(NO_EVENTS, NO_MOVIES)


def events_of(histories: Histories, row: int) -> UserEvents:
    """Return the events of one user, given by number."""
    start, end = histories.offsets[row : row + 2]
    _, movies, ratings, timestamps = histories
    return UserEvents(movies[start:end], ratings[start:end], timestamps[start:end])


def listed(events: Sequence[Event] | None) -> list[Event]:
    """Return events as a list; None has none.

    Raises:
        RequestError: They cannot be gone through, or only once.
    """
    if events is None:
        return []
    try:
        found = list(events)
    except TypeError:  # it cannot be gone through
        found = None
    # An iterator would be empty when the next question is asked.
    if found is None or isinstance(events, Iterator):
        raise RequestError(f"a history is '{shown(events)}'; give a list of events")
    return found


def checked_events(run: Run, events: Sequence[Event]) -> OtherEvents:
    """Check events that came with a question.

    Args:
        run: The run that knows movies and the scale.
        events: Events of one user.

    Raises:
        RequestError: An unknown movie, a rating outside the scale, or what is no time.
    """
    events = listed(events)
    if not events:
        return NOTHING
    try:
        given_ids = [event.movie_id for event in events]
        given_ratings = [event.rating for event in events]
        given_times = [event.timestamp for event in events]
    except AttributeError as error:
        raise RequestError(
            f"a history holds '{shown(next(event for event in events if not _is_event(event)))}'; "
            "give Event(movie_id, rating) or Event(movie_id, rating, timestamp)"
        ) from error
    ids = checked_ids(given_ids, "movie", run.catalogue.vocabulary)
    scale = run.config.scale
    missing = None if scale.tells_taste else scale.highest
    rated = [missing if rating is None else rating for rating in given_ratings]
    if None in rated:
        raise RequestError(
            f"movie {shown(ids[rated.index(None)])} in a history has no rating; "
            f"ratings run from {scale.lowest:g} to {scale.highest:g}"
        )
    ratings = checked_numbers(rated, "rating")
    times = np.full(len(ids), NO_TIME)
    dated = np.array([moment is not None for moment in given_times], dtype=bool)
    if dated.any():
        there = [moment for moment in given_times if moment is not None]
        seconds = checked_times(there, len(there))
        if seconds is not None:
            times[dated] = seconds
    movies = movie_numbers(run, ids)
    wrong = ~((ratings >= scale.lowest) & (ratings <= scale.highest))
    if wrong.any():
        raise RequestError(
            f"rating {ratings[wrong][0]:g} of movie {shown(ids[wrong][0])} is outside the scale: "
            f"ratings run from {scale.lowest:g} to {scale.highest:g}"
        )
    return with_repeated(
        run,
        UserEvents(
            movies.astype(np.int32),
            ratings.astype(np.float32),
            times,
        ),
    )


def with_repeated(run: Run, events: UserEvents) -> OtherEvents:
    """Return events with the movies that come more than once where they are rated.

    Args:
        run: The run.
        events: Events of one user, in any order.
    """
    repeated = NO_MOVIES
    if run.config.scale.tells_taste and not _distinct(events.movies):
        each, counts = np.unique(events.movies, return_counts=True)
        repeated = each[counts > 1].astype(np.int64)
    return OtherEvents(events, repeated)


def check_history(run: Run, events: Sequence[Event]) -> None:
    """Raise a `RequestError` for the first event that no history can hold."""
    checked_events(run, events)


def movie_numbers(run: Run, ids: Ids) -> NDArray[np.int64]:
    """Return the numbers of movies, given by id, `(Q,)`.

    Raises:
        RequestError: An id is no movie's.
    """
    numbers = run.catalogue.vocabulary.numbers(ids)
    unknown = numbers == UNKNOWN
    if unknown.any():
        raise run.catalogue.unknown(ids[unknown][0].item())
    return numbers


def _untimed_last(events: UserEvents) -> UserEvents:
    """Return events with those without a time, the latest ones, at the end."""
    movies, ratings, timestamps = events
    order = np.argsort(timestamps == NO_TIME, kind="stable")
    return UserEvents(movies[order], ratings[order], timestamps[order])


def merged(run: Run, stored: UserEvents, given: UserEvents, at: int | None) -> UserEvents:
    """Return stored and given events together, each movie once, each with a time.

    Of several ratings of a movie, those that happened before the question count before those that
    did not, then those given before those stored, then the last.

    Args:
        run: The run.
        stored: Events with a time, oldest first.
        given: Events with or without a time, in any order.
        at: Time of asking, in seconds; None where there is none.
    """
    given = _untimed_last(given)
    untimed = given.timestamps == NO_TIME
    timed = np.concatenate([stored.timestamps, given.timestamps[~untimed]])
    if at is not None:
        moment = int(timed[timed <= at].max(initial=max(0, at - 1)))
    elif len(timed):
        moment = int(timed.max())
    else:
        moment = _trained_at(run)
    times = np.where(untimed, moment, given.timestamps)
    events = UserEvents(
        np.concatenate([stored.movies, given.movies]),
        np.concatenate([stored.ratings, given.ratings]),
        np.concatenate([stored.timestamps, times]),
    )
    if not run.config.scale.tells_taste or _distinct(events.movies):
        return events  # where nothing is rated, a movie watched twice is two events
    order = np.lexsort(
        (
            events.timestamps,
            np.arange(len(events.movies)) >= len(stored.movies),
            np.full(len(events.movies), at is None) | (events.timestamps <= (at or 0)),
        )
    )[::-1]  # lexsort is stable: what comes last is first
    _, first = np.unique(events.movies[order], return_index=True)
    kept = np.sort(order[first])
    return UserEvents(events.movies[kept], events.ratings[kept], events.timestamps[kept])


def _is_event(value: object) -> bool:
    return all(hasattr(value, name) for name in Event._fields)


def _distinct(values: NDArray[np.integer]) -> bool:
    ordered = np.sort(values)
    return not (ordered[1:] == ordered[:-1]).any()


def _trained_at(run: Run) -> int:
    """Return when a run was made, in seconds."""
    try:
        return int(datetime.fromisoformat(run.config.created).timestamp())
    except (ValueError, OverflowError) as error:
        raise RunError(
            f"{run.folder} was made at '{shown(run.config.created)}', which is no time; train again"
        ) from error
