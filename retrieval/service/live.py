"""What users did after a run was trained, as the log tells it: a source of histories."""

import math
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.data.history import Histories
from retrieval.data.scale import RatingScale
from retrieval.data.vocabulary import UNKNOWN, Id, Vocabulary, id_of
from retrieval.errors import RequestError
from retrieval.run.folder import Run
from retrieval.service.log import Entry, Kind
from retrieval.serving.events import NO_EVENTS, NO_MOVIES, Event, UserEvents
from retrieval.serving.history import KnownHistories, StoredHistories, histories_of
from retrieval.serving.users import Person

# Ratings of a new movie that move it, the latest ones: by the time there are more, training does.
MOST_RATERS = 200


class LiveEvent(NamedTuple):
    """One event of the log, about a movie of the run."""

    movie: int  # number
    kind: Kind
    rating: float | None
    timestamp: int


# What one user did since the run was trained, `(E,)` in the order of the log, with as few bytes an
# event as will do: a service holds those of everybody.
Deeds = NDArray[np.void]
_DEED = np.dtype([("movie", "i4"), ("kind", "i1"), ("rating", "f8"), ("timestamp", "i8")])
_KINDS = (Kind.RATING, Kind.PLAY, Kind.LIKE)
_CODES = {kind: code for code, kind in enumerate(_KINDS)}

NO_DEEDS: Deeds = np.zeros(0, _DEED)


class Counted(NamedTuple):
    """What deeds say of a user's taste, and what they only say was seen."""

    events: UserEvents  # those that count in a history
    watched: NDArray[np.int64]  # numbers of movies that were only seen


def counted(deeds: Deeds, scale: RatingScale) -> Counted:
    """Return the events of deeds that count in a history, and the movies that were only seen.

    Args:
        deeds: What a user did.
        scale: Of the run's ratings.
    """
    if not len(deeds):
        return Counted(NO_EVENTS, NO_MOVIES)
    told = deeds["rating"]
    ratings = np.full(len(deeds), scale.highest, np.float32)
    counts = np.ones(len(deeds), bool)
    if scale.tells_taste:
        rated = (deeds["kind"] == _CODES[Kind.RATING]) & ~np.isnan(told)
        ratings[rated] = np.clip(told[rated], scale.lowest, scale.highest)
        counts = rated | (deeds["kind"] == _CODES[Kind.LIKE])
    events = UserEvents(deeds["movie"][counts], ratings[counts], deeds["timestamp"][counts])
    return Counted(events, deeds["movie"][~counts].astype(np.int64))


def before(deeds: Deeds, count: int) -> Deeds:
    """Return the deeds about the first movies of a catalogue, which may have grown since."""
    found: Deeds = deeds[deeds["movie"] < count]
    return found


def one_by_one(deeds: Deeds) -> list[LiveEvent]:
    """Return deeds as events, one by one."""
    return [
        LiveEvent(movie, _KINDS[code], None if math.isnan(rating) else rating, timestamp)
        for movie, code, rating, timestamp in deeds.tolist()
    ]


class LiveEvents:
    """The events of one run and those of the log, for any number of threads.

    A known user's events are those that the run stores and then those of the log. A new user is
    there from the first event on. A user who was forgotten is nobody, and may come again.

    Args:
        run: The run; movies that came later are known to `movies_of` alone.
    """

    def __init__(self, run: Run) -> None:
        self._run, self._stored = run, StoredHistories(run)
        self._known: dict[int, Deeds] = {}  # by number in the run
        self._new: dict[Id, Deeds] = {}
        self._forgotten: frozenset[int] = frozenset()
        self._rated: dict[int, tuple[int, float]] = {}  # events and sum of ratings, by movie
        # Ratings of movies that training did not know, by movie and then by user.
        self._raters: dict[int, dict[Id, float]] = {}
        self._sequence = 0  # of the last entry that was taken in
        self._writing = Lock()

    def number(self, user: Id) -> int:
        """Return the number of a user of the run, `UNKNOWN` for others and for the forgotten."""
        number = self._run.users.number(user)
        return UNKNOWN if number in self._forgotten else number

    def known(self, user: Id) -> tuple[bool, Deeds]:
        """Return whether anything is known of a user, and what they did since the training."""
        number = self.number(user)
        found = self._new.get(user) if number == UNKNOWN else self._known.get(number)
        return number != UNKNOWN or found is not None, NO_DEEDS if found is None else found

    def deeds(self, user: Id) -> Deeds:
        """Return what a user did since the run was trained."""
        return self.known(user)[1]

    def is_known(self, user: Id) -> bool:
        """Return whether the run or the log knows anything of a user."""
        return self.known(user)[0]

    def asking(self, user: Id, run: Run) -> Id | Person:
        """Return the user of a question as the recommender takes it.

        Args:
            user: Id of the user.
            run: The run, with the movies that it had when the question came.
        """
        if self.number(user) != UNKNOWN:
            return user
        ids = run.catalogue.vocabulary.ids
        events, watched = counted(before(self.deeds(user), len(ids)), run.config.scale)
        return Person(
            history=[
                Event(movie, rating, timestamp)
                for movie, rating, timestamp in zip(
                    ids[events.movies].tolist(),
                    events.ratings.tolist(),
                    events.timestamps.tolist(),
                    strict=True,
                )
            ],
            seen=ids[watched].tolist(),
        )

    def read(self, users: NDArray[np.int64]) -> KnownHistories:
        """Return the events of users `(Q,)` of the run, those of the log after those stored."""
        stored = self._stored.read(users)
        deeds = [self._known.get(user, NO_DEEDS) for user in users.tolist()]
        if all(each is NO_DEEDS for each in deeds):
            return stored
        told = [counted(each, self._run.config.scale) for each in deeds]
        more, watched = [each.events for each in told], tuple(each.watched for each in told)
        if not any(len(each.movies) for each in more):
            return stored._replace(watched=watched)
        parts = [_joined(stored.histories, row, each) for row, each in enumerate(more)]
        movies, ratings, timestamps = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        counts = [len(part.movies) for part in parts]
        return KnownHistories(
            Histories(np.append(0, np.cumsum(counts)), movies, ratings, timestamps),
            stored.as_stored & np.array([not len(each.movies) for each in more]),
            watched,
        )

    def last(self, user: Id) -> int:
        """Return when a user did something last, in seconds; 0 for who never did anything."""
        stored = int(self.stored(user).timestamps[-1:].max(initial=0))
        return max(stored, int(self.deeds(user)["timestamp"].max(initial=0)))

    def stored(self, user: Id) -> UserEvents:
        """Return the events of a user that the run stores, oldest first."""
        number = self.number(user)
        if number == UNKNOWN:
            return NO_EVENTS
        return UserEvents(*histories_of(self._run.histories, np.array([number]))[1:])

    def add(self, entries: Iterable[Entry], run: Run) -> set[int]:
        """Take in events of the log, in its order; those that were taken in before are passed over.

        Args:
            entries: Entries that are events.
            run: The run with the movies that came later.

        Returns:
            The numbers of the movies that they are about.
        """
        listed = [entry for entry in entries if entry.sequence > self._sequence]
        movies = _numbers([entry.movie_id for entry in listed], run.catalogue.vocabulary)
        users = _numbers([entry.user_id for entry in listed], run.users)
        told = _deeds(listed, movies)
        places: dict[Id, list[int]] = {}
        order: list[tuple[Id, int]] = []  # users, and movies by number, in the order of the log
        for place, (entry, movie) in enumerate(zip(listed, movies.tolist(), strict=True)):
            user = id_of(entry.user_id, run.users)
            if user is not None and movie != UNKNOWN:
                places.setdefault(user, []).append(place)
                order.append((user, movie))
        with self._writing:
            self._run = run
            for user, their in places.items():
                more, number = told[their], int(users[their[0]])
                if number == UNKNOWN or number in self._forgotten:
                    self._new[user] = np.concatenate([self._new.get(user, NO_DEEDS), more])
                else:
                    self._known[number] = np.concatenate([self._known.get(number, NO_DEEDS), more])
                self._count(more, 1)
            for user, movie in order:
                self._note_rater(user, movie)
            if listed:
                self._sequence = listed[-1].sequence
        return {movie for _, movie in order}

    def rated(self, movie: int) -> tuple[int, float]:
        """Return how many ratings of a movie the log has, and their sum.

        Where nothing is rated, every event of it counts.
        """
        return self._rated.get(movie, (0, 0.0))

    def _count(self, deeds: Deeds, sign: int) -> None:
        """Count deeds among the ratings of their movies, or no longer."""
        scale = self._run.config.scale
        for event in one_by_one(deeds):
            rating = scale.highest if event.kind is Kind.LIKE else event.rating
            if rating is not None or not scale.tells_taste:
                count, total = self.rated(event.movie)
                self._rated[event.movie] = count + sign, total + sign * (rating or 0.0)

    def raters(self, movie: int) -> dict[Id, float]:
        """Return the ratings of a movie that training did not know, by user, as the log has them.

        Args:
            movie: Its number.
        """
        return self._raters.get(movie, {})

    def _note_rater(self, user: Id, movie: int) -> None:
        """Let the last rating of a user of a movie be the newest of this movie."""
        if movie < len(self._run.catalogue) - self._run.catalogue.added:
            return
        deeds = self.deeds(user)
        said = counted(deeds[deeds["movie"] == movie], self._run.config.scale).events.ratings
        if len(said):
            others = {who: rating for who, rating in self.raters(movie).items() if who != user}
            self._raters[movie] = dict([*others.items(), (user, float(said[-1]))][-MOST_RATERS:])

    def forget(self, users: Sequence[Id]) -> set[int]:
        """Know nothing more of users, until they come again.

        Returns:
            The numbers of the movies that training did not know and that they had rated.
        """
        left = set()
        with self._writing:
            for user in users:
                self._count(self.deeds(user), -1)
                number = self.number(user)
                for movie, raters in self._raters.items():
                    if raters.pop(user, None) is not None:
                        left.add(movie)
                self._new.pop(user, None)
                if number != UNKNOWN:
                    self._known.pop(number, None)
                    self._forgotten |= {number}
        return left

    @property
    def new_users(self) -> list[Id]:
        """The users whom only the log knows."""
        return list(self._new)


def checked_event_time(timestamp: int, now: int, ahead: int) -> None:
    """Raise a `RequestError` for an event that lies in the future."""
    if timestamp > now + ahead:
        raise RequestError(
            f"the event happens at {timestamp}, in the future; it is {now}: leave the timestamp "
            "out, or set the clock"
        )


def _numbers(texts: Sequence[str | None], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the numbers of ids of the log, `UNKNOWN` for those that a run does not have."""
    numbers = np.full(len(texts), UNKNOWN, np.int64)
    ids = {
        place: found
        for place, text in enumerate(texts)
        if (found := id_of(text, vocabulary)) is not None
    }
    if ids:
        numbers[list(ids)] = vocabulary.numbers(list(ids.values()))
    return numbers


def _deeds(entries: Sequence[Entry], movies: NDArray[np.int64]) -> Deeds:
    """Return events of the log as deeds, about movies `(E,)`, given by number."""
    rows = [
        (
            movie,
            _CODES[entry.kind],
            math.nan if entry.rating is None else entry.rating,
            entry.received if entry.timestamp is None else entry.timestamp,
        )
        for entry, movie in zip(entries, movies.tolist(), strict=True)
    ]
    return np.array(rows, _DEED)


def _joined(stored: Histories, row: int, live: UserEvents) -> UserEvents:
    """Return the stored events of one of some users with those of the log, oldest first."""
    part = slice(*stored.offsets[row : row + 2].tolist())
    parts = [UserEvents(stored.movies[part], stored.ratings[part], stored.timestamps[part]), live]
    movies, ratings, timestamps = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(timestamps, kind="stable")
    return UserEvents(movies[order], ratings[order], timestamps[order])
